"""FROM and COPY --from find what is not in the store in a registry, on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from buildtest import Bench
from registrytest.debian import RunningRegistry, registry_program, running_registry


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    program = registry_program()
    if isinstance(program, str):
        pytest.skip(program)
    with running_registry(program, tmp_path / "registry") as running:
        yield running


def test_base_and_copy_source_are_pulled(
    bench: Bench, fresh: Bench, registry: RunningRegistry
) -> None:
    name = f"{registry.domain}/team/base:1"
    pushed = bench.layertool("push", "base", name)
    assert pushed.status == 0, pushed.err

    text = f"FROM {name}\nCOPY --from={name} /etc/passwd /p\nRUN grep -q app /p\n"
    done = fresh.build(text)
    assert done.status == 0, done.err
    assert done.err.count(f"pulling {name}") == 1
    again = fresh.build(text)
    assert again.image == done.image
    assert "pulling" not in again.err


def test_an_image_that_nobody_has(bench: Bench, registry: RunningRegistry) -> None:
    name = f"{registry.domain}/nobody/has:1"
    done = bench.build(f"FROM {name}\nRUN true\n")
    assert done.status == 1
    last = done.err.splitlines()[-1]
    assert last.startswith("layertool: Dockerfile:1: ")
    assert "nobody/has" in last
