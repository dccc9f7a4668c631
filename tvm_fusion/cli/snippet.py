"""The Python program that runs a compiled library without tvm-fusion."""

from __future__ import annotations

import json
from typing import Any

_TEXT = """{title}

from pathlib import Path

import numpy as np
import tvm
from tvm import relax

inputs = [
{arrays}]
library = tvm.runtime.load_module(str(Path(__file__).absolute().with_name({library!r})))
machine = relax.VirtualMachine(library, tvm.cpu())
result = machine["main"](*(tvm.runtime.tensor(array, tvm.cpu()) for array in inputs))


def flat(value):
    return [value] if hasattr(value, "numpy") else [tensor for part in value for tensor in flat(part)]


for output in flat(result):
    print(output.numpy().shape, output.numpy().dtype)
"""


def snippet(network: str, inputs: list[dict[str, Any]], library: str) -> str:
    """A program that runs ``library``, which lies beside it, on zeros, and prints shape and dtype of every output."""
    arrays = "".join(
        f"    np.zeros({tuple(entry['shape'])!r}, {entry['dtype']!r}),  # {entry['name']!r}\n" for entry in inputs
    )
    # JSON's escapes make any name of a network a safe literal.
    title = json.dumps(f"Runs the compiled network {network} on zeros.")
    return _TEXT.format(title=title, arrays=arrays, library=library)
