"""A daemon that has hardly a descriptor left refuses to open files, and nothing else."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from unionfs.layer import DirFds
from unionfs.testing.load import mount_with_few_descriptors
from unionfs.testing.mounts import Mounted

pytestmark = [pytest.mark.mounted, pytest.mark.needs("root")]

LIMIT, FILES, DIRECTORIES = 300, 400, 120


@pytest.fixture
def crowded(union: Callable[..., Mounted], tmp_path: Path) -> Mounted:
    """A union of many files and directories, whose daemon may open LIMIT files."""
    files = {f"files/{n}": f"content {n}" for n in range(FILES)}
    mounted = union({**files, **{f"dirs/{n}/{n}": "x" for n in range(DIRECTORIES)}})
    mounted.unmount()
    mount_with_few_descriptors(mounted, LIMIT)
    return mounted


def test_only_open_is_refused_and_only_while_there_is_no_room(crowded: Mounted) -> None:
    with contextlib.ExitStack() as stack:
        refused = None
        for number in range(FILES):
            try:
                stack.enter_context(open(crowded / f"files/{number}", "rb"))
            except OSError as error:
                refused = error.errno
                break
        assert refused == errno.EMFILE
        assert number > LIMIT / 2
        with pytest.raises(OSError, match="Too many open files"):
            open(crowded / "new", "x").close()
        assert not (crowded / "new").exists()
        for number in range(DIRECTORIES):
            directory = crowded / f"dirs/{number}"
            assert os.listdir(directory) == [str(number)]
            (directory / "made").mkdir()
            (directory / str(number)).rename(directory / "renamed")
            (directory / "renamed").chmod(0o600)
            (directory / "renamed").unlink()
    assert (crowded / "files/399").read_bytes() == b"content 399"
    (crowded / "new").write_text("there is room again")


def test_directories_make_room_when_numbers_run_high(tmp_path: Path) -> None:
    last = os.open(tmp_path, os.O_RDONLY)
    fds = DirFds(1000, last + DirFds.FEW + 20)
    try:
        for number in range(DirFds.FEW + 30):
            fds.put(number, os.dup(last))
        kept = [number for number in range(DirFds.FEW + 30) if fds.get(number) >= 0]
        assert kept[-1] == DirFds.FEW + 29, "what was used last is kept"
        assert len(kept) <= DirFds.FEW + 9
        fds.trim(1)
        assert fds.get(DirFds.FEW + 29) >= 0
        assert fds.get(DirFds.FEW + 28) == -1
    finally:
        fds.close()
        os.close(last)
