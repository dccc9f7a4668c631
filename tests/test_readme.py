"""What the README says is executed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
PYTHON_BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
SHELL_BLOCKS = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
COMMAND_LINES = re.findall(r"^tvm-fusion (.+?)(?:\s+#.*)?$", "\n".join(SHELL_BLOCKS), re.MULTILINE)
INSTALL = re.compile(r"pip install -e '\.\[([a-z,]+)\]'")


def marked_command(name: str) -> str:
    """The command that stands after the comment ``<!-- name -->``: exactly one line."""
    block = re.search(rf"<!-- {name} -->\n```sh\n(.*?)\n```", README, re.DOTALL)
    assert block is not None
    assert "\n" not in block[1]
    return block[1]


@pytest.mark.parametrize("name", ["main-command", "test-command"])
def test_commands_install_what_they_need(name: str) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    install = INSTALL.search(marked_command(name))
    assert install is not None
    assert set(install[1].split(",")) <= set(extras)


def test_the_commands_name_files_that_exist() -> None:
    command = shlex.split(marked_command("main-command").split("&&")[-1])
    assert command[0] == "python"
    assert (ROOT / command[1]).is_file()
    assert marked_command("test-command").split("&&")[-1].split()[0] == "pytest"


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_map_of_folders() -> None:
    for folder in re.findall(r"^\| `([a-z_/]+)/` \|", README, re.MULTILINE):
        assert (ROOT / folder).is_dir(), folder


def test_ci_calls_the_test_command_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert "<!-- test-command -->" in script
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    subprocess.run(["bash", "-n", str(ROOT / ".ci" / "run")], check=True)


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_command_lines_name_commands_and_options_that_exist(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    from tvm_fusion.cli.main import run

    command, *rest = shlex.split(line.partition(">")[0])
    os.environ["COLUMNS"] = "200"
    assert run([command, "--help"]) == 0
    text = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    for option in (word for word in rest if word.startswith("-")):
        assert option in text


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(PYTHON_BLOCKS)))
def test_python_blocks(number: int, tmp_path: Path) -> None:
    path = tmp_path / "block.py"
    path.write_text(PYTHON_BLOCKS[number])
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, str(path)], check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_main_job(tmp_path: Path) -> None:
    """The README's main command on a small network and with a small budget."""
    command = shlex.split(marked_command("main-command").split("&&")[-1])
    command[0] = sys.executable
    command[command.index("efficientnet_b3")] = "mobilenetv2_100@64"
    command += ["--budget", "50", "--seeds", "0", "-o", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert {"results.json", "plan.json", "memory_over_time.png"} <= {path.name for path in tmp_path.iterdir()}
    assert "largest relative error" in done.stdout
