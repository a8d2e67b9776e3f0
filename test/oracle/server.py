"""Answers oracle jobs, one JSON object per line, so that torch is imported once for a whole test file.

In: `{"kind": "...", ...}` on stdin. Out: `{"ok": ...}` or `{"error": "..."}` on stdout; everything else goes to stderr.
"""

import importlib
import json
import os
import sys
import traceback

import torch

import adapters
import expected
import exported
import fsdp2
import lint
import load_dtensor
import quantised
import resave
import storable
import trainer
import whole


def lazily(module, function):
    """A job whose module is imported when it is first asked for: it brings `transformers`, `diffusers` or torchtitan."""
    return lambda job: getattr(importlib.import_module(module), function)(job)


JOBS = {
    "models": lazily("make_models", "make_models"),
    "adapter": adapters.compare_adapter,
    "expected": expected.write_expected,
    "load": load_dtensor.load,
    "fsdp2": fsdp2.load_fsdp2,
    "storable": storable.try_cases,
    "lint": lint.lint,
    "train": trainer.train,
    "resume": trainer.resume,
    "fake": trainer.fake,
    "savePlaced": trainer.save_placed,
    "saveFsdp1": trainer.save_fsdp1,
    "resumeFsdp1": trainer.resume_fsdp1,
    "resave": resave.resave,
    "whole": whole.load_whole,
    "hashes": exported.hashes,
    "retrain": exported.retrain,
    "pretrained": exported.pretrained,
    "fp8_products": quantised.products,
    "mxfp4": quantised.mxfp4,
    "write_fp8": quantised.write_fp8,
    "read_fp8": quantised.read_fp8,
    "read_mxfp4": quantised.read_mxfp4,
    "tiny": lazily("tiny_models", "save"),
    "quantise": lazily("tiny_quantised", "quantise"),
    "logits": lazily("logits", "compare"),
    "tiny-flux": lazily("flux_logits", "save"),
    "flux-logits": lazily("flux_logits", "compare"),
    "tiny-mtp": lazily("mtp_logits", "save"),
    "mtp-logits": lazily("mtp_logits", "compare"),
}


def main():
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    torch.set_num_threads(1)
    for line in sys.stdin:
        job = json.loads(line)
        try:
            answer = {"ok": JOBS[job["kind"]](job)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


main()
