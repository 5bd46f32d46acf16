"""A directory of ours that lives until the next boot: records of mounts, and nothing, to mount."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

from layertool.errors import LayertoolError
from layertool.sandbox import namespaces

_ROOTS: Final = Path("/run/layertool")


def directory() -> Path:
    """/run/layertool as root, below XDG_RUNTIME_DIR for others, else below /tmp.

    Raises LayertoolError if it belongs to somebody else, who could put things into it.
    """
    uid = namespaces.real_uid()
    if uid == 0:
        path = _ROOTS
    elif runtime := os.environ.get("XDG_RUNTIME_DIR"):
        path = Path(runtime, "layertool")
    else:
        path = Path(tempfile.gettempdir(), f"layertool-{uid}")
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = path.lstat()
    except OSError as error:
        raise LayertoolError(f"{path}: {error.strerror}") from None
    if not path.is_dir() or path.is_symlink() or info.st_uid != os.geteuid():
        raise LayertoolError(f"{path}: is not a directory of ours; remove it")
    return path


def empty_directory(name: str) -> Path:
    """A directory that stays empty and exists as long as any mount might use it."""
    path = directory() / "empty" / name
    path.mkdir(mode=0o755, parents=True, exist_ok=True)
    return path
