"""Go's filepath.Match, path.Clean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertool.build.gopath import BadPattern, clean, has_wildcards, inside, match

MATCHES = [
    ("abc", "abc", True),
    ("*", "abc", True),
    ("*c", "abc", True),
    ("a*", "a", True),
    ("a*", "ab/c", False),
    ("a*/b", "abc/b", True),
    ("a*/b", "a/c/b", False),
    ("a*b*c*d*e*/f", "axbxcxdxe/f", True),
    ("a*b?c*x", "abxbbxdbxebxczzx", True),
    ("a*b?c*x", "abxbbxdbxebxczzy", False),
    ("ab[c]", "abc", True),
    ("ab[b-d]", "abc", True),
    ("ab[e-g]", "abc", False),
    ("ab[^c]", "abc", False),
    ("ab[^b-d]", "abc", False),
    ("ab[^e-g]", "abc", True),
    ("[!a]", "a", True),  # no negation with ! in Go
    (r"a\*b", "a*b", True),
    (r"a\*b", "ab", False),
    ("a?b", "a☺b", True),
    ("a[^a]b", "a☺b", True),
    ("a?b", "a/b", False),
    ("a[^x]b", "a/b", False),
    ("a*b", "a/b", False),
    (r"[\]a]", "]", True),
    (r"[\-]", "-", True),
    (r"[x\-]", "x", True),
    (r"[x\-]", "z", False),
    ("*x", "xxx", True),
    ("**", "a/b", False),
    ("", "", True),
    (".*", ".git", True),
]


@pytest.mark.parametrize(("pattern", "name", "expected"), MATCHES)
def test_match(pattern: str, name: str, expected: bool) -> None:
    assert match(pattern, name) is expected


@pytest.mark.parametrize(
    "pattern", ["[", "[^", "[^bc", "a[", "[-]", "[x-]", "[-x]", "[]a]", "\\", "[a-b-c]", "[b-a]"]
)
def test_bad_patterns(pattern: str) -> None:
    with pytest.raises(BadPattern):
        match(pattern, "a")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", "."),
        ("a//b/./c/", "a/b/c"),
        ("a/../b", "b"),
        ("../a", "../a"),
        ("//a", "/a"),
        ("/../a", "/a"),
    ],
)
def test_clean(path: str, expected: str) -> None:
    assert clean(path) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [("../../etc", "etc"), ("/a/b/", "a/b"), (".", ""), ("/", ""), ("a/../..", "")],
)
def test_inside_never_leaves(path: str, expected: str) -> None:
    assert inside(path) == expected


@given(st.text("ab/.*", max_size=20))
def test_inside_has_no_dot_parts(path: str) -> None:
    assert not {"..", ".", ""} & set(inside(path).split("/")) or inside(path) == ""


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("a*", True), (r"a\*", False), ("[a]", True), ("a?", True), ("a", False)],
)
def test_has_wildcards(pattern: str, expected: bool) -> None:
    assert has_wildcards(pattern) is expected
