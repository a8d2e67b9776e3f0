"""What real torch needs to read a `.metadata`: seconds and memory, as JSON on stdout.

python unpickle.py METADATA-FILE
"""

import gc
import json
import pickle
import resource
import sys
import time

import torch.distributed.checkpoint  # noqa: F401  (its classes are in the pickle)


def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


before = resident()
start = time.perf_counter()
# As torch 2.13 `FileSystemReader.read_metadata` does it.
with open(sys.argv[1], "rb") as file:
    metadata = pickle.load(file)
seconds = time.perf_counter() - start
gc.collect()
print(
    json.dumps(
        {
            "seconds": seconds,
            "bytes": resident() - before,
            "peakBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "entries": len(metadata.storage_data),
            "tensors": len(metadata.state_dict_metadata),
        }
    )
)
