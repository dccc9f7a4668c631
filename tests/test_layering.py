"""Which room may import which: arrows point one way."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Room -> rooms of the package that it may import. Top-level modules (errors, files, quiet) serve everybody.
MAY_IMPORT = {
    "graph": set(),
    "cost_models": {"graph"},
    "search": {"graph", "cost_models", "explainers"},  # of the last one only its interface, see below
    "explainers": {"graph", "cost_models", "search"},
    "passes": {"graph", "cost_models", "search", "explainers"},
    "frontends": {"graph", "passes"},
    "reports": {"graph", "cost_models", "search", "explainers"},
    "training": set(),
    "cli": {"graph", "cost_models", "search", "passes", "frontends", "reports", "explainers"},
}
SERVANTS = {"errors", "files", "quiet", "__version__"}
# Heavy libraries -> the only rooms that may import them.
ONLY_IN = {
    "tvm": {"passes", "frontends"},
    "tvm_ffi": {"passes", "frontends"},
    "torch": {"frontends", "explainers", "training"},
    "torch_geometric": {"explainers"},
    "safetensors": {"explainers"},
    "torchvision": {"frontends"},
    "timm": {"frontends"},
    "onnx": {"frontends"},
    "pymoo": {"search"},
    "scipy": {"search"},
    "matplotlib": {"reports"},
    "typer": {"cli"},
    "rich": {"reports", "cli"},
}


def folder(room: str) -> Path:
    return ROOT / room if room in ("passes", "cost_models") else ROOT / "tvm_fusion" / room


def imports(path: Path) -> set[str]:
    """Dotted names that a file imports, those inside functions included, those for types only left out."""
    tree = ast.parse(path.read_text("utf-8"))
    for_types = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.unparse(branch.test)
        for statement in branch.body
        for node in ast.walk(statement)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            base = node.module or ""
            found.update([f"{base}.{alias.name}" for alias in node.names] if base == "tvm_fusion" else [base])
    return found


def files(room: str) -> list[Path]:
    return sorted(folder(room).rglob("*.py"))


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_arrows_point_one_way(room: str) -> None:
    assert files(room), f"room {room} is empty"
    for path in files(room):
        for name in imports(path):
            parts = name.split(".")
            if parts[0] in ("passes", "cost_models", "benchmarks", "tests"):
                pytest.fail(f"{path} imports {name}: not by its installed name, or not part of the package")
            if parts[0] == "tvm_fusion" and len(parts) > 1 and parts[1] not in {room, *SERVANTS}:
                assert parts[1] in MAY_IMPORT[room], f"{path} imports {name}"


def test_searches_know_explainers_only_by_their_interface() -> None:
    for path in files("search"):
        known = {name for name in imports(path) if name.startswith("tvm_fusion.explainers")}
        assert known <= {"tvm_fusion.explainers.base"}, path


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_heavy_libraries_stay_in_their_rooms(room: str) -> None:
    for path in files(room):
        for name in imports(path):
            library = name.partition(".")[0]
            assert room in ONLY_IN.get(library, {room}), f"{path} imports {name}"


def test_top_level_modules_import_no_room() -> None:
    for path in (ROOT / "tvm_fusion").glob("*.py"):
        assert not {name for name in imports(path) if name.split(".")[1:2] and name.split(".")[1] in MAY_IMPORT}, path


def test_every_room_is_known() -> None:
    rooms = {path.name for path in (ROOT / "tvm_fusion").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms == set(MAY_IMPORT)


def test_no_file_has_over_400_lines() -> None:
    for room in (*MAY_IMPORT, "."):
        for path in folder(room).glob("*.py"):
            assert len(path.read_text("utf-8").splitlines()) <= 400, path
