"""A built wheel holds every source file exactly once, under tvm_fusion/."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_wheel(tmp_path: Path) -> None:
    pytest.importorskip("build")
    source = tmp_path / "source"
    ignore = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", "results", "build", "*.egg-info")
    shutil.copytree(ROOT, source, symlinks=True, ignore=ignore)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(source)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = Counter(zipfile.ZipFile(wheel).namelist())
    assert max(names.values()) == 1
    expected = {f"tvm_fusion/{path.relative_to(ROOT).as_posix()}" for path in sources("passes", "cost_models")}
    expected |= {path.relative_to(ROOT).as_posix() for path in sources("tvm_fusion") if not inside_link(path)}
    held = {name for name in names if ".dist-info/" not in name}
    assert held == expected
    assert {name.partition("/")[0] for name in held} == {"tvm_fusion"}
    assert any(name.endswith("licenses/LICENSE") for name in names)
    entry_points = next(name for name in names if name.endswith("entry_points.txt"))
    assert "tvm-fusion = tvm_fusion.cli.main:main" in zipfile.ZipFile(wheel).read(entry_points).decode()


def sources(*folders: str) -> list[Path]:
    return [
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix in (".py", ".toml", ".typed", ".json", ".safetensors")
    ]


def inside_link(path: Path) -> bool:
    return path.resolve() != ROOT.resolve() / path.relative_to(ROOT)


def test_every_folder_with_sources_is_in_pyproject() -> None:
    import tomllib

    setup = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = {"tvm_fusion." + path.parent.relative_to(ROOT).as_posix().replace("/", ".")
             for path in sources("passes", "cost_models")}  # fmt: skip
    found |= {path.parent.relative_to(ROOT).as_posix().replace("/", ".")
              for path in sources("tvm_fusion") if not inside_link(path)}  # fmt: skip
    assert set(setup["packages"]) == found
