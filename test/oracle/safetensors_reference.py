"""What the reference reader of safetensors makes of files: one JSON answer per file, in the order of the arguments.

`null` for a file it refuses, else `[name, dtype, shape, sha256 of the tensor's bytes]` of every tensor.
With `--write DIRECTORY` it writes files with safetensors' own writer first and prints their paths.
"""

import ctypes
import hashlib
import json
import math
import sys
from pathlib import Path

from safetensors import SafetensorError, TensorSpec, deserialize, serialize


def read(path: str) -> list | None:
    try:
        tensors = deserialize(Path(path).read_bytes())
    except SafetensorError:
        return None
    return [
        [name, t["dtype"], t["shape"], hashlib.sha256(bytes(t["data"])).hexdigest()]
        for name, t in tensors
    ]


SIZES = {
    "bool": 1, "uint8": 1, "int8": 1, "float8_e4m3fn": 1, "float8_e5m2": 1, "float8_e8m0fnu": 1,
    "int16": 2, "uint16": 2, "float16": 2, "bfloat16": 2, "int32": 4, "uint32": 4, "float32": 4,
    "int64": 8, "uint64": 8, "float64": 8, "complex64": 8,
}
SHAPES = [[], [1], [0], [3], [2, 0, 5], [3, 5], [2, 3, 4, 1]]


def write(directory: str) -> list[str]:
    paths = []
    for case, metadata in enumerate([None, {}, {"format": "pt"}, {"é\n\"": "\u0000😀"}]):
        tensors = {}
        buffers = []  # must outlive `serialize`, which is given addresses
        for number, (dtype, size) in enumerate(SIZES.items()):
            for shape in SHAPES[case % 2 :: 2]:
                length = size * math.prod(shape)
                modulus = 2 if dtype == "bool" else 256
                data = bytes((number * 7 + i) % modulus for i in range(length))
                buffer = ctypes.create_string_buffer(data, max(length, 1))
                buffers.append(buffer)
                tensors[f"layers.{number}.é\"{shape}"] = TensorSpec(
                    dtype=dtype, shape=shape, data_ptr=ctypes.addressof(buffer), data_len=length
                )
        path = Path(directory) / f"written-{case}.safetensors"
        path.write_bytes(serialize(tensors, metadata))
        paths.append(str(path))
    return paths


def main() -> None:
    if sys.argv[1] == "--write":
        print(json.dumps(write(sys.argv[2])))
    else:
        print(json.dumps([read(path) for path in sys.argv[1:]]))


main()
