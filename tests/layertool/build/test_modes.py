"""--chmod, checked against chmod(1)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from layertool.build.modes import parse_chmod


@pytest.mark.parametrize(
    ("text", "old", "directory", "new"),
    [
        ("644", 0o777, False, 0o644),
        ("0755", 0o600, False, 0o755),
        ("4755", 0o600, False, 0o4755),
        ("u+x", 0o644, False, 0o744),
        ("go-w", 0o666, False, 0o644),
        ("a=r", 0o777, False, 0o444),
        ("+x", 0o644, False, 0o755),
        ("u=rwX,go=rX", 0o600, False, 0o644),
        ("u=rwX,go=rX", 0o700, True, 0o755),
        ("u=rwX,go=rX", 0o744, False, 0o755),
        ("g=u", 0o750, False, 0o770),
        ("u+s", 0o755, False, 0o4755),
        ("+t", 0o777, True, 0o1777),
        ("u-x+w", 0o555, False, 0o655),
    ],
)
def test_modes(text: str, old: int, directory: bool, new: int) -> None:
    assert parse_chmod(text)(old, directory) == new


@pytest.mark.parametrize("text", ["", "99", "77777", "u", "u*x", "rwx", "u+q", "u+x,", "a b"])
def test_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_chmod(text)


clause = st.tuples(
    st.sampled_from(["u", "g", "o", "a", "ug", "go"]),
    st.sampled_from("+-="),
    st.sampled_from(["", "r", "w", "x", "X", "rw", "rwx", "rX", "u", "g", "o"]),
).map("".join)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(clause, min_size=1, max_size=3).map(",".join), st.integers(0, 0o777), st.booleans())
def test_like_chmod(tmp_path: Path, text: str, old: int, directory: bool) -> None:
    target = tmp_path / ("d" if directory else "f")
    if directory:
        target.mkdir(exist_ok=True)
    else:
        target.touch()
    target.chmod(old)
    subprocess.run(["chmod", "--", text, str(target)], check=True, timeout=10)
    assert parse_chmod(text)(old, directory) == target.stat().st_mode & 0o7777
