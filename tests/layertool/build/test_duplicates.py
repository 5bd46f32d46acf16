"""Files stored again for nothing but their attributes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from layertool.build.duplicates import find_duplicates


@pytest.fixture
def layers(tmp_path: Path) -> tuple[Path, list[Path]]:
    """(upper, lowers top first): /opt/big is in the lowest, /opt/top in the one above."""
    upper, top, low = (tmp_path / name for name in ("upper", "top", "low"))
    for layer in (upper, top, low):
        (layer / "opt").mkdir(parents=True)
    (low / "opt/big").write_bytes(b"x" * 3000)
    (low / "opt/top").write_bytes(b"hidden!")
    (top / "opt/top").write_bytes(b"visible")
    return upper, [top, low]


def write(upper: Path, name: str, content: bytes, mode: int = 0o644) -> None:
    path = upper / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def test_a_chmod_is_found(layers: tuple[Path, list[Path]]) -> None:
    upper, lowers = layers
    write(upper, "opt/big", b"x" * 3000, 0o600)
    write(upper, "opt/new", b"x" * 3000)
    found = find_duplicates(upper, lowers, threshold=1)
    assert found is not None
    assert (found.files, found.size, found.example) == (1, 3000, "opt/big")
    assert (found.owner_changed, found.mode_changed) == (False, True)
    assert "3 kB stored again" in found.describe()
    assert "only the mode of 1 file (/opt/big)" in found.describe()


@pytest.mark.needs("root")
def test_a_chown_is_found(layers: tuple[Path, list[Path]]) -> None:
    upper, lowers = layers
    write(upper, "opt/big", b"x" * 3000)
    os.chown(upper / "opt/big", 1, 1)
    found = find_duplicates(upper, lowers, threshold=1)
    assert found is not None
    assert found.owner_changed


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("opt/big", b"y" * 3000),
        ("opt/big", b"x" * 2999),
        ("opt/top", b"hidden!"),
        ("other/big", b"x" * 3000),
        ("opt/big/below", b"x" * 3000),
    ],
)
def test_real_changes_are_none(layers: tuple[Path, list[Path]], name: str, content: bytes) -> None:
    upper, lowers = layers
    write(upper, name, content)
    assert find_duplicates(upper, lowers, threshold=1) is None


def test_what_is_visible_counts(layers: tuple[Path, list[Path]]) -> None:
    upper, lowers = layers
    write(upper, "opt/top", b"visible", 0o600)
    assert find_duplicates(upper, lowers, threshold=1) is not None


def test_little_is_not_worth_a_word(layers: tuple[Path, list[Path]]) -> None:
    upper, lowers = layers
    write(upper, "opt/big", b"x" * 3000, 0o600)
    assert find_duplicates(upper, lowers) is None
    assert find_duplicates(upper, [], threshold=1) is None


def test_a_link_in_a_lower_is_not_followed(layers: tuple[Path, list[Path]], tmp_path: Path) -> None:
    upper, lowers = layers
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/f").write_bytes(b"x" * 100)
    (lowers[0] / "trap").symlink_to(tmp_path / "outside")
    write(upper, "trap/f", b"x" * 100, 0o600)
    assert find_duplicates(upper, lowers, threshold=1) is None
