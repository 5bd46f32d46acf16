"""Paths inside a hostile root."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from layertool.errors import LayertoolError
from layertool.sandbox import inroot


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    for name in ("bin", "usr/bin", "opt", "srv"):
        (path / name).mkdir(parents=True)
    for name in ("bin/tool", "usr/bin/tool", "usr/bin/only"):
        (path / name).write_text("#!/bin/sh\n")
        (path / name).chmod(0o755)
    (path / "opt/plain").write_text("text")
    (path / "opt/plain").chmod(0o644)
    (tmp_path / "canary").mkdir()
    return path


@pytest.fixture
def root_fd(root: Path) -> Iterator[int]:
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(
    ("name", "search", "cwd", "found"),
    [
        ("tool", "/usr/bin:/bin", "/", "/usr/bin/tool"),
        ("tool", "/bin:/usr/bin", "/", "/bin/tool"),
        ("only", "/bin:/nowhere:/usr/bin", "/", "/usr/bin/only"),
        ("/bin/tool", "", "/", "/bin/tool"),
        ("./tool", "/usr/bin", "/bin", "/bin/./tool"),
        ("tool", ":/usr/bin", "/bin", "/bin/tool"),
    ],
)
def test_find_executable(root_fd: int, name: str, search: str, cwd: str, found: str) -> None:
    assert inroot.find_executable(root_fd, name, search, cwd) == found


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("nothing", 127),
        ("/bin/nothing", 127),
        ("/opt/plain/x", 127),
        ("", 127),
        ("/opt/plain", 126),
        ("/opt", 126),
        ("plain", 126),
    ],
)
def test_not_executable(root_fd: int, name: str, status: int) -> None:
    with pytest.raises(LayertoolError) as caught:
        inroot.find_executable(root_fd, name, "/bin:/opt", "/")
    assert caught.value.exit_code == status


@pytest.mark.parametrize(
    ("links", "path", "real"),
    [
        ({}, "/srv", "/srv"),
        ({}, "srv/new/deep", "/srv/new/deep"),
        ({}, "/../../srv", "/srv"),
        ({"work": "/srv"}, "/work/x", "/srv/x"),
        ({"work": "../../../canary"}, "/work", "/canary"),
        ({"work": "/usr/../srv"}, "/work", "/srv"),
    ],
)
def test_working_directory(
    root: Path, root_fd: int, links: dict[str, str], path: str, real: str
) -> None:
    for name, target in links.items():
        (root / name).symlink_to(target)
    if links and not (root / real.lstrip("/")).exists():
        # A link to nothing cannot be made into a directory, but above all: not outside.
        try:
            assert inroot.working_directory(root_fd, path) == real
        except LayertoolError as error:
            assert error.exit_code == 125
    else:
        assert inroot.working_directory(root_fd, path) == real
    assert list((root.parent / "canary").iterdir()) == []
    assert not (root.parent / "srv").exists()


@pytest.mark.parametrize(
    "path", ["/opt/plain", "/opt/plain/x", "/loop", "/magic/x", "/proc/self", "/sys/fs", "/dev/pts"]
)
def test_unusable_working_directory(root: Path, root_fd: int, path: str) -> None:
    (root / "loop").symlink_to("loop")
    (root / "magic").symlink_to("/proc/self/fd/0")
    with pytest.raises(LayertoolError) as caught:
        inroot.working_directory(root_fd, path)
    assert caught.value.exit_code == 125
    assert not {"proc", "sys", "dev"} & {entry.name for entry in root.iterdir()}
