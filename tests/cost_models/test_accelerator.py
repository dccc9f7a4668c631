"""Accelerator descriptions: sizes, presets and refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from tvm_fusion.cost_models.accelerator import (
    Accelerator,
    accelerator_from_dict,
    load_accelerator,
    parse_size,
    preset_names,
)
from tvm_fusion.errors import AcceleratorError


@pytest.mark.parametrize(
    ("text", "expected"), [("256KiB", 262144), ("1.5MiB", 1572864), ("100KB", 100000), ("77", 77), (4096, 4096)]
)
def test_sizes(text: str, expected: int) -> None:
    assert parse_size(text) == expected


@pytest.mark.parametrize("text", ["0", "-1", "256KiBB", "", "KiB", "1e3", "nan", "0.3B"])
def test_bad_sizes_name_the_value(text: str) -> None:
    with pytest.raises(AcceleratorError, match="is not a positive size"):
        parse_size(text)


@pytest.mark.parametrize("name", preset_names())
def test_presets_load_and_say_their_source(name: str) -> None:
    preset = load_accelerator(name)
    assert preset.name == name
    assert preset.source


def test_unknown_key_is_named() -> None:
    with pytest.raises(AcceleratorError, match="'bufer_bytes' is unknown; allowed: name, buffer_bytes"):
        accelerator_from_dict({"bufer_bytes": 1})


@pytest.mark.parametrize(
    "data",
    [
        {"buffer_bytes": 1.5},
        {"activation_bits": "8"},
        {"clock_hz": True},
        {"name": 3},
        {"mac_pj": -1.0},
        {"weight_bits": 65},
    ],
)
def test_wrong_types_and_values(data: dict[str, object]) -> None:
    (key,) = data
    with pytest.raises(AcceleratorError, match=f"accelerator {key} must be"):
        accelerator_from_dict(data)


def test_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\nbuffer_bytes = "64KiB"\n')
    assert load_accelerator(path) == Accelerator(name="mine", buffer_bytes=65536)
    path.write_text("buffer_bytes = [")
    with pytest.raises(AcceleratorError, match="not readable TOML"):
        load_accelerator(path)
    with pytest.raises(AcceleratorError, match="neither a preset"):
        load_accelerator(tmp_path / "absent.toml")


def test_paper_counts_as_the_published_tables() -> None:
    preset = load_accelerator("paper")
    assert (preset.activation_bits, preset.weight_bits, preset.buffer_bytes) == (16, 16, 128 * 1024)
