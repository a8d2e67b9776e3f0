"""Rival B, the strongest Python route: `snapshot_download`, then gloo ranks that read their shards and `dcp.save` them laid out.

Every rank reads the rows it owns from the files with `HuggingFaceStorageReader`, maps them to torchtitan's names on its own shard, and
saves DTensors, so that the checkpoint is cut for FSDP. The ranks are forks of one process that has torch imported already.
Argument: a job as JSON; prints the seconds of every step, the slowest rank's.
"""

import json
import sys
import time


def read_shard(shapes, mesh, model):
    """This rank's shard of every tensor, by Hugging Face's names."""
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint import HuggingFaceStorageReader

    import shards

    tensors = {name: shards.empty_shard(shape, mesh, shards.rows()) for name, shape in shapes.items()}
    dcp.load(tensors, storage_reader=HuggingFaceStorageReader(path=model))
    return {name: tensor.to_local() for name, tensor in tensors.items()}


def map_shard(config, shapes, mesh, local):
    """torchtitan's state dict of this rank: heads and experts are cut whole, so that the mapping needs no other rank."""
    import torch

    import mapping
    import shards

    world = mesh.size()
    text = dict(mapping.text_of(config))
    for count in ("num_attention_heads", "num_key_value_heads"):
        assert text[count] % world == 0, f"{count} does not divide by {world}"
        text[count] //= world
    mine = {**config, **text} if "text_config" not in config else {**config, "text_config": text}
    state, whole = {}, mapping.target_shapes(config, shapes)
    for key, tensor in mapping.from_hf(mine, local).items():
        if key.endswith("expert_bias_E"):
            state[key] = torch.zeros(whole[key], dtype=torch.float32)
        else:
            state[key] = shards.wrap_shard(tensor, whole[key], mesh, shards.rows())
    return state


def convert_on_rank(rank, job):
    import torch
    import torch.distributed.checkpoint as dcp
    from torch.distributed.device_mesh import init_device_mesh

    import mapping

    begun = time.monotonic()
    mesh = init_device_mesh("cpu", (job["world"],), mesh_dim_names=("fsdp",))
    with torch.no_grad():
        config, shapes = mapping.read_config(job["model"]), mapping.read_shapes(job["model"])
        local = read_shard(shapes, mesh, job["model"])
        loaded = time.monotonic()
        state = map_shard(config, shapes, mesh, local)
        mapped = time.monotonic()
        dcp.save(state, checkpoint_id=job["out"])
    return {"load": loaded - begun, "fromHf": mapped - loaded, "save": time.monotonic() - mapped}


def main():
    job, seconds, begun = json.loads(sys.argv[1]), {}, time.monotonic()
    import torch.distributed.checkpoint  # noqa: F401  (imported once, before the ranks are forked)

    import mapping
    import ranks
    import shards  # noqa: F401

    seconds["import"] = time.monotonic() - begun
    if "model" not in job:
        begun = time.monotonic()
        job["model"] = mapping.download(job)
        seconds["download"] = time.monotonic() - begun
    ranks.TIMEOUT_SECONDS = 1800
    reports = ranks.run_ranks(convert_on_rank, job["world"], job)
    for step in reports[0]:
        seconds[step] = max(report[step] for report in reports)
    print(json.dumps({step: round(value, 3) for step, value in seconds.items()}))


main()
