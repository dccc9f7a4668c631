"""Which classifier an explainer asks where groups may execute in several schemes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

from tvm_fusion.cost_models.schemes.registry import ALWAYS
from tvm_fusion.errors import ExplainerError

# A group is invalid where no allowed scheme fits it. BRR streams weights, so that what it cannot fit seldom fits in
# line buffers: its classifier is the closest to that truth (docs/classifier.md has the figures).
PREFERRED = ("brr", "lbdf")


def classifier_scheme(schemes: Iterable[str], types: Iterable[str], types_seen: Mapping[str, AbstractSet[str]]) -> str:
    """The scheme whose classifier explains groups that may execute in ``schemes``.

    ``types_seen``: for every scheme that has a classifier the operator types that this one has learned from. Of the
    allowed schemes that have one, the scheme whose classifier saw the most of the operator ``types`` in question; of
    equals the first in PREFERRED. Raises ExplainerError if none has one.
    """
    allowed = [name for name in schemes if name != ALWAYS]
    known = sorted(
        (name for name in allowed if name in types_seen),
        key=lambda name: (PREFERRED.index(name) if name in PREFERRED else len(PREFERRED), name),
    )
    if not known:
        raise ExplainerError(
            f"no classifier ships for scheme {', '.join(allowed) or ALWAYS}; there is one for "
            f"{', '.join(sorted(types_seen))}; explainer 'occlusion' asks the cost model instead"
        )
    wanted = set(types)
    return min(known, key=lambda name: len(wanted - types_seen[name]))


def mixed_note(scheme: str, schemes: Iterable[str]) -> str:
    """One line that says whose classifier is asked where groups may execute otherwise too; else nothing."""
    others = [name for name in schemes if name not in (scheme, ALWAYS)]
    if not others:
        return ""
    return (
        f"explanations ask the classifier of {scheme}; a group that does not fit in {scheme} but in "
        f"{', '.join(others)} is valid and needs none"
    )
