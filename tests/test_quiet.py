"""What libraries print on stderr by themselves is held back and never lost."""

from __future__ import annotations

import os

import pytest

from tvm_fusion.cli import session
from tvm_fusion.errors import FusionError
from tvm_fusion.quiet import captured_stderr


def test_captures_the_descriptor(capfd: pytest.CaptureFixture[str]) -> None:
    with captured_stderr() as captured:
        os.write(2, b"from C++\n")
    os.write(2, b"after\n")
    assert captured.text == "from C++\n"
    assert capfd.readouterr().err == "after\n"


def test_text_is_there_after_an_exception() -> None:
    with pytest.raises(ZeroDivisionError), captured_stderr() as captured:
        noise(ZeroDivisionError)
    assert captured.text == "noise\n"


def noise(error: type[Exception]) -> None:
    os.write(2, b"noise\n")
    raise error("no")


@pytest.mark.parametrize(("verbose", "error", "shown"), [
    (False, FusionError, ""),
    (True, FusionError, "noise\n"),
    (False, ZeroDivisionError, "noise\n"),
    (True, ZeroDivisionError, "noise\n"),
])  # fmt: skip
def test_session_shows_noise_of_a_crash_but_not_of_a_refusal(
    capfd: pytest.CaptureFixture[str], verbose: bool, error: type[Exception], shown: str
) -> None:
    with pytest.raises(error), session.quiet(verbose):
        noise(error)
    assert capfd.readouterr().err == shown
