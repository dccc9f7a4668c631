"""Explainers run on one thread of torch and leave the user's setting as it was."""

from __future__ import annotations

import pytest
import torch

from tvm_fusion.explainers.threads import one_thread


def test_one_thread_inside_and_the_former_number_afterwards_whatever_happens() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        with pytest.raises(ValueError, match="inside"), one_thread():
            raise ValueError("inside")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
