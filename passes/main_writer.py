"""MainWriter: a main function written again, binding by binding, in one dataflow block."""

from __future__ import annotations

from typing import Any

from tvm import relax


class MainWriter:
    """Opens a copy of ``function``: ``params`` are its own, ``values`` says what stands for every variable read."""

    def __init__(self, function: Any) -> None:
        self.builder = relax.BlockBuilder()
        self.params = [relax.Var(param.name, param.ty) for param in function.params]
        self.values: dict[Any, Any] = dict(zip(function.params, self.params, strict=True))
        self._scope = self.builder.function("main", self.params)
        self._scope.__enter__()
        self._flow = self.builder.dataflow()
        self._flow.__enter__()

    def close(self, result: Any) -> Any:
        """The function, which returns ``result``."""
        output = self.builder.emit_output(result)
        self._flow.__exit__(None, None, None)
        self.builder.emit_func_output(output)
        self._scope.__exit__(None, None, None)
        return self.builder.finalize()["main"]
