"""Commits that others can repeat: the same changes make the same image."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from sandboxtest import BUSYBOX, account, busybox_root, require
from sandboxtest.images import docker_archive
from sandboxtest.program import Program, program

EPOCH = 1_700_000_000
CHANGES = "echo new > /new; mkdir /d; ln /new /d/link; rm /data/file; touch -d @1000 /d/old"


@pytest.fixture(params=["root", "single"])
def layertool(request: pytest.FixtureRequest, room: Path) -> Iterator[Program]:
    """A program that must make things reproducible; its store holds the image `box`."""
    require(BUSYBOX)
    who = account(request.param)
    if not who.is_root:
        require("userns")
    archive = docker_archive(room / "box.tar", "box", [busybox_root(room / "base")])
    made = dataclasses.replace(program(who, room), environment={"SOURCE_DATE_EPOCH": str(EPOCH)})
    made.ok("import", archive)
    yield made
    made.clean()


@pytest.mark.parametrize("flags", [(), ("--squash",)], ids=["layer", "squash"])
def test_the_same_changes_are_the_same_image(layertool: Program, flags: tuple[str, ...]) -> None:
    made = []
    for name in ("one", "two"):
        layertool.ok("run", "--name", name, "box", "sh", "-c", CHANGES)
        layertool.ok("commit", *flags, name, f"{name}-image")
        (found,) = layertool.json("inspect", f"{name}-image")
        made.append((found["Id"], found["Digest"]))
    assert made[0] == made[1]


def test_no_time_is_later_than_the_epoch(layertool: Program) -> None:
    layertool.ok("run", "--name", "work", "box", "sh", "-c", CHANGES)
    layertool.ok("commit", "work", "kept")
    (image,) = layertool.json("inspect", "kept")
    assert image["Created"] == layertool.json("history", "kept", "--json")[0]["created"]
    assert image["Created"] == "2023-11-14T22:13:20Z"
    shown = layertool.ok("run", "--rm", "kept", "stat", "-c", "%Y", "/new", "/d", "/d/old")
    assert shown.split() == [str(EPOCH), str(EPOCH), "1000"]


def test_a_bad_epoch_is_a_wrong_command_line(layertool: Program) -> None:
    layertool.ok("run", "--name", "work", "box", "true")
    bad = dataclasses.replace(layertool, environment={"SOURCE_DATE_EPOCH": "tomorrow"})
    done = bad("commit", "work", "kept")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "layertool: SOURCE_DATE_EPOCH tomorrow: must be seconds since 1970"
    ]
