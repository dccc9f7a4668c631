"""The public names: a change here is a change for users."""

from __future__ import annotations

import pytest

import tvm_fusion
from tvm_fusion.errors import FusionError

NAMES = [
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


def test_names_are_as_promised() -> None:
    assert sorted(tvm_fusion.__all__) == sorted(NAMES)
    assert set(NAMES) <= set(dir(tvm_fusion))


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there(name: str) -> None:
    value = getattr(tvm_fusion, name)
    assert value is getattr(tvm_fusion, name)
    if callable(value):
        assert value.__doc__


def test_subpackages_are_reached_by_attribute() -> None:
    assert tvm_fusion.search.search is tvm_fusion.search_plan
    assert tvm_fusion.cost_models.__name__ == "tvm_fusion.cost_models"


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'magic'"):
        tvm_fusion.magic  # noqa: B018


def test_every_error_is_a_fusion_error() -> None:
    from tvm_fusion import errors

    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    assert len(classes) > 5
    assert all(issubclass(value, FusionError) for value in classes)
    assert {value.exit_code for value in classes} == {1, 2}
