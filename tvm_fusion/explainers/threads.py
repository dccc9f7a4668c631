"""one_thread(): small networks run fastest, and always alike, without torch's threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch to one thread, then give it back those it had.

    Threads wait for one another by spinning: beside other work a batch of groups takes many times as long with them,
    and sums in another order would let explanations depend on the number of cores.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
