"""USER as docker reads it, from files that the image controls."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from layertool.errors import LayertoolError
from layertool.sandbox.users import Identity, resolve

PASSWD = """root:x:0:0:root:/root:/bin/sh
# a comment, and a line of too few fields
broken:x:1
app:x:1000:1001:App:/home/app:/bin/sh
1234:x:7:7:named like a number:/seven:/bin/sh
"""
GROUP = "root:x:0:\nstaff:x:50:app,other\napp:x:1001:\nextra:x:60:app\n"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text(GROUP)
    fd = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(
    ("user", "identity"),
    [
        ("", Identity(0, 0, (), "/root")),
        ("root", Identity(0, 0, (), "/root")),
        ("app", Identity(1000, 1001, (50, 60), "/home/app")),
        ("1000", Identity(1000, 1001, (50, 60), "/home/app")),
        ("app:staff", Identity(1000, 50, (), "/home/app")),
        ("app:77", Identity(1000, 77, (), "/home/app")),
        ("4242", Identity(4242, 0, (), "/")),
        ("4242:4343", Identity(4242, 4343, (), "/")),
        ("1234", Identity(7, 7, (), "/seven")),
        (":staff", Identity(0, 50, (), "/root")),
        ("2147483647", Identity(2147483647, 0, (), "/")),
    ],
)
def test_resolve(root: int, user: str, identity: Identity) -> None:
    assert resolve(root, user) == identity


@pytest.mark.parametrize(
    "user",
    ["nobody-knows", "app:nobody-knows", "2147483648", "4294967295", "9" * 400, "app:-1", "-1"],
)
def test_refused(root: int, user: str) -> None:
    with pytest.raises(LayertoolError) as caught:
        resolve(root, user)
    assert caught.value.exit_code == 125
    assert len(str(caught.value)) < 200 + len(user)


def test_extra_groups(root: int) -> None:
    assert resolve(root, "4242", ["extra", "99", "extra"]).groups == (60, 99)


@pytest.mark.parametrize("kind", ["fifo", "device link", "outside link", "huge", "missing"])
def test_hostile_files(tmp_path: Path, root: int, kind: str) -> None:
    """CVE-2024-9676 and kin: nothing blocks, nothing outside the root is read."""
    passwd = tmp_path / "etc/passwd"
    passwd.unlink()
    outside = tmp_path.parent / "outside-passwd"
    outside.write_text("stranger:x:5:5::/:\n")
    if kind == "fifo":
        os.mkfifo(passwd)
    elif kind == "device link":
        passwd.symlink_to("/dev/zero")
    elif kind == "outside link":
        passwd.symlink_to(outside)
    elif kind == "huge":
        passwd.write_bytes(b"x" * (3 << 20) + b"\nstranger:x:5:5::/:\n")
    with pytest.raises(LayertoolError):
        resolve(root, "stranger")


def test_link_inside_the_root(tmp_path: Path, root: int) -> None:
    (tmp_path / "etc/passwd").rename(tmp_path / "real")
    (tmp_path / "etc/passwd").symlink_to("/real")
    assert resolve(root, "app").uid == 1000
