"""The accelerator: a frozen description, read from TOML, with presets."""

from __future__ import annotations

import re
import tomllib
from dataclasses import asdict, dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

from tvm_fusion.errors import AcceleratorError

_UNITS = {"": 1, "B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "KB": 1000, "MB": 10**6, "GB": 10**9}
_SIZE = re.compile(r"\s*(\d{1,18}(?:\.\d{1,9})?)\s*([A-Za-z]*)\s*")
_LEAST, _MOST = 1e-12, 1e24  # what a number in a description may be
_BITS = {"activation_bits", "weight_bits", "accumulator_bits"}
_OWN_WIDTH = {"activation_bits", "weight_bits"}  # None: as wide as the dtype
_REALS = {"clock_hz", "macs_per_cycle", "dram_bytes_per_second", "dram_pj_per_byte", "sram_pj_per_byte", "mac_pj"}


@dataclass(frozen=True, slots=True)
class Accelerator:
    """What the cost models need to know of an accelerator.

    ``activation_bits`` and ``weight_bits`` are bits an element; None takes each tensor's own dtype.
    ``accumulator_bits`` are those of a sum that is not complete (channel streaming holds such sums).
    ``dram_bytes_per_second``, ``macs_per_cycle`` and ``clock_hz`` make the roofline estimate of
    cycles; the three energies (pJ for a DRAM byte, an SRAM byte, a MAC) the estimate of energy.
    Raises AcceleratorError for a wrong type or a value out of range.
    """

    name: str = "edge"
    buffer_bytes: int = 256 * 1024
    activation_bits: int | None = 8
    weight_bits: int | None = 8
    accumulator_bits: int = 32
    dram_bytes_per_second: float = 4.0e9
    macs_per_cycle: float = 512
    clock_hz: float = 1.0e9
    dram_pj_per_byte: float = 160.0
    sram_pj_per_byte: float = 1.25
    mac_pj: float = 0.23
    source: str = ""

    def __post_init__(self) -> None:
        for field in fields(self):
            _check(field.name, getattr(self, field.name))

    def with_(self, **changes: Any) -> Accelerator:
        """A copy with other values; a change of None leaves the value as it is."""
        return replace(self, **{key: value for key, value in changes.items() if value is not None})

    def to_json(self) -> dict[str, Any]:
        """All fields by name."""
        return asdict(self)


def _check(name: str, value: object) -> None:
    if name in ("name", "source"):
        if not isinstance(value, str):
            raise AcceleratorError(f"accelerator {name} must be text, not {value!r}")
        return
    if name in _OWN_WIDTH and value is None:
        return
    number = isinstance(value, int | float if name in _REALS else int) and not isinstance(value, bool)
    if not number:
        kind = "a number" if name in _REALS else "a whole number"
        raise AcceleratorError(f"accelerator {name} must be {kind}, not {value!r}")
    assert isinstance(value, int | float)
    if not _LEAST <= value <= _MOST:
        raise AcceleratorError(
            f"accelerator {name} must be greater than 0 (at least {_LEAST:g}) and at most {_MOST:g}, not {value!r}"
        )
    if name in _BITS and value > 64:
        raise AcceleratorError(f"accelerator {name} must be 1 .. 64, not {value!r}")


def parse_size(text: str | int) -> int:
    """Bytes of ``"256KiB"``, ``"1.5MiB"``, ``"100KB"`` or ``"262144"``. Raises AcceleratorError."""
    allowed = "a positive size such as 262144, 256KiB, 1MiB, 128KB"
    match = _SIZE.fullmatch(str(text))
    if match is None or match[2] not in _UNITS:
        raise AcceleratorError(f"buffer size {text!r} is not {allowed}")
    size = float(match[1]) * _UNITS[match[2]]
    if size < 1 or size != int(size):
        raise AcceleratorError(f"buffer size {text!r} is not {allowed} (at least one whole byte)")
    return int(size)


def preset_names() -> list[str]:
    """Names of the descriptions that ship with the package."""
    return sorted(entry.name[:-5] for entry in _presets().iterdir() if entry.name.endswith(".toml"))


def load_accelerator(name_or_path: str | Path = "edge") -> Accelerator:
    """A preset by name, or a TOML file by path. Raises AcceleratorError in one line."""
    text = str(name_or_path)
    if text in preset_names():
        return accelerator_from_dict(tomllib.loads((_presets() / f"{text}.toml").read_text("utf-8")))
    path = Path(text)
    if not _is_file(path):
        raise AcceleratorError(f"accelerator {text!r} is neither a preset ({', '.join(preset_names())}) nor a file")
    try:
        return accelerator_from_dict(tomllib.loads(path.read_text("utf-8")))
    except (ValueError, RecursionError, OSError) as error:
        raise AcceleratorError(f"accelerator file {text!r} is not readable TOML: {error}") from None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def accelerator_from_dict(data: dict[str, Any]) -> Accelerator:
    """An accelerator from parsed TOML or JSON; ``buffer_bytes`` may be text such as "256KiB"."""
    allowed = [field.name for field in fields(Accelerator)]
    unknown = sorted(set(data) - set(allowed))
    if unknown:
        raise AcceleratorError(f"accelerator key {unknown[0]!r} is unknown; allowed: {', '.join(allowed)}")
    values = dict(data)
    if isinstance(values.get("buffer_bytes"), str):
        values["buffer_bytes"] = parse_size(values["buffer_bytes"])
    return Accelerator(**values)


def _presets() -> Any:
    return resources.files("tvm_fusion.cost_models") / "presets"


# Counts elements as wide as the network has them.
OWN_WIDTHS = Accelerator(activation_bits=None, weight_bits=None)
