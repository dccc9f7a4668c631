"""GroupPrices: a price for every operator at which none of the groups known so far gains anything."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csc_array

from tvm_fusion.errors import SearchError
from tvm_fusion.graph.graph import members

_AT_A_TIME = 200
_TOLERANCE_BYTES = 0.5


class GroupPrices:
    """The linear programme of covering every operator once by known groups, and its dual prices.

    Its value bounds nothing from below as long as groups are missing; the prices say where to look for them.
    """

    def __init__(self, operators: int) -> None:
        self._operators = operators
        self._number: dict[int, int] = {}
        self._cost: list[int] = []
        self._rows: list[int] = []
        self._starts = [0]
        self._active: list[int] = []
        self._matrix: csc_array | None = None

    def __len__(self) -> int:
        return len(self._cost)

    def add(self, mask: int, dram_bytes: int) -> bool:
        """Learn a group that may be in a plan; False if it was known."""
        if mask in self._number:
            return False
        self._number[mask] = len(self._cost)
        self._cost.append(dram_bytes)
        self._rows.extend(members(mask))
        self._starts.append(len(self._rows))
        # Every operator alone makes the programme feasible.
        if not mask & (mask - 1):
            self._active.append(self._number[mask])
        self._matrix = None
        return True

    def solve(self) -> tuple[float, np.ndarray]:
        """(bytes of the fractional optimum over the groups known, price of every operator)."""
        if self._matrix is None:
            shape = (self._operators, len(self._cost))
            self._matrix = csc_array((np.ones(len(self._rows)), self._rows, self._starts), shape=shape)
        cost = np.array(self._cost, float)
        while True:
            active = np.array(self._active)
            found = linprog(
                cost[active],
                A_eq=self._matrix[:, active],
                b_eq=np.ones(self._operators),
                bounds=(0, None),
                method="highs",
            )
            if found.status != 0:
                raise SearchError(f"the linear programme of the lower bound has no solution: {found.message}")
            prices = found.eqlin.marginals
            # Of many groups few matter: let in those that gain most at these prices.
            lacking = cost - self._matrix.T @ prices
            worst = np.argsort(lacking, kind="stable")[:_AT_A_TIME]
            new = [int(k) for k in worst if lacking[k] < -_TOLERANCE_BYTES]
            if not new:
                return float(found.fun), prices
            self._active += new

    def promising(self, prices: np.ndarray, slack_bytes: float, most: int) -> tuple[list[int], list[int]]:
        """(masks, bytes) of the ``most`` groups that cost least above the prices of their operators, up to a slack."""
        assert self._matrix is not None, "prices come from solve"
        lacking = np.array(self._cost, float) - self._matrix.T @ prices
        order = [int(k) for k in np.argsort(lacking, kind="stable")[:most] if lacking[k] <= slack_bytes]
        masks = list(self._number)
        return [masks[k] for k in order], [self._cost[k] for k in order]
