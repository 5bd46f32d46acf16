"""Faults on purpose: the grammar of the rules, and that a mount does what they say."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fstest import layers
from fstest.drivers import Mounted
from hypothesis import given
from hypothesis import strategies as st

from unionfs.errors import UnionError
from unionfs.faults import KINDS, Faults, Rule, install, parse_rules
from unionfs.options import parse_options

Make = Callable[[str, layers.Table], Path]
Mount = Callable[..., Mounted]

ACTIONS = ("EIO", "ENOSPC", "kill-before", "kill-after", "delay=50ms", "delay=1s", "delay=7us")


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("rename:1:EIO", (Rule("rename", 1, "EIO"),)),
        (
            "renameat2:3:EIO+fsync:1:kill-before+write:*:delay=50ms",
            (
                Rule("rename", 3, "EIO"),
                Rule("fsync", 1, "kill-before"),
                Rule("write", None, "delay=50ms"),
            ),
        ),
        ("*:12:kill-after", (Rule(None, 12, "kill-after"),)),
        ("fdatasync:*:ENOSPC", (Rule("fsync", None, "ENOSPC"),)),
    ],
)
def test_what_rules_mean(text: str, rules: tuple[Rule, ...]) -> None:
    assert parse_rules(text) == rules


@given(
    st.lists(
        st.builds(
            Rule,
            st.none() | st.sampled_from(tuple(KINDS)),
            st.none() | st.integers(1, 999_999_999),
            st.sampled_from(ACTIONS),
        ),
        min_size=1,
    )
)
def test_written_rules_read_back_as_the_same(rules: list[Rule]) -> None:
    assert parse_rules("+".join(map(str, rules))) == tuple(rules)


@pytest.mark.parametrize(
    "text",
    [
        "", "+", "rename", "rename:1", "rename:1:EIO:2", "rename:1:EIO+", "getdents:1:EIO",
        "rename:0:EIO", "rename:-1:EIO", "rename:x:EIO", "rename:1:EWHAT", "rename:1:5",
        "rename:1:delay", "rename:1:delay=5", "rename:1:delay=-5ms", "rename:1:kill", "Rename:1:EIO",
    ],
)  # fmt: skip
def test_nonsense_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UnionError) as caught:
        parse_options([f"lowerdir=/l,upperdir=/u,workdir=/w,faults={text}"], mountpoint="/m")
    assert str(caught.value).startswith(f"option faults={text}: expected ")
    assert "\n" not in str(caught.value)


def test_there_must_be_something_that_can_fail() -> None:
    with pytest.raises(UnionError, match="give upperdir= and workdir="):
        install(parse_rules("rename:1:EIO"), None)


def test_each_rule_counts_its_own_kind(tmp_path: Path) -> None:
    faulty = Faults(parse_rules("mkdir:2:EIO+*:4:ENOSPC"), (bytes(tmp_path),)).replacement()
    outcomes = []
    for call, name in (("mkdir", "a"), ("symlink", "s"), ("mkdir", "b"), ("mkdir", "c")):
        arguments = (name, tmp_path / name) if call == "symlink" else (tmp_path / name,)
        try:
            getattr(faulty, call)(*arguments)
            outcomes.append("")
        except OSError as error:
            outcomes.append(errno.errorcode[error.errno or 0])
    assert outcomes == ["", "", "EIO", "ENOSPC"]
    assert sorted(os.listdir(tmp_path)) == ["a", "s"]


def test_what_lies_elsewhere_is_not_counted(tmp_path: Path) -> None:
    for name in ("upper", "lower"):
        (tmp_path / name).mkdir()
    faulty = Faults(parse_rules("open:*:EMFILE"), (bytes(tmp_path / "upper"),)).replacement()
    lower, upper = (os.open(tmp_path / name, os.O_RDONLY) for name in ("lower", "upper"))
    try:
        os.close(faulty.open("f", os.O_CREAT, dir_fd=lower))
        with pytest.raises(OSError) as caught:
            faulty.open("f", os.O_CREAT, dir_fd=upper)
        assert caught.value.errno == errno.EMFILE
    finally:
        os.close(lower)
        os.close(upper)


@pytest.mark.mounted
@pytest.mark.needs("root")
def test_a_call_fails_and_the_mount_lives_on(make_layer: Make, mount: Mount) -> None:
    point = mount([make_layer("base", {"f": "x"})], options=["faults=symlink:2:EDQUOT"]).point
    os.symlink("t", point / "one")
    with pytest.raises(OSError) as caught:
        os.symlink("t", point / "two")
    assert caught.value.errno == errno.EDQUOT
    os.symlink("t", point / "two")
    assert sorted(os.listdir(point)) == ["f", "one", "two"]


@pytest.mark.mounted
@pytest.mark.needs("root")
def test_a_call_is_delayed(make_layer: Make, mount: Mount) -> None:
    point = mount([make_layer("base", {})], options=["faults=mkdir:*:delay=80ms"]).point
    began = time.monotonic()
    (point / "d").mkdir()
    assert time.monotonic() - began >= 0.08


@pytest.mark.mounted
@pytest.mark.needs("root")
@pytest.mark.parametrize(("when", "made"), [("before", []), ("after", ["d"])])
def test_the_daemon_is_killed(
    make_layer: Make, mount: Mount, tmp_path: Path, when: str, made: list[str]
) -> None:
    upper = tmp_path / "up"
    mounted = mount([make_layer("base", {})], upper=upper, options=[f"faults=mkdir:1:kill-{when}"])
    with pytest.raises(OSError):
        (mounted.point / "d").mkdir()
    with pytest.raises(OSError) as caught:
        os.statvfs(mounted.point)
    assert caught.value.errno == errno.ENOTCONN
    assert os.listdir(upper) == made
