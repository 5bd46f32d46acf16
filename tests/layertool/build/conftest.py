"""A bench to build on, as root and as ordinary users."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from buildtest import KINDS, Bench
from buildtest.home import Home, remove
from sandboxtest import account, require

_NEEDS = {"root": ("root", "overlay"), "single": ("userns",), "ranges": ("userns",)}


@pytest.fixture(scope="session", params=KINDS)
def home(request: pytest.FixtureRequest) -> Iterator[Home]:
    """Of root, of a user with one id, of one with ranges of ids; each made once a session."""
    for need in ("bwrap", *_NEEDS[request.param]):
        require(need)
    who = account(request.param)
    # pytest's own temporary directories are closed to other users.
    path = Path(tempfile.mkdtemp(prefix="layertool-build-", dir="/var/tmp"))
    os.chown(path, who.uid, who.gid)
    try:
        made = Home(who, path)
        made.bench(made.store).make_base()
        yield made
    finally:
        remove(path)


@pytest.fixture
def bench(home: Home) -> Iterator[Bench]:
    """The shared store, which tests add to, and a context of the test's own."""
    made = home.bench(home.store)
    yield made
    assert made.leftovers() == []
    remove(made.room)


@pytest.fixture
def fresh(home: Home) -> Iterator[Bench]:
    """An empty store of the test's own; deleted at once, as stores are large."""
    made = home.bench()
    yield made
    assert made.leftovers() == []
    remove(made.room)
