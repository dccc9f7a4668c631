"""``import tvm_fusion`` is quick and loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys
import time

HEAVY = {"tvm", "tvm_ffi", "torch", "torchvision", "timm", "pymoo", "onnx", "numpy", "networkx", "matplotlib"}


def loaded_by(statement: str) -> set[str]:
    script = f"import sys; {statement}; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_nothing_heavy_is_loaded() -> None:
    assert not HEAVY & loaded_by("import tvm_fusion")


def test_planning_of_a_saved_graph_needs_neither_tvm_nor_torch() -> None:
    statement = "from tvm_fusion import Oracle, load_accelerator, OperatorGraph, evaluate_plan, search_plan"
    assert not {"tvm", "torch"} & loaded_by(statement)


def test_import_takes_under_0_3_seconds() -> None:
    script = "import time; t = time.perf_counter(); import tvm_fusion; print(time.perf_counter() - t)"
    best = 9.0
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
        best = min(best, float(done.stdout))
        if best < 0.3:
            break
        time.sleep(0.2)
    assert best < 0.3
