"""What is different for ordinary users; that the rest is not, test_build.py shows for all."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from buildtest import KINDS, Bench

pytestmark = pytest.mark.parametrize(
    "home", [kind for kind in KINDS if kind == "single"], indirect=True
)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("USER app\nRUN true\n", "user 1000:1000 has no number in this user namespace"),
        ("RUN touch /f && chown app /f\n", "exit status 1 (this build has one id"),
    ],
)
def test_what_one_id_cannot_do_is_said(bench: Bench, steps: str, message: str) -> None:
    done = bench.build("FROM base\n" + steps)
    last = done.err.splitlines()[-1]
    assert done.status == 1
    assert message in last
    assert "/etc/subuid" in last
    other = bench.build("FROM base\nRUN echo failed; false\n")
    assert "one id" not in other.err


def test_owners_reach_the_image_with_one_id(bench: Bench) -> None:
    """chown is not possible there, but the layer says whose the file is."""
    bench.write("a", "a")
    done = bench.build("FROM base\nCOPY --chown=app:extra a /owned\n", "-t", "owned")
    assert done.status == 0, done.err
    assert ("owned", 1000, 2000) in owners(bench.root / "blobs/sha256")


def owners(blobs: Path) -> set[tuple[str, int, int]]:
    """(path, uid, gid) of every file in every layer."""
    found: set[tuple[str, int, int]] = set()
    for blob in blobs.iterdir():
        if not blob.read_bytes().startswith(b"\x1f\x8b"):
            continue  # a manifest or config
        with tarfile.open(blob, "r:gz") as layer:
            found |= {(item.name, item.uid, item.gid) for item in layer}
    return found
