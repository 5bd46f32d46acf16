"""Twins for the tests of real work."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from fstest import layers
from fstest.drivers import Mounted
from fstest.twins import Twins


@pytest.fixture
def make_twins(mount: Callable[..., Mounted], tmp_path: Path) -> Callable[..., Twins]:
    """Twins that start from a table of lower entries, or from layer directories made already."""

    def make(*lowers: layers.Table | Path, options: Sequence[str] = ()) -> Twins:
        paths: list[Path] = []
        for number, lower in enumerate(lowers):
            path = lower if isinstance(lower, Path) else tmp_path / "layers" / str(number)
            if not isinstance(lower, Path):
                layers.build(path, lower)
            paths.append(path)
        mounted = mount(paths, options=options)
        plain = tmp_path / "plain"
        subprocess.run(["cp", "-a", f"{mounted.point}/.", str(plain)], check=True, timeout=300)
        return Twins(plain, mounted)

    return make
