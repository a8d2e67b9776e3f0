"""What torch makes of damaged checkpoints: loads each into plain tensors and compares them with what was saved.

Reads a JSON object from stdin: `base`, a good checkpoint; `directories`, damaged ones; `hostile`, some whose loading may execute code,
each with the folder `canary` that it would make, and `object`, a key that it loads besides. Writes one word for each to stdout, as JSON:

same      loads, and every value is as it was saved
silent    loads without an error, and some value is another one
raises    an error
executes  made the folder
"""

import json
import logging
import os
import sys
import warnings

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)


def described(directory):
    metadata = dcp.FileSystemReader(directory).read_metadata()
    return {
        key: (item.size, item.properties.dtype)
        for key, item in metadata.state_dict_metadata.items()
        if isinstance(item, TensorStorageMetadata)
    }


def load(directory, tensors, extra=None):
    # No value of the checkpoints: what is not read stays visible.
    state = {key: torch.full(size, 77, dtype=dtype) for key, (size, dtype) in tensors.items()}
    if extra is not None:
        state[extra] = 0
    dcp.load(state, storage_reader=dcp.FileSystemReader(directory), no_dist=True)
    return {key: value for key, value in state.items() if key in tensors}


def outcome(directory, tensors, expected, extra=None):
    try:
        found = load(directory, tensors, extra)
    # The loader wraps what its threads raise, also what is no Exception.
    except BaseException as error:
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        return "raises"
    same = all(torch.equal(found[key], expected[key]) for key in tensors)
    return "same" if same else "silent"


def in_child(job, tensors, expected):
    """In a process of its own: who knows what it executes."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        word = "raises"
        try:
            word = outcome(job["directory"], tensors, expected, job.get("object"))
        finally:
            os.write(writer, word.encode())
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    word = os.read(reader, 100).decode()
    os.close(reader)
    if os.path.isdir(job["canary"]):
        os.rmdir(job["canary"])
        return "executes"
    return word


def main():
    job = json.load(sys.stdin)
    torch.set_num_threads(1)
    tensors = described(job["base"])
    expected = load(job["base"], tensors)
    # Before threads are started.
    hostile = [in_child(one, tensors, expected) for one in job["hostile"]]
    words = [outcome(directory, tensors, expected) for directory in job["directories"]]
    json.dump({"torch": torch.__version__, "directories": words, "hostile": hostile}, sys.stdout)


main()
