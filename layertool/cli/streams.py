"""Archives on standard input and output: `-` for a file name.

Archives are read and written at any place, which a pipe does not allow: so they pass through a file
in the system's directory for temporary files ($TMPDIR).
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from layertool.errors import BadArchive, UsageError

_CHUNK = 1 << 20


@contextmanager
def saved_input() -> Iterator[str]:
    """The path of a file with all of standard input.

    Raises `UsageError` for a terminal, and `BadArchive` when nothing comes: an empty file would
    pass for an empty root file system, but is rather the output of a program that failed.
    """
    if sys.stdin.isatty():
        raise UsageError("-: standard input is a terminal: pipe an archive in, or name a file")
    with _room() as room:
        path = room / "stdin"  # an image that has no name is named after it
        with open(path, "wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file, _CHUNK)
            if file.tell() == 0:
                raise BadArchive("-: standard input is empty")
        yield str(path)


@contextmanager
def copied_to_output() -> Iterator[str]:
    """A path to write to; what is there goes to standard output unless the body fails.

    Raises `UsageError` for a terminal, which an archive would upset.
    """
    if sys.stdout.isatty():
        raise UsageError("-: standard output is a terminal: redirect it, or name a file")
    with _room() as room:
        path = room / "stdout"
        yield str(path)
        with open(path, "rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer, _CHUNK)
        sys.stdout.buffer.flush()


@contextmanager
def _room() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="layertool-") as name:
        yield Path(name)
