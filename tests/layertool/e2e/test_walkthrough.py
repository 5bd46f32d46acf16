"""The walk-through that layertool was made for, from an empty store to a committed Debian.

Offline but for the first making of the Debian rootfs, which is then kept in the cache. The package
that is installed comes from the mirror when there is one, else it is made here.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from debianrootfs import rootfs_tar
from fstest import needs
from sandboxtest import BUSYBOX, account, require
from sandboxtest.program import Program, program

pytestmark = [pytest.mark.needs("root"), pytest.mark.slow]

CONTAINERS = 10


@pytest.fixture(params=["kernel", pytest.param("fuse", marks=pytest.mark.mounted)])
def driver(request: pytest.FixtureRequest) -> str:
    require("overlay" if request.param == "kernel" else "fuse")
    return str(request.param)


@pytest.fixture
def layertool(room: Path) -> Iterator[Program]:
    made = program(account("root"), room)
    yield made
    made.clean()


@pytest.fixture
def debian(layertool: Program) -> Program:
    """A store that holds the image `debian`."""
    layertool.ok("import", rootfs_tar(), "--name", "debian")
    return layertool


def image(layertool: Program, name: str) -> dict[str, Any]:
    (found,) = [
        each
        for each in layertool.json("images", "--json")
        if each["name"].rpartition("/")[2] == name
    ]
    assert isinstance(found, dict)
    return found


def fingerprint(directory: Path) -> str:
    """A hash over everything in a tree that a container could have changed."""
    digest = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        info = path.lstat()
        digest.update(
            f"{path.relative_to(directory)} {info.st_mode:o} {info.st_uid} {info.st_gid}"
            f" {info.st_size} {info.st_mtime_ns} {info.st_ctime_ns} {info.st_ino}".encode(
                errors="surrogateescape"
            )
        )
        if path.is_symlink():
            digest.update(os.readlink(path).encode())
        elif path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def used(directory: Path) -> int:
    """Bytes on disk, as du counts them."""
    out = subprocess.run(["du", "-s", "-B1", str(directory)], capture_output=True, check=True)
    return int(out.stdout.split()[0])


def test_hello_world(layertool: Program, driver: str) -> None:
    """A static binary, alone in an image from scratch."""
    require(BUSYBOX)
    tree = layertool.room / "hello"
    tree.mkdir()
    shutil.copy(BUSYBOX, tree / "echo")
    with tarfile.open(layertool.room / "hello.tar", "w") as archive:
        archive.add(tree / "echo", arcname="echo")
    layertool.ok("import", layertool.room / "hello.tar", "--name", "hello-world")
    hello = ["run", "--driver", driver]
    assert layertool.ok(*hello, "--rm", "hello-world", "/echo", "Hello!") == "Hello!\n"
    layertool.ok(*hello, "--name", "hello", "hello-world", "/echo", "Hello!")
    assert layertool.ok("diff", "hello") == ""


def test_ten_containers_at_once(debian: Program, driver: str) -> None:
    (layer,) = (debian.room / "store/layers/sha256").iterdir()
    before = fingerprint(layer / "diff")
    assert image(debian, "debian")["size"] > 50_000_000

    script = (
        "cat /etc/hostname; echo container-$N > /etc/hostname; rm /etc/issue /bin/true;"
        " sleep 1; cat /etc/hostname; ls /etc/issue /bin/true; ls /etc/made-by-* 2>/dev/null;"
        " touch /etc/made-by-$N"
    )

    def one(number: int) -> list[str]:
        done = debian(
            "run", "--driver", driver, "--name", f"c{number}", "--hostname", f"h{number}",
            "-e", f"N={number}", "debian", "sh", "-c", script,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("No such file") == 2
        return done.stdout.split()

    with ThreadPoolExecutor(CONTAINERS) as pool:
        seen = list(pool.map(one, range(CONTAINERS)))
    for number, words in enumerate(seen):
        assert words == [f"h{number}", f"container-{number}"]
        changed = debian.ok("diff", f"c{number}").splitlines()
        assert changed == [
            "C /etc",
            "C /etc/hostname",
            "D /etc/issue",
            f"A /etc/made-by-{number}",
            "C /usr",
            "C /usr/bin",
            "D /usr/bin/true",
        ]
    assert fingerprint(layer / "diff") == before
    assert debian.ok("run", "--rm", "--driver", driver, "debian", "true") == ""


def test_install_and_commit(debian: Program, driver: str) -> None:
    plain = image(debian, "debian")
    history = debian.json("history", "debian", "--json")
    disk = used(debian.room / "store")

    package, install, show, options = _package(debian.room)
    debian.ok("run", "--driver", driver, "--name", "work", *options, "debian", "sh", "-c", install)
    debian.ok("commit", "--message", f"with {package}", "work", "debian-with-vi")

    changed = image(debian, "debian-with-vi")
    after = debian.json("history", "debian-with-vi", "--json")
    assert after[1:] == history or after[:-1] == history, "one more line, the others as they were"
    assert changed["layers"] == plain["layers"] + 1
    grown = changed["size"] - plain["size"]
    assert 0 < grown < plain["size"] / 2
    assert debian.ok("run", "--rm", "--driver", driver, "debian-with-vi", "sh", "-c", show)
    assert debian("run", "--rm", "--driver", driver, "debian", "sh", "-c", show).returncode == 127
    assert len(list((debian.room / "store/layers/sha256").iterdir())) == 2, "one copy of the base"
    assert image(debian, "debian")["shared"] >= plain["size"] * 0.9
    # The container's upper and the new layer, packed and unpacked: nothing of the base again.
    assert used(debian.room / "store") - disk < 4 * grown + (1 << 20)


def _package(room: Path) -> tuple[str, str, str, list[str]]:
    """(name, command to install it, command that shows it works, options of run)."""
    if needs.missing("online") is None:
        install = "apt-get update -q && apt-get install -y -q --no-install-recommends vim-tiny"
        clean = "apt-get clean && rm -rf /var/lib/apt/lists/*"
        return "vim-tiny", f"{install} && {clean}", "vi --version", []
    deb = _made_package(room)
    return "vi-stub", "dpkg -i /deb/vi-stub.deb", "vi", ["-v", f"{deb.parent}:/deb:ro"]


def _made_package(room: Path) -> Path:
    """A package of one script, for machines without a mirror."""
    tree = room / "deb/tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(
        "Package: vi-stub\nVersion: 1\nArchitecture: all\nMaintainer: Test <test@localhost>\n"
        "Description: stands for an editor\n"
    )
    (tree / "usr/bin/vi").write_text("#!/bin/sh\necho vi\n")
    (tree / "usr/bin/vi").chmod(0o755)
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", str(tree), str(tree.parent / "vi-stub.deb")],
        check=True,
        capture_output=True,
    )
    return tree.parent / "vi-stub.deb"
