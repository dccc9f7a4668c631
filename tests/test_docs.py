"""The Python of docs/ is executed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/backends.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_python_blocks_of_backends(number: int, tmp_path: Path) -> None:
    path = tmp_path / "block.py"
    path.write_text(BLOCKS[number])
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_links_lead_somewhere() -> None:
    for page in [*(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*/README.md")]:
        text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
            assert (page.parent / target).exists(), f"{page}: {target}"


def test_attributes_of_backends_are_those_that_a_marked_function_has() -> None:
    from tests.passes.networks import named
    from tests.passes.test_attach_to_backend import attached, grouped

    text = (ROOT / "docs/backends.md").read_text("utf-8")
    cells = re.findall(r"^\| (`tvm_fusion\..*?) \|", text, re.MULTILINE)
    said = {name.rpartition(".")[2] for cell in cells for name in re.findall(r"`([a-z_.]+)`", cell)}
    function = attached(grouped(named("residual")))["fused_group_0"]
    have = {str(key).rpartition(".")[2] for key in dict(function.attrs)}
    assert said - have == set()
    assert have - said == {"Codegen", "global_symbol", "operands", "row_axes", "binding_operators"}
