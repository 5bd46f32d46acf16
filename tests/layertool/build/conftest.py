"""A bench to build on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from buildtest import Bench


@pytest.fixture(scope="session")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the image `base`, made once a session."""
    root = tmp_path_factory.mktemp("build-store")
    context = tmp_path_factory.mktemp("base-context")
    Bench(root, context).make_base()
    return root


@pytest.fixture
def bench(shared_store: Path, tmp_path: Path) -> Iterator[Bench]:
    """The shared store, which tests add to, and a context of the test's own."""
    context = tmp_path / "context"
    context.mkdir()
    made = Bench(shared_store, context)
    yield made
    assert made.leftovers() == []


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Bench]:
    """An empty store of the test's own; deleted at once, as stores are large."""
    context = tmp_path / "context"
    context.mkdir()
    made = Bench(tmp_path / "store", context)
    yield made
    assert made.leftovers() == []
    shutil.rmtree(tmp_path / "store", ignore_errors=True)
