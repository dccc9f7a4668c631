"""Which operators of a network to execute together so that the least data moves to and from DRAM.

The public names are loaded when they are first used (PEP 562), so that importing the package costs
little and loads neither TVM nor torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tvm_fusion import errors as errors
    from tvm_fusion.cost_models.accelerator import Accelerator as Accelerator
    from tvm_fusion.cost_models.accelerator import load_accelerator as load_accelerator
    from tvm_fusion.cost_models.evaluation import evaluate_plan as evaluate_plan
    from tvm_fusion.cost_models.oracle import Oracle as Oracle
    from tvm_fusion.frontends import load_graph as load_graph
    from tvm_fusion.frontends import load_network as load_network
    from tvm_fusion.graph.graph import OperatorGraph as OperatorGraph
    from tvm_fusion.graph.plan import PartitionPlan as PartitionPlan
    from tvm_fusion.graph.plan_io import load_plan as load_plan
    from tvm_fusion.graph.plan_io import save_plan as save_plan
    from tvm_fusion.search import search as search_plan

    __version__: str

# Where each public name lives. ``search_plan`` is ``tvm_fusion.search.search``: a function cannot
# share its name with the package ``tvm_fusion.search``.
_HOMES = {
    "Accelerator": ("tvm_fusion.cost_models.accelerator", "Accelerator"),
    "OperatorGraph": ("tvm_fusion.graph.graph", "OperatorGraph"),
    "Oracle": ("tvm_fusion.cost_models.oracle", "Oracle"),
    "PartitionPlan": ("tvm_fusion.graph.plan", "PartitionPlan"),
    "evaluate_plan": ("tvm_fusion.cost_models.evaluation", "evaluate_plan"),
    "load_accelerator": ("tvm_fusion.cost_models.accelerator", "load_accelerator"),
    "load_graph": ("tvm_fusion.frontends", "load_graph"),
    "load_network": ("tvm_fusion.frontends", "load_network"),
    "load_plan": ("tvm_fusion.graph.plan_io", "load_plan"),
    "save_plan": ("tvm_fusion.graph.plan_io", "save_plan"),
    "search_plan": ("tvm_fusion.search", "search"),
}
_MODULES = ("cost_models", "errors", "frontends", "graph", "passes", "reports", "search")

__all__ = [
    "Accelerator",
    "OperatorGraph",
    "Oracle",
    "PartitionPlan",
    "__version__",
    "errors",
    "evaluate_plan",
    "load_accelerator",
    "load_graph",
    "load_network",
    "load_plan",
    "save_plan",
    "search_plan",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = _version()
    elif name in _HOMES:
        module, attribute = _HOMES[name]
        value = getattr(import_module(module), attribute)
    elif name in _MODULES:
        value = import_module(f"tvm_fusion.{name}")
    else:
        raise AttributeError(f"module 'tvm_fusion' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("tvm-fusion")
    except PackageNotFoundError:  # used from a source tree that is not installed
        return "0.0.0+source"
