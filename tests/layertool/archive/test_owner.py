"""Without privileges: owners are remembered, and come back when packed."""

import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from archivetest.craft import directory, hardlink, member, symlink, tar

from layertool.archive.owner import OVERRIDE, Override
from layertool.cli import main

pytestmark = pytest.mark.needs("root")
NOBODY = 65534

LAYER = tar(
    directory(b"etc", 0o755),
    member(b"etc/shadow", data=b"secret", mode=0o640, gid=42),
    member(b"etc/locked", data=b"x", mode=0),
    directory(b"home", 0o500, uid=1000, gid=1000),
    member(b"home/file", data=b"y", mode=0o4755, uid=1000, gid=1000),
    hardlink(b"home/link", b"home/file"),
    symlink(b"home/roots", b"file"),
    member(b"home/sym", b"2", link=b"file", uid=1000, gid=1000),
    member(b"null", b"3", mode=0o666, major=1, minor=3),
    member(b".wh.gone"),
    member(b"etc/.wh..wh..opq"),
)


def _layertool(*words: str | Path, prefix: tuple[str, ...] = ()) -> dict[str, str | int]:
    program = [sys.executable, "-c", "import sys; from layertool.cli import main; sys.exit(main())"]
    done = subprocess.run(
        [*prefix, *program, *map(str, words), "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout), "warnings": done.stderr}


@pytest.fixture
def room() -> Iterator[Path]:
    """A directory that nobody may use, with the layer in it."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        path = Path(name)
        path.chmod(0o755)
        os.chown(path, NOBODY, NOBODY)
        (path / "layer.tar").write_bytes(LAYER)
        yield path


AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")


@pytest.mark.needs("setpriv")
@pytest.mark.parametrize("namespace", [(), ("unshare", "-Ur")], ids=["plain", "one-id"])
def test_a_layer_survives_a_rootless_machine(namespace: tuple[str, ...], room: Path) -> None:
    if namespace:
        allowed = subprocess.run([*AS_NOBODY, *namespace, "true"], capture_output=True, check=False)
        if allowed.returncode:
            pytest.skip("needs user namespaces for users")
    prefix = (*AS_NOBODY, *namespace)
    unpacked = _layertool("unpack", room / "layer.tar", room / "tree", prefix=prefix)
    shadow = room / "tree/etc/shadow"
    assert shadow.stat().st_uid == NOBODY
    assert os.getxattr(shadow, OVERRIDE).startswith(b"0:42:0640")
    gone = (room / "tree/gone").lstat() if (room / "tree/gone").exists() else None
    assert gone is None or stat.S_ISCHR(gone.st_mode)
    packed = _layertool("pack", room / "tree", room / "back.tar", prefix=prefix)
    assert main(["unpack", str(room / "layer.tar"), str(room / "as-root")]) == 0
    expected = _layertool("pack", room / "as-root", room / "expected.tar")
    assert unpacked["entries"] == 11
    # The one thing that is lost, and said: a symlink holds no attribute of a user's.
    told = [line for line in str(unpacked["warnings"]).splitlines() if "symlinks" in line]
    assert len(told) == 1 and "home/sym: belongs to 1000:1000" in told[0]
    rootless = _listing(room / "back.tar")
    assert {line for line in rootless if "sym" not in line} == {
        line for line in _listing(room / "expected.tar") if "sym" not in line
    }
    assert packed["entries"] == expected["entries"]


def _listing(archive: Path) -> list[str]:
    done = subprocess.run(
        ["tar", "--numeric-owner", "-tvf", archive], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("override", "text"),
    [
        (Override(0, 0, 0o755, stat.S_IFDIR), b"0:0:0755:dir"),
        (Override(33, 44, 0o4750, stat.S_IFREG), b"33:44:4750:file"),
        (Override(0, 6, 0o660, stat.S_IFBLK, 8, 1), b"0:6:0660:block-8-1"),
        (Override(0, 0, 0o666, stat.S_IFCHR, 1, 3), b"0:0:0666:char-1-3"),
        (Override(1, 2, 0o600, stat.S_IFIFO), b"1:2:0600:pipe"),
        (Override(1, 2, 0o600), b"1:2:0600"),
    ],
)
def test_the_form_of_containers_storage(override: Override, text: bytes) -> None:
    assert override.encode() == text
    assert Override.decode(text) == override
