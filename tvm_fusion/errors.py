"""Errors of wrong input: one line that names the value and says what is allowed."""

from __future__ import annotations


class FusionError(Exception):
    """Base of every error that a user's input can cause; the command line exits with ``exit_code``."""

    exit_code = 2


class GraphError(FusionError):
    """An operator graph that contradicts itself, or JSON that is not one."""


class FrontendError(FusionError):
    """A network that cannot be found, read or imported."""


class AcceleratorError(FusionError):
    """An accelerator description with an unknown key, a wrong type or an impossible value."""


class PlanError(FusionError):
    """A partition plan that does not fit its graph."""


class SearchError(FusionError):
    """A search that cannot run as asked (unknown algorithm, too many ideals, budget 0)."""


class ExplainerError(FusionError):
    """An explainer that cannot run as asked (unknown name, no torch, a checkpoint for something else)."""


class CostModelError(FusionError):
    """A group that a cost model cannot execute."""


class SchemeError(FusionError):
    """An execution scheme or objective that is unknown, or schemes that cannot execute a network."""


class CompileError(FusionError):
    """A plan that does not match the module that is compiled."""


class MemoryMismatchError(FusionError):
    """Lowered code that holds or moves other bytes than the cost model says."""


class TrainingError(FusionError):
    """Gradient scaling that cannot be attached, computed or restored as asked."""


class NoAnswerError(FusionError):
    """The input was good, but there is no valid answer."""

    exit_code = 1
