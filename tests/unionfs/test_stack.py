"""Opening layers: what reading them leaves behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from unionfs import syscalls
from unionfs.stack import _open_lower

LONG_AGO = 1_000_000_000


@pytest.mark.parametrize("clones", [True, False], ids=["clone", "plain"])
def test_listing_a_lower_leaves_no_access_time(
    clones: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in a user namespace, where the mount cannot be cloned."""

    def refuse(path: bytes) -> int:
        raise PermissionError(path)

    if not clones:
        monkeypatch.setattr(syscalls, "clone_readonly", refuse)
    os.utime(tmp_path, (LONG_AGO, LONG_AGO))
    fd = _open_lower(os.fsencode(tmp_path))
    os.listdir(fd)
    os.close(fd)
    assert tmp_path.stat().st_atime == LONG_AGO
