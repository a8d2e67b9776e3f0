"""Rival A: `snapshot_download`, then the method of torchtitan's `scripts/checkpoint_conversion/convert_from_hf.py`.

One process: build the model on the CPU, give its memory Hugging Face's names, load the files into it with
`HuggingFaceStorageReader`, rename back, `dcp.save`. torch syncs what it saves. Argument: a job as JSON; prints the seconds of every step.
"""

import json
import sys
import time


class Steps:
    """Seconds between calls, by name."""

    def __init__(self):
        self.seconds, self.last = {}, time.monotonic()

    def done(self, name):
        now = time.monotonic()
        self.seconds[name] = round(now - self.last, 3)
        self.last = now


def build_model(shapes):
    """Parameters as torchtitan's constructors make them: linear layers and embeddings draw their values, experts do not."""
    import torch
    from torch import nn

    modules = {}
    for key, shape in shapes.items():
        if key.endswith("expert_bias_E"):
            modules[key] = torch.zeros(shape, dtype=torch.float32)
        elif key == "tok_embeddings.weight":
            modules[key] = nn.Embedding(*shape).weight
        elif len(shape) == 2:
            modules[key] = nn.Linear(shape[1], shape[0], bias=False).weight
        else:
            modules[key] = torch.ones(shape) if len(shape) == 1 else torch.empty(shape)
    return {key: tensor.detach() for key, tensor in modules.items()}


def convert(job, model, steps):
    import torch
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint import HuggingFaceStorageReader

    import mapping

    torch.set_default_dtype(getattr(torch, job["dtype"]))
    steps.done("import")
    with torch.inference_mode():
        config, shapes = mapping.read_config(model), mapping.read_shapes(model)
        state = build_model(mapping.target_shapes(config, shapes))
        steps.done("build")
        tensors = mapping.to_hf(config, shapes, state)
        steps.done("toHf")
        dcp.load(tensors, storage_reader=HuggingFaceStorageReader(path=model))
        steps.done("load")
        # `state` stays alive, as the script's model does.
        converted = mapping.from_hf(config, tensors)
        steps.done("fromHf")
        dcp.save(converted, checkpoint_id=job["out"])
        steps.done("save")
    assert len(converted) == len(state)


def main():
    job, steps = json.loads(sys.argv[1]), Steps()
    if "model" in job:
        model = job["model"]
    else:
        import mapping

        steps.done("import")
        model = mapping.download(job)
        steps.done("download")
    convert(job, model, steps)
    print(json.dumps(steps.seconds))


main()
