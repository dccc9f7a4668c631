"""Ways to run one network that benchmarks/speed.py compares: same weights, same input, same threads."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import tvm
from tvm import relax

from benchmarks.lowered_plan import GroupFacts, at_own_widths, host_target, lower_plan
from benchmarks.quantized import exported
from benchmarks.quantized import session as runtime_session
from tvm_fusion.cli import building, planning
from tvm_fusion.errors import FusionError
from tvm_fusion.frontends.model_name import build_model
from tvm_fusion.passes.compile_plan import build_lowered

Array = npt.NDArray[Any]
SEED = 0  # of the weights and the input
PAUSE_SECONDS = 0.1  # threads of other libraries spin a while after their work


@dataclass(frozen=True)
class Setting:
    """What all methods share: the network, the buffer of the plan, and the number of threads."""

    net: str
    buffer_bytes: int
    algorithm: str
    threads: int


@dataclass(frozen=True)
class Prepared:
    """``call`` runs the network once on the input and gives its first output in the method's own form."""

    call: Callable[[], Any]
    seconds: float
    facts: dict[str, Any] = field(default_factory=dict)

    def output(self) -> Array:
        """The first output as an array."""
        found = self.call()
        return np.asarray(found if isinstance(found, np.ndarray) else found.numpy())


class Contest:
    """One network built once; ``prepare`` makes it ready for one of METHODS."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        torch.set_num_threads(setting.threads)
        self.built = build_model(setting.net, SEED)
        self.network = building.load(setting.net, 1, SEED)
        shape = (1, *self.built.image_shape)
        self.input: Array = np.random.default_rng(SEED).standard_normal(shape).astype(np.float32)
        self.executable: Any = None  # of the plan
        self.groups: tuple[GroupFacts, ...] = ()

    def prepare(self, method: str) -> Prepared:
        """Raises FusionError, or whatever a library raises, for a method that does not work here."""
        begin = time.perf_counter()
        call, facts = METHODS[method](self)
        call()  # what compiles does so at its first call
        return Prepared(call, time.perf_counter() - begin, facts)

    def plan(self) -> tuple[Callable[[], Any], dict[str, Any]]:
        """The best plan in our lowering."""
        graph, accelerator = self.network.graph, at_own_widths(self.setting.buffer_bytes)
        wanted = planning.Wanted(algorithm=self.setting.algorithm, seconds=120.0, scheme="lbdf")
        found = planning.find(graph, accelerator, wanted)
        lowered = lower_plan(self.network.module, graph, found.result.plan, accelerator, threads=self.setting.threads)
        if lowered.mismatch:
            raise FusionError(lowered.mismatch)
        self.groups = lowered.groups
        self.executable = build_lowered(lowered.module, host_target())
        facts = {
            "groups": len(self.groups),
            "lowered_groups": sum(group.lowered for group in self.groups),
            "lowered_operators": sum(len(group.operators) for group in self.groups if group.lowered),
            "operators": len(graph),
            "search_seconds": round(found.result.seconds, 1),
        }
        return self._in_machine(self.executable), facts

    def tvm_default(self) -> tuple[Callable[[], Any], dict[str, Any]]:
        """``tvm.compile`` as it is: on LLVM no operators are fused."""
        return self._in_machine(tvm.compile(self.network.module, host_target())), {}

    def tvm_fuse_ops(self) -> tuple[Callable[[], Any], dict[str, Any]]:
        """TVM's own pipeline for the processor, with FuseOps."""
        target = host_target()
        pipeline = relax.get_default_pipeline(target)
        return self._in_machine(tvm.compile(self.network.module, target, relax_pipeline=pipeline)), {}

    def torch_eager(self) -> tuple[Callable[[], Any], dict[str, Any]]:
        """torch as one writes it."""
        return self._in_torch(self.built.module), {}

    def torch_compile(self) -> tuple[Callable[[], Any], dict[str, Any]]:
        """torch.compile with its default back end, which needs a C++ compiler."""
        torch._dynamo.config.suppress_errors = False
        return self._in_torch(torch.compile(self.built.module)), {}

    def onnxruntime(self) -> tuple[Callable[[], Any], dict[str, Any]]:
        """onnxruntime with all its optimisations, from torch's ONNX export."""
        height, width = self.built.image_shape[1:]
        if height != width:
            raise FusionError(f"{self.setting.net} takes images of {height} x {width}; only square ones are exported")
        with tempfile.TemporaryDirectory() as folder:
            path = exported(self.built.module, height, Path(folder) / "network.onnx")
            running = runtime_session(path.read_bytes(), threads=self.setting.threads)
        given = {running.get_inputs()[0].name: self.input}
        return lambda: running.run(None, given)[0], {}

    def _in_machine(self, executable: Any) -> Callable[[], Any]:
        device = tvm.cpu()
        main = relax.VirtualMachine(executable, device)["main"]
        given = tvm.runtime.tensor(self.input, device)

        def call() -> Any:
            found = main(given)
            return found if hasattr(found, "numpy") else found[0]

        return call

    def _in_torch(self, model: Any) -> Callable[[], Any]:
        given = torch.from_numpy(self.input)

        def call() -> Any:
            with torch.inference_mode():
                return model(given)

        return call


METHODS: dict[str, Callable[[Contest], tuple[Callable[[], Any], dict[str, Any]]]] = {
    "tvm-fusion": Contest.plan,
    "tvm": Contest.tvm_default,
    "tvm FuseOps": Contest.tvm_fuse_ops,
    "torch": Contest.torch_eager,
    "torch.compile": Contest.torch_compile,
    "onnxruntime": Contest.onnxruntime,
}


def timed_rounds(prepared: dict[str, Prepared], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of every method in every round: A B C A B C ..., each after a pause and a call that is not timed."""
    found: dict[str, list[float]] = {name: [] for name in prepared}
    for _ in range(rounds):
        for name, method in prepared.items():
            time.sleep(PAUSE_SECONDS)
            method.call()
            begin = time.perf_counter()
            method.call()
            found[name].append(1000 * (time.perf_counter() - begin))
    return found


def prepare_all(contest: Contest, methods: list[str]) -> tuple[dict[str, Prepared], dict[str, str]]:
    """What works here, and one line why the others do not."""
    made, problems = {}, {}
    for method in methods:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                made[method] = contest.prepare(method)
        except Exception as problem:  # of six libraries
            lines = str(problem).strip().splitlines() or [""]
            problems[method] = f"{type(problem).__name__}: {lines[0]}"
    return made, problems
