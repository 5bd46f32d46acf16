"""Outside namespaces nothing overrides modes: what its owner may not write must still go up."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from fstest import layers
from fstest.drivers import Mounted

pytestmark = [pytest.mark.mounted, pytest.mark.needs("unprivileged")]

Make = Callable[[str, layers.Table], Path]


def test_unwritable_files_and_directories(mount: Callable[..., Mounted], make_layer: Make) -> None:
    base = make_layer(
        "base",
        {
            "f": layers.File("a", mode=0o444),
            "k": layers.File("k", mode=0o444),
            "g/x": "x",
            "ro/f": layers.File("y", mode=0o400),
            "ro": layers.Directory(mode=0o555),
        },
    )
    m = mount([base])
    (m / "f").chmod(0o640)
    os.utime(m / "k")
    os.link(m / "k", m / "kl")
    (m / "k").rename(m / "k2")
    (m / "ro").chmod(0o500)
    (m / "ro").rename(m / "moved")
    (m / "g/x").unlink()
    (m / "g").rmdir()
    os.mkdir(m / "g", 0o555)
    m.remount()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in m.point.iterdir()}
    assert modes == {"f": 0o640, "k2": 0o444, "kl": 0o444, "moved": 0o500, "g": 0o555}
    assert (m / "moved/f").read_text() == "y"
    assert os.listdir(m / "g") == []
    (m / "moved").chmod(0o700)  # so that the layers can be cleaned up
    base.joinpath("ro").chmod(0o700)
