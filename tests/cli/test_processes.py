"""What only shows in processes of their own: Ctrl-C, hash seeds, a reader that leaves, the progress bar."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

from tests.cli.onnx_models import convnet

COMMAND = [sys.executable, "-m", "tvm_fusion.cli.main"]


def test_ctrl_c_keeps_the_best_plan_so_far(saved_graph: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    arguments = ["plan", str(saved_graph), "--algorithm", "random-search", "--budget", "999999999", "-o", str(path)]
    ours, theirs = pty.openpty()  # a terminal, whose progress bar says when the search runs
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=theirs, text=True, env=environment
    )
    shown = b""
    while b"MB" not in shown:
        shown += os.read(ours, 10_000)
    process.send_signal(signal.SIGINT)
    try:
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, shown
    assert b"Traceback" not in shown
    assert "interrupted: the best plan so far" in out
    assert path.is_file()


def test_hash_seed_does_not_matter(saved_graph: Path) -> None:
    arguments = ["plan", str(saved_graph), "--algorithm", "local-search", "--budget", "40", "--buffer", "1500"]
    outputs = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        path = saved_graph.parent / f"{seed}.json"
        subprocess.run([*COMMAND, *arguments, "-o", str(path)], check=True, capture_output=True, env=environment)
        outputs.append(path.read_bytes())
    assert outputs[0] == outputs[1]


def test_reader_that_leaves_early(saved_graph: Path) -> None:
    line = f"{' '.join(COMMAND)} graph {saved_graph} --json | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], check=False, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout == "{\n"


def test_progress_bar_on_a_terminal(saved_graph: Path) -> None:
    ours, theirs = pty.openpty()
    arguments = ["plan", str(saved_graph), "--algorithm", "random-search", "--budget", "300"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    subprocess.run([*COMMAND, *arguments], check=True, stdout=subprocess.PIPE, stderr=theirs, env=environment)
    os.close(theirs)
    shown = os.read(ours, 100_000).decode(errors="replace")
    os.close(ours)
    assert "best" in shown
    assert "MB" in shown


def test_refused_network_leaves_no_noise(tmp_path: Path) -> None:
    """TVM's block builder complains when it dies half done, which is after the error was raised."""
    path = convnet(tmp_path / "odd.onnx", [1, 3, 16, 16])
    done = subprocess.run([*COMMAND, "graph", str(path)], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1, done.stderr
    assert "channel" in done.stderr
