"""Which front end a network specification is for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tvm_fusion.errors import FrontendError
from tvm_fusion.frontends.network import Network

# Endings of files that a user may well have, and what to do about them.
_OTHER_FILES = {
    **dict.fromkeys(
        (".pt", ".pth", ".ckpt", ".bin", ".safetensors"),
        "weights alone are no network; torch.export.save writes a .pt2 file that holds both",
    ),
    **dict.fromkeys((".tflite", ".h5", ".keras", ".pb", ".mlmodel"), "convert it to ONNX"),
}


def load(spec: Any, batch: int, seed: int) -> Network:
    """See :func:`tvm_fusion.frontends.load_network`."""
    if batch < 1:
        raise FrontendError(f"batch {batch} is too small; it must be at least 1")
    if not isinstance(spec, str | os.PathLike):
        from tvm_fusion.frontends.relax_module import load_module

        return load_module(spec, batch, seed)
    text = os.fspath(spec)
    suffix = Path(text).suffix.lower()
    if suffix in (".onnx", ".pt2"):
        return _load_file(Path(text), suffix, batch, seed)
    if suffix in _OTHER_FILES:
        raise FrontendError(f"network {text!r} is no .onnx or .pt2 file: {_OTHER_FILES[suffix]}")
    if not text.strip():
        raise FrontendError("the network is empty; give a model name such as resnet18, or an .onnx or .pt2 file")
    if isinstance(spec, os.PathLike) or os.sep in text:
        raise FrontendError(f"network {text!r} {_place(Path(text))}; a file must end in .onnx or .pt2")
    from tvm_fusion.frontends.model_name import UnknownModelError, load_model

    try:
        return load_model(text, batch, seed)
    except UnknownModelError:
        if Path(text).exists():
            raise FrontendError(f"network {text!r} {_place(Path(text))}; a file must end in .onnx or .pt2") from None
        raise


def _load_file(path: Path, suffix: str, batch: int, seed: int) -> Network:
    if not path.is_file():
        raise FrontendError(f"network file {str(path)!r} {_place(path)}")
    if suffix == ".onnx":
        from tvm_fusion.frontends.onnx_file import load_onnx

        return load_onnx(path, batch, seed)
    from tvm_fusion.frontends.exported_program import load_pt2

    return load_pt2(path, batch)


def _place(path: Path) -> str:
    if path.is_dir():
        return "is a folder"
    return "is no model name" if path.exists() else "does not exist"
