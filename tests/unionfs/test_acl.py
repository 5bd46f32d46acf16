"""Inherited ACLs are what the kernel makes them: every case is compared with a real file."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from unionfs import acl

USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32
NOBODY = 0xFFFFFFFF


def encode(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


MINIMAL = encode((USER_OBJ, 7, NOBODY), (GROUP_OBJ, 5, NOBODY), (OTHER, 0, NOBODY))
NAMED = encode(
    (USER_OBJ, 7, NOBODY),
    (USER, 6, 1000),
    (GROUP_OBJ, 7, NOBODY),
    (MASK, 7, NOBODY),
    (OTHER, 4, NOBODY),
)
GROUPS = encode(
    (USER_OBJ, 6, NOBODY),
    (GROUP_OBJ, 7, NOBODY),
    (GROUP, 5, 50),
    (MASK, 6, NOBODY),
    (OTHER, 1, NOBODY),
)


@pytest.mark.parametrize("default", [MINIMAL, NAMED, GROUPS], ids=["minimal", "named", "groups"])
@pytest.mark.parametrize("mode", [0o666, 0o600, 0o777, 0o4755, 0o000, 0o640])
def test_inherit_is_what_the_kernel_does(tmp_path: Path, default: bytes, mode: int) -> None:
    parent = tmp_path / "parent"
    parent.mkdir()
    os.setxattr(parent, acl.DEFAULT, default)
    old = os.umask(0o077)  # must not count below a default ACL
    try:
        os.close(os.open(parent / "file", os.O_CREAT | os.O_WRONLY, mode))
    finally:
        os.umask(old)
    bits, access = acl.inherit(default, mode)
    assert os.stat(parent / "file").st_mode & 0o7777 == bits
    try:
        real: bytes | None = os.getxattr(parent / "file", acl.ACCESS)
    except OSError:
        real = None
    assert access == real
