"""Writes down how a model is sharded, for `hf-stream-dcp --layout FOLDER`. See docs/layouts.md.

Call it on every rank after the model was parallelised, before or after it has weights. It communicates nothing, so it works as
well with a fake process group, as one rank after the other:

    dump_layout(model, "layout")  # A state dict will do: that of all its parts for a pipeline rank with several.
"""

import json
import os

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor


def dump_layout(model, folder):
    rank, meshes, tensors = dist.get_rank(), {}, []
    state = model if isinstance(model, dict) else model.state_dict()
    for fqn, value in state.items():
        if not isinstance(value, torch.Tensor):
            continue
        mesh = {"dims": [], "shape": [], "ranks": [rank]}  # A plain tensor: all of it is on this rank.
        placements = []
        if isinstance(value, DTensor):
            ranks, names = value.device_mesh.mesh, value.device_mesh.mesh_dim_names
            if ranks.flatten()[0] != rank:
                continue  # The first rank of a mesh speaks for all of it.
            mesh = {"dims": names and list(names), "shape": list(ranks.shape), "ranks": ranks.tolist()}
            placements = [repr(placement) for placement in value.placements]
        name = next((known for known, other in meshes.items() if other == mesh), f"mesh{len(meshes)}")
        meshes[name] = mesh
        dtype = str(value.dtype).removeprefix("torch.")
        tensors.append({"fqn": fqn, "mesh": name, "placements": placements, "shape": list(value.shape), "dtype": dtype})
    layout = {"version": 1, "worldSize": dist.get_world_size(), "rank": rank, "meshes": meshes, "tensors": tensors}
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, f"{rank}.json"), "w") as file:
        json.dump(layout, file)
