"""Each reason why FUSE does not work is told from the others, with what to run."""

import errno
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from unionfs.diagnose import Machine, explain_mount_failure, inspect_machine
from unionfs.options import MountOptions, parse_options

SOUND = Machine(device_mode=stat.S_IFCHR | 0o666)
USER = replace(SOUND, uid=1000, privileged=False)
FAILED = RuntimeError("fuse_session_mount failed")


def options(tmp_path: Path, text: str = "lowerdir=/l") -> MountOptions:
    return parse_options([text], mountpoint=bytes(tmp_path))


@pytest.mark.parametrize(
    ("machine", "text", "parts"),
    [
        (
            replace(SOUND, device_mode=None, device_error=errno.ENOENT, module=False),
            "",
            ("kernel module fuse is not loaded", "modprobe fuse"),
        ),
        (
            replace(SOUND, device_error=errno.ENODEV, module=False),
            "",
            ("kernel module fuse is not loaded", "modprobe fuse"),
        ),
        (
            replace(SOUND, device_mode=None, device_error=errno.ENOENT),
            "",
            ("/dev/fuse is absent", "mknod -m 666 /dev/fuse c 10 229", "--device /dev/fuse"),
        ),
        (
            replace(USER, device_mode=stat.S_IFCHR | 0o600, device_error=errno.EACCES),
            "",
            ("/dev/fuse has mode 0600, which keeps user 1000 out", "chmod 666 /dev/fuse"),
        ),
        (
            replace(SOUND, device_error=errno.EPERM),
            "",
            ("device rules of this container", "--device /dev/fuse"),
        ),
        (
            replace(SOUND, device_error=errno.EIO),
            "",
            ("/dev/fuse: Input/output error",),
        ),
        (replace(USER, helper=None), "", ("fusermount3", "apt-get install fuse3")),
        (
            replace(USER, helper_setuid=False),
            "",
            ("/usr/bin/fusermount3 is not setuid root", "chmod u+s /usr/bin/fusermount3"),
        ),
        (replace(USER, no_new_privileges=True), "", ("no_new_privs", "unshare -Urm")),
        (USER, ",allow_other", ("option allow_other", "user_allow_other in /etc/fuse.conf")),
        (USER, ",allow_root", ("option allow_root", "user_allow_other in /etc/fuse.conf")),
        (
            replace(SOUND, user_namespace=True),
            "",
            ("no power over its mount namespace", "unshare --user --map-root-user --mount"),
        ),
        (SOUND, "", ("a security policy forbids mount(2)", "--cap-add SYS_ADMIN")),
        (
            replace(USER, user_allow_other=True),
            ",allow_other",
            ("fuse_session_mount failed", "run again with -d"),
        ),
    ],
)
def test_names_the_reason_and_the_remedy(
    tmp_path: Path, machine: Machine, text: str, parts: tuple[str, ...]
) -> None:
    message = explain_mount_failure(FAILED, options(tmp_path, f"lowerdir=/l{text}"), machine)
    assert message.startswith(f"cannot mount on {tmp_path}: ")
    assert all(part in message for part in parts), message
    assert "\n" not in message


def test_an_errno_that_no_policy_gives_is_told_as_it_is(tmp_path: Path) -> None:
    error = OSError(errno.EINVAL, "Invalid argument")
    assert "Invalid argument; run again" in explain_mount_failure(error, options(tmp_path), SOUND)


def test_a_mountpoint_of_somebody_else(tmp_path: Path) -> None:
    there = replace(options(tmp_path), mountpoint=b"/proc/1")
    message = explain_mount_failure(FAILED, there, USER)
    assert "not writable by user 1000" in message


def test_inspects_this_machine_without_failing() -> None:
    machine = inspect_machine()
    assert machine.device == "/dev/fuse"
    assert (machine.device_mode is None) <= (machine.device_error is not None)


def test_inspects_what_the_files_say(tmp_path: Path) -> None:
    files = {
        "fuse.conf": "# user_allow_other\nuser_allow_other\n",
        "filesystems": "nodev\tsysfs\n\tfuseblk\nnodev\tfuse\n",
        "status": "Name:\tx\nCapEff:\t0000000000200000\nNoNewPrivs:\t1\n",
        "uid_map": "         0       1000          1\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    paths = [str(tmp_path / name) for name in ("device", *files)]
    machine = inspect_machine(*paths)
    assert (machine.device_error, machine.device_mode) == (errno.ENOENT, None)
    assert machine.user_allow_other
    assert machine.module
    assert machine.privileged
    assert machine.no_new_privileges
    assert machine.user_namespace


def test_comments_and_other_file_systems_do_not_count(tmp_path: Path) -> None:
    files = {
        "fuse.conf": "#user_allow_other\n",
        "filesystems": "\tfuseblk\nnodev\tfusectl\n",
        "status": "CapEff:\t0000000000000000\nNoNewPrivs:\t0\n",
        "uid_map": "         0          0 4294967295\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    paths = [str(tmp_path / name) for name in ("device", *files)]
    machine = inspect_machine(*paths)
    assert not machine.user_allow_other
    assert not machine.module
    assert not machine.privileged
    assert not machine.no_new_privileges
    assert not machine.user_namespace
