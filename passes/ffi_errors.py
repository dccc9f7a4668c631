"""Our errors keep their class when TVM carries them out of a pass."""

from __future__ import annotations

import tvm_ffi

from tvm_fusion import errors


def register_errors() -> None:
    """Tell TVM's runtime every class of ``tvm_fusion.errors``; those that it does not know become RuntimeError."""
    waiting: list[type[errors.FusionError]] = [errors.FusionError]
    while waiting:
        error = waiting.pop()
        tvm_ffi.register_error(f"tvm_fusion.{error.__name__}", error)
        waiting += error.__subclasses__()
