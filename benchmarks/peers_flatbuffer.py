"""The tables of a .tflite file, one subgraph, put together by the schema classes of ``ethosu.vela.tflite``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCHEMA_VERSION = 3


class FlatModel:
    """Collects tensors and operators by index; :meth:`finish` gives the bytes of the file.

    Needs ethos-u-vela (and the flatbuffers that it brings); ImportError without it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.builder = import_module("flatbuffers").Builder(1 << 20)
        self._tensors: list[int] = []
        self._operators: list[int] = []
        self._codes: list[str] = []
        self._buffers: list[NDArray[Any] | None] = [None]  # buffer 0 is that of tensors without content

    def tensor(self, name: str, shape: Sequence[int], step: float, zero: int = 0) -> int:
        """An int8 activation with one quantisation step."""
        return self._tensor(name, shape, "INT8", 0, np.array([step]), zero, 0)

    def constant(self, name: str, value: NDArray[Any], steps: NDArray[Any] | None = None, axis: int = 0) -> int:
        """A constant of int8 or int32; ``steps`` has one quantisation step for each index of ``axis``."""
        self._buffers.append(value)
        return self._tensor(name, value.shape, value.dtype.name.upper(), len(self._buffers) - 1, steps, 0, axis)

    def operator(
        self, name: str, read: Sequence[int], result: int, table: str = "", options: Mapping[str, Any] | None = None
    ) -> None:
        """An operator by its name in BuiltinOperator; ``options`` by their names in ``table``, enumerators as text."""
        if name not in self._codes:
            self._codes.append(name)
        fields = {"OpcodeIndex": self._codes.index(name), "Inputs": self._ints(read), "Outputs": self._ints([result])}
        if table:
            values = {key: self._number(key, value) for key, value in (options or {}).items()}
            fields |= {"BuiltinOptionsType": _enumerator("BuiltinOptions", table)}
            fields |= {"BuiltinOptions": self._table(table, values)}
        self._operators.append(self._table("Operator", fields))

    def finish(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """The whole file."""
        subgraph = {
            "Tensors": self._offsets(self._tensors), "Inputs": self._ints(inputs), "Outputs": self._ints(outputs),
            "Operators": self._offsets(self._operators), "Name": self.builder.CreateString(self.name),
        }  # fmt: skip
        subgraphs = self._offsets([self._table("SubGraph", subgraph)])
        codes = [_enumerator("BuiltinOperator", name) for name in self._codes]
        kinds = [
            self._table("OperatorCode", {"DeprecatedBuiltinCode": min(code, 127), "BuiltinCode": code, "Version": 1})
            for code in codes
        ]
        fields = {
            "Version": SCHEMA_VERSION, "OperatorCodes": self._offsets(kinds), "Subgraphs": subgraphs,
            "Buffers": self._offsets([self._buffer(value) for value in self._buffers]),
        }  # fmt: skip
        self.builder.Finish(self._table("Model", fields), b"TFL3")
        return bytes(self.builder.Output())

    def _tensor(
        self, name: str, shape: Sequence[int], kind: str, buffer: int, steps: NDArray[Any] | None, zero: int, axis: int
    ) -> int:
        fields = {
            "Name": self.builder.CreateString(name), "Shape": self._ints(shape), "Buffer": buffer,
            "Type": _enumerator("TensorType", kind),
        }  # fmt: skip
        if steps is not None:
            quantized = {
                "Scale": self.builder.CreateNumpyVector(steps.astype(np.float32)),
                "ZeroPoint": self.builder.CreateNumpyVector(np.full(len(steps), zero, np.int64)),
                "QuantizedDimension": axis,
            }
            fields["Quantization"] = self._table("QuantizationParameters", quantized)
        self._tensors.append(self._table("Tensor", fields))
        return len(self._tensors) - 1

    def _buffer(self, value: NDArray[Any] | None) -> int:
        if value is None:
            return self._table("Buffer", {})
        content = np.frombuffer(value.tobytes(), np.uint8)
        # TFLite wants constants at multiples of 16 bytes.
        self.builder.StartVector(1, len(content), 16)
        self.builder.head -= len(content)
        self.builder.Bytes[self.builder.head : self.builder.head + len(content)] = content.tobytes()
        return self._table("Buffer", {"Data": self.builder.EndVector()})

    def _ints(self, values: Sequence[int]) -> int:
        return int(self.builder.CreateNumpyVector(np.array(values, np.int32)))

    def _offsets(self, values: Sequence[int]) -> int:
        self.builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            self.builder.PrependUOffsetTRelative(value)
        return int(self.builder.EndVector())

    def _table(self, name: str, fields: Mapping[str, int]) -> int:
        module = import_module(f"ethosu.vela.tflite.{name}")
        getattr(module, f"{name}Start")(self.builder)
        for field, value in fields.items():
            getattr(module, f"{name}Add{field}")(self.builder, value)
        return int(getattr(module, f"{name}End")(self.builder))

    def _number(self, field: str, value: Any) -> int:
        enumeration = {"Padding": "Padding", "FusedActivationFunction": "ActivationFunctionType"}.get(field)
        return _enumerator(enumeration, value) if enumeration else int(value)


def _enumerator(enumeration: str, name: str) -> int:
    return int(getattr(getattr(import_module(f"ethosu.vela.tflite.{enumeration}"), enumeration), name))
