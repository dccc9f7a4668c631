"""Files are written to a temporary name and renamed, so that nothing is ever half-written."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from tvm_fusion.errors import FusionError


def write_bytes_atomic(path: str | Path, data: bytes) -> None:
    """Write ``data`` to ``path`` or leave it as it was. Raises FusionError if it cannot be written."""
    target = Path(path)
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(target)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        raise FusionError(f"cannot write {str(path)!r}: {error.strerror or error}") from None


def write_text_atomic(path: str | Path, text: str) -> None:
    """:func:`write_bytes_atomic` of UTF-8 text."""
    write_bytes_atomic(path, text.encode())


def check_writable(path: str | Path) -> None:
    """Raise FusionError now if ``path`` could not be written later."""
    target = Path(path)
    if target.is_dir():
        raise FusionError(f"cannot write {str(path)!r}: it is a folder")
    if not target.parent.is_dir():
        raise FusionError(f"cannot write {str(path)!r}: folder {str(target.parent)!r} does not exist")
    if not os.access(target.parent, os.W_OK):
        raise FusionError(f"cannot write {str(path)!r}: folder {str(target.parent)!r} is not writable")
