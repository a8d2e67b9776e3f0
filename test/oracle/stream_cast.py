"""Casts bit patterns with torch: stdin is the patterns, argv is the dtype they have and the dtype they get."""

import sys

import numpy
import torch

# Patterns go in and come out as integers of the same width: no float type may touch a NaN on the way.
INTEGERS = {"float32": numpy.int32, "float16": numpy.int16, "bfloat16": numpy.int16}

source, target = sys.argv[1:3]
patterns = numpy.frombuffer(sys.stdin.buffer.read(), dtype=INTEGERS[source]).copy()
values = torch.from_numpy(patterns).view(getattr(torch, source))
result = values.to(getattr(torch, target))
sys.stdout.buffer.write(
    result.view(torch.int32 if target == "float32" else torch.int16).numpy().tobytes()
)
