"""chroot, mount, umount, mounts and doctor, as programs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sandboxtest import BUSYBOX, Account, account, busybox_root, require
from sandboxtest.program import Program, program


@pytest.fixture
def base(room: Path) -> Path:
    require(BUSYBOX)
    return busybox_root(room / "base")


@pytest.fixture
def app(room: Path) -> Path:
    path = room / "app"
    (path / "data").mkdir(parents=True)
    (path / "data/app").write_text("app\n")
    (path / "data/file").write_text("from the app\n")
    return path


@pytest.fixture(params=["root", "single"])
def who(request: pytest.FixtureRequest, room: Path, base: Path, app: Path) -> Account:
    """Root, and an ordinary user who owns the layers."""
    found = account(request.param)
    if not found.is_root:
        require("userns")
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", f"{found.uid}:{found.gid}", str(room)], check=True)
    return found


@pytest.fixture
def layertool(room: Path, who: Account) -> Iterator[Program]:
    made = program(who, room)
    yield made
    made.clean()


def test_chroot(room: Path, layertool: Program) -> None:
    done = layertool(
        "chroot", "-l", room / "base", "-l", room / "app", "--upper", room / "up", "--",
        "/bin/sh", "-c", "cat /data/file; echo new > /data/new; rm /data/app; hostname >&2; exit 5",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (5, "from the app\n"), done.stderr
    assert (room / "up/data/new").read_text() == "new\n"
    assert not (room / "up/data/app").is_file()
    assert (room / "app/data/app").read_text() == "app\n"
    assert sorted(entry.name for entry in (room / "up").iterdir()) == ["data"]
    assert not (room / "up.work").exists()


def test_later_layers_lie_on_top(room: Path, layertool: Program) -> None:
    done = layertool("chroot", "-l", room / "app", "-l", room / "base", "--", "cat", "/data/file")
    assert done.stdout == "from the image\n", done.stderr


def test_chroot_without_upper_is_read_only(room: Path, layertool: Program) -> None:
    done = layertool("chroot", "-l", room / "base", "--", "touch", "/x")
    assert done.returncode == 1
    assert "Read-only" in done.stderr


def test_chroot_hands_input_on(room: Path, layertool: Program) -> None:
    done = layertool("chroot", "-l", room / "base", "--", "cat", text="typed\n")
    assert done.stdout == "typed\n", done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["chroot", "-l", "missing", "--", "true"], 1, "missing: is not a layer directory"),
        (["chroot", "-l", "base", "--", "nothing"], 127, "nothing: not found"),
        (["chroot", "-l", "base", "--", "/etc/passwd"], 126, "/etc/passwd"),
        (["chroot", "-l", "base", "--work", "w", "--", "true"], 2, "--work"),
        (["chroot", "-l", "base", "--driver", "aufs", "--", "true"], 125, "aufs"),
        (["chroot"], 2, "chroot IMAGE"),
        (["chroot", "-l", "base"], 125, "no command"),
        (["chroot", "nothing", "--", "true"], 1, "no such image: nothing"),
        (["mount", "-l", "base", "missing"], 1, "missing: is not a directory"),
        (["mount", "-l", "base"], 2, "DIR"),
        (["mount", "-l", "base", "--rw", "at"], 2, "mount -l"),
        (["umount", "at"], 1, "at: nothing is mounted there"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_mistakes(
    room: Path, layertool: Program, arguments: list[str], status: int, message: str
) -> None:
    (room / "at").mkdir()
    done = layertool(*arguments, cwd=room)
    assert done.returncode == status, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.mounted
@pytest.mark.parametrize("driver", ["auto", "fuse"])
def test_mount_and_umount(room: Path, who: Account, layertool: Program, driver: str) -> None:
    at = _mountpoint(room, who)
    done = layertool(
        "mount", "-l", room / "base", "-l", room / "app", "--upper", room / "up",
        "--driver", driver, at,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (listed,) = _mounts(layertool, at)
    assert (listed["writable"], listed["health"]) == (True, "ok")
    assert "is mounted already" in layertool("mount", "-l", room / "base", at).stderr
    assert _as(who, "cat", str(at / "data/file")) == "from the app\n"
    _as(who, "touch", str(at / "data/new"))
    several = layertool("umount", room / "nothing", at)
    assert several.returncode == 1
    assert several.stderr == f"layertool: {room}/nothing: nothing is mounted there\n"
    assert (room / "up/data/new").exists()
    assert not (room / "up.work").exists()
    assert _mounts(layertool, at) == []
    assert list(at.iterdir()) == []


@pytest.mark.needs("root")
def test_mounts_of_others_are_left_alone(room: Path, layertool: Program) -> None:
    at = room / "other"
    at.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "other", str(at)], check=True)
    try:
        done = layertool("umount", "--lazy", at)
    finally:
        subprocess.run(["umount", str(at)], check=True)
    assert done.returncode == 1
    assert done.stderr == f"layertool: {at}: is no mount of layertool; use umount(8)\n"


@pytest.mark.mounted
def test_a_mount_in_use_stays(room: Path, who: Account, layertool: Program) -> None:
    at = _mountpoint(room, who)
    assert layertool("mount", "-l", room / "base", at).returncode == 0
    holder = subprocess.Popen([*who.prefix, "sh", "-c", f"cd {at} && echo in && exec sleep 60"],
                              stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert holder.stdout is not None and holder.stdout.readline() == "in\n"
    try:
        refused = layertool("umount", at)
        assert refused.returncode == 1
        assert "is in use" in refused.stderr
        assert layertool("umount", "--lazy", at).returncode == 0
    finally:
        holder.kill()
        holder.wait()


@pytest.mark.mounted
def test_a_mount_whose_daemon_died(room: Path, who: Account, layertool: Program) -> None:
    at = _mountpoint(room, who)
    assert layertool("mount", "--driver", "fuse", "-l", room / "base", at).returncode == 0
    os.kill(_daemon(at), signal.SIGKILL)
    deadline = time.monotonic() + 10
    while _mounts(layertool, at)[0]["health"] != "broken":
        assert time.monotonic() < deadline
    assert layertool("umount", at).returncode == 0
    assert _mounts(layertool, at) == []


def test_kernel_driver_is_explained_to_ordinary_users(
    room: Path, who: Account, layertool: Program
) -> None:
    at = _mountpoint(room, who)
    done = layertool("mount", "--driver", "kernel", "-l", room / "base", at)
    if who.is_root:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 1
        assert "--driver fuse" in done.stderr


def test_doctor(layertool: Program) -> None:
    done = layertool("doctor", "--json")
    assert done.returncode == 0, done.stderr
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert set(checks) >= {
        "kernel overlayfs", "fuse union", "union", "/dev/fuse", "fusermount3", "user namespaces",
        "subordinate ids", "bubblewrap", "cgroups",
    }  # fmt: skip
    assert all(check["ok"] or check["fix"] for check in checks.values())
    text = layertool("doctor").stdout
    assert text.count("\n") >= len(checks)


def _mountpoint(room: Path, who: Account) -> Path:
    at = room / "at"
    at.mkdir()
    os.chown(at, who.uid, who.gid)
    return at


def _mounts(layertool: Program, at: Path) -> list[dict[str, Any]]:
    """What is recorded for this mount point; root's records are the machine's."""
    return [each for each in layertool.json("mounts", "--json") if each["target"] == str(at)]


def _as(who: Account, *command: str) -> str:
    return subprocess.run(
        [*who.prefix, *command], capture_output=True, text=True, check=True, timeout=30
    ).stdout


def _daemon(at: Path) -> int:
    """The process that serves the mount: the one that names it on its command line."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"unionfs.cli" in words and os.fsencode(at) in words:
                return int(entry.name)
    raise AssertionError(f"nobody serves {at}")
