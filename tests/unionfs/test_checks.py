"""Directories that cannot make a mount are refused in one line, and nothing is created."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from unionfs.checks import check
from unionfs.errors import UnionError
from unionfs.options import parse_options

NOBODY = 65534


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory, the current one, with low, base, up, work and mnt."""
    for name in ("low", "base", "up", "work", "mnt"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def listing(top: Path) -> list[str]:
    return sorted(str(path.relative_to(top)) for path in top.rglob("*"))


def check_text(text: str, mountpoint: str = "mnt") -> None:
    check(parse_options([text], mountpoint=mountpoint, strict=True))


def refusal(text: str, mountpoint: str = "mnt") -> str:
    with pytest.raises(UnionError) as refused:
        check_text(text, mountpoint)
    message = str(refused.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "text",
    [
        "lowerdir=low:base,upperdir=up,workdir=work",
        "lowerdir=low:base",
        "lowerdir=low",
        "lowerdir=low:low",
        "lowerdir=low::base",
        "lowerdir=.:low",
        "lowerdir=.,upperdir=up,workdir=work",
        "lowerdir=mnt:low,upperdir=up,workdir=work",
        "lowerdir=low,upperdir=mnt,workdir=work",
        "lowerdir=low,upperdir=up,workdir=work,ro",
        "lowerdir=low,upperdir=up,ro",
    ],
)
def test_sound_stacks_pass(stack: Path, text: str) -> None:
    before = listing(stack)
    check_text(text)
    assert listing(stack) == before


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("lowerdir=low:gone", ("lowerdir", "/gone: no such directory; create it (mkdir -p ")),
        ("lowerdir=low::gone", ("data-only lowerdir", "/gone: no such directory")),
        ("lowerdir=file", ("/file: not a directory; lowerdir must name one",)),
        ("lowerdir=loop", ("/loop: a loop of symbolic links",)),
        ("lowerdir=low,upperdir=gone,workdir=work", ("upperdir", "/gone: no such directory")),
        ("lowerdir=low,upperdir=file,workdir=work", ("/file: not a directory; upperdir must",)),
        ("lowerdir=low,upperdir=up", ("/up has no workdir", "for example workdir=", "/work")),
        ("lowerdir=low,upperdir=up,workdir=gone", ("workdir", "/gone: no such directory")),
        ("lowerdir=low,upperdir=up,workdir=file", ("/file: not a directory; workdir must",)),
        ("lowerdir=low,upperdir=up,workdir=up", ("/up is the same directory as upperdir",)),
        ("lowerdir=low,upperdir=up,workdir=up/in", ("/up/in overlaps upperdir", "/up;")),
        ("lowerdir=low,upperdir=up/in,workdir=up", ("/up overlaps upperdir", "/up/in;")),
        ("lowerdir=up,upperdir=up,workdir=work", ("/up is the same directory as upperdir",)),
        ("lowerdir=alias,upperdir=up,workdir=work", ("/alias is the same directory as upperdir",)),
        ("lowerdir=up/in,upperdir=up,workdir=work", ("/up/in lies inside upperdir",)),
        ("lowerdir=work,upperdir=up,workdir=work", ("/work is the same directory as workdir",)),
        ("lowerdir=mnt/in", ("/mnt/in lies below the mountpoint", "mount elsewhere")),
        ("lowerdir=low,upperdir=mnt/in,workdir=work", ("upperdir", "lies below the mountpoint")),
        ("lowerdir=low,upperdir=up,workdir=mnt/in", ("workdir", "lies below the mountpoint")),
    ],
)
def test_unusable_stacks_are_refused(stack: Path, text: str, parts: tuple[str, ...]) -> None:
    for name in ("up", "mnt"):
        (stack / name / "in").mkdir()
    (stack / "file").touch()
    (stack / "loop").symlink_to("loop")
    (stack / "alias").symlink_to("up")
    before = listing(stack)
    message = refusal(text)
    assert all(part in message for part in parts), message
    assert listing(stack) == before


@pytest.mark.parametrize(
    ("mountpoint", "part"),
    [("gone", "no such directory; create it"), ("file", "not a directory; mountpoint must")],
)
def test_unusable_mountpoints_are_refused(stack: Path, mountpoint: str, part: str) -> None:
    (stack / "file").touch()
    message = refusal("lowerdir=low", mountpoint)
    assert message.startswith(f"mountpoint {stack}/{mountpoint}: {part}")
    assert not (stack / "gone").exists()


def test_a_name_that_would_break_the_line_is_escaped(stack: Path) -> None:
    assert r"/a\nb\x1b: no such directory" in refusal("lowerdir=a\nb\x1b")


def test_a_thousand_layers_pass(stack: Path) -> None:
    for number in range(1000):
        (stack / f"{number}").mkdir()
    check_text("lowerdir=" + ":".join(map(str, range(1000))))


@pytest.fixture
def other_mount(stack: Path) -> Iterator[Path]:
    """A tmpfs, gone after the test."""
    place = stack / "other"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True, timeout=30)
    yield place
    subprocess.run(["umount", "-l", place], check=True, timeout=30)


@pytest.mark.needs("root")
def test_a_workdir_on_another_file_system_is_refused(stack: Path, other_mount: Path) -> None:
    message = refusal("lowerdir=low,upperdir=up,workdir=other")
    assert "/other is on another file system than upperdir" in message


@pytest.mark.needs("root")
def test_a_workdir_through_another_mount_of_the_same_fs_is_refused(
    stack: Path, other_mount: Path
) -> None:
    for name in ("up", "work"):
        (other_mount / name).mkdir()
    subprocess.run(["mount", "--bind", other_mount / "work", "work"], check=True, timeout=30)
    try:
        message = refusal("lowerdir=low,upperdir=other/up,workdir=work")
    finally:
        subprocess.run(["umount", "work"], check=True, timeout=30)
    assert "/work is on another mount than upperdir" in message


@pytest.mark.needs("root")
def test_an_upper_on_a_read_only_file_system_is_refused(stack: Path, other_mount: Path) -> None:
    for name in ("up", "work"):
        (other_mount / name).mkdir()
    subprocess.run(["mount", "-o", "remount,ro", other_mount], check=True, timeout=30)
    rest = "upperdir=other/up,workdir=other/work"
    assert "is on a read-only file system" in refusal(f"lowerdir=low,{rest}")
    check_text(f"lowerdir=low,{rest},ro")


@pytest.mark.needs("root")
@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("lowerdir=closed", "/closed: permission denied; give this user read and search"),
        ("lowerdir=closed/in", "/closed/in: permission denied; give this user search permission"),
        ("lowerdir=low,upperdir=up,workdir=work", "/up is not writable by this user"),
    ],
)
def test_what_the_user_may_not_use_is_refused(text: str, part: str) -> None:
    # Not in tmp_path, into which pytest lets nobody but its own user.
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        stack = Path(name)
        stack.chmod(0o755)
        for directory in ("low", "up", "work", "mnt", "closed", "closed/in"):
            (stack / directory).mkdir()
        (stack / "closed").chmod(0o700)
        assert part in _as_nobody(text, stack)


def _as_nobody(text: str, stack: Path) -> str:
    """The refusal that an unprivileged user gets; in a child, since ids cannot be taken back."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        try:
            check(parse_options([text], mountpoint="mnt", cwd=bytes(stack)))
        except BaseException as error:
            os.write(write, str(error).encode())
        sys.stdout.flush()
        os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    with os.fdopen(read) as pipe:
        return pipe.read()
