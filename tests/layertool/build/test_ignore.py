"""`.dockerignore` rules: the published semantics, other builders' bugs, and properties."""

from __future__ import annotations

import fnmatch
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertool.build.ignore import Ignore, IgnoreError

# (rules, path, ignored)
CASES = [
    # anchoring: a pattern without a slash is about the context root only
    ("*.md", "README.md", True),
    ("*.md", "docs/README.md", False),
    ("*.pyc", "pkg/mod.pyc", False),
    ("**/*.pyc", "pkg/mod.pyc", True),
    ("**/*.pyc", "mod.pyc", True),
    ("node_modules", "node_modules/a/b.js", True),
    ("node_modules", "web/node_modules/a.js", False),
    ("**/node_modules", "web/node_modules/a.js", True),
    # leading and trailing slashes, cleaning
    ("/build", "build/x", True),
    ("build/", "build/x", True),
    ("build/", "build", True),
    ("./build", "build", True),
    ("a/../b", "b", True),
    ("a//b", "a/b", True),
    ("/", "a", False),
    # one level and any level
    ("*/temp*", "sub/temporary.txt", True),
    ("*/temp*", "temporary.txt", False),
    ("*/*/temp*", "a/b/temp", True),
    ("temp?", "tempa", True),
    ("temp?", "temp", False),
    ("*", "a", True),
    ("*", "a/b", True),
    ("**", "a/b/c", True),
    ("a/**", "a/b/c", True),
    ("a/**", "a", False),
    ("a**", "abc/d", True),
    ("a/**/z", "a/z", True),
    ("a/**/z", "a/b/c/z", True),
    ("a/**/z", "a/bz", False),
    ("**/z", "z", True),
    ("**/z", "az", False),
    # podman and buildah got `**.md` wrong (buildah #6417), docker-py still does
    ("**.md", "x.md", True),
    ("**.md", "a/x.md", True),
    ("**.md", "a/x.mdx", False),
    # classes and escapes
    ("[ab].txt", "a.txt", True),
    ("[^ab].txt", "a.txt", False),
    ("[a-c]x", "bx", True),
    (r"\#notes", "#notes", True),
    (r"a\*b", "a*b", True),
    (r"a\*b", "axb", False),
    # regular-expression characters are plain characters
    ("a.b", "axb", False),
    ("a+b", "aab", False),
    ("(x)", "(x)", True),
    ("a|b", "a", False),
    ("a$", "a$", True),
    ("{a}", "{a}", True),
    # comments only in the first column, blank lines and blanks around
    ("#x\n\n  y  ", "y", True),
    ("#x", "#x", False),
    # re-inclusion; the last match decides
    ("*\n!a", "a", False),
    ("*\n!a", "b", True),
    ("*\n!a/b", "a/b", False),
    ("*\n!a/b", "a/c", True),
    ("*\n!a/b", "a/b/c", False),
    ("a\n!a/b\na/b/c", "a/b/c", True),
    ("a\n!a/b\na/b/c", "a/b/d", False),
    ("!a\na", "a", True),
    ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", True),
    ("*.md\n!README*.md\nREADME-secret.md", "README-x.md", False),
    ("a/**\n!a/keep", "a/keep", False),
    ("a/**\n!a/keep", "a/other", True),
    ("a\n!a/**/keep", "a/b/c/keep", False),
    ("a\n! a/keep", "a/keep", False),
    ("*\n!**/*.go", "a/b/main.go", False),
    ("*\n!**/*.go", "a/b/main.c", True),
    ("*\n!/src/", "src/x", False),
    # buildah #2936, #1582: a `!` below an ignored directory; podman #7922: the file's own
    # directory named after an exclusion
    ("**/target\n!app/target/app.jar", "app/target/app.jar", False),
    ("**/target\n!app/target/app.jar", "app/target/other.jar", True),
    ("**/target\n!app/target/app.jar", "lib/target/app.jar", True),
    # buildah #2237, podman #11040: everything but one directory
    ("*\n!dist\n!package.json", "dist/deep/er/x", False),
    ("*\n!dist\n!package.json", "package.json", False),
    ("*\n!dist\n!package.json", "src/package.json", True),
    ("**/.git", ".git/config", True),
    ("**/.git", "sub/.git/config", True),
    ("**/.git", ".gitignore", False),
    ("foo/*/bar", "foo/x/bar/y", True),
    ("foo/*", "foo/x/y", True),
    ("foo/*\n!foo/x", "foo/x/y", False),
    ("..", "a", False),
    ("../a", "a", False),
]


@pytest.mark.parametrize(("rules", "path", "ignored"), CASES)
def test_verdict(rules: str, path: str, ignored: bool) -> None:
    assert Ignore.parse(rules.encode(), "f").verdict(path).ignored is ignored


def test_the_deciding_rule_is_named_with_its_line() -> None:
    ignore = Ignore.parse(b"# all\n*\n!src\nsrc/tmp\n", ".dockerignore")
    deciders = {path: ignore.verdict(path).rule for path in ("x", "src/a", "src/tmp/b")}
    shown = {path: (rule.line, str(rule)) for path, rule in deciders.items() if rule}
    assert shown == {"x": (2, "*"), "src/a": (3, "!src"), "src/tmp/b": (4, "src/tmp")}
    assert Ignore.parse(b"a", "f").verdict("b").rule is None


@pytest.mark.parametrize(
    ("rules", "line"), [("a\n[", 2), ("!", 1), ("a\nb\n!  ", 3), ("x\\", 1), ("[z-a]", 1)]
)
def test_malformed_patterns_name_their_line(rules: str, line: int) -> None:
    with pytest.raises(IgnoreError, match=f"^f:{line}: "):
        Ignore.parse(rules.encode(), "f")


def test_bom_and_crlf() -> None:
    ignore = Ignore.parse(b"\xef\xbb\xbfa\r\nb\r\n", "f")
    assert ignore.verdict("a").ignored
    assert ignore.verdict("b").ignored


def test_names_that_are_not_utf8() -> None:
    ignore = Ignore.parse(b"caf\xe9\n", "f")
    assert ignore.verdict(b"caf\xe9".decode("utf-8", "surrogateescape")).ignored


@pytest.mark.parametrize(
    ("rules", "directory", "skip"),
    [
        ("a", "a", True),
        ("a\n!a/b", "a", False),
        ("a\n!a/b", "a/c", True),
        ("a\nx\n!b", "a", True),
        ("a\n!**/b", "a", False),
        ("a\n!a*", "a", False),
        ("a\n!a/b/**", "a/b", False),
        ("a\n!ab", "a", True),
    ],
)
def test_ignored_directories_are_skipped_when_nothing_comes_back(
    rules: str, directory: str, skip: bool
) -> None:
    assert Ignore.parse(rules.encode(), "f").can_skip(directory) is skip


part = st.text("ab.", min_size=1, max_size=3).filter(lambda text: text.strip("."))
path = st.lists(part, min_size=1, max_size=4).map("/".join)
pattern_part = st.one_of(part, st.sampled_from(["*", "?", "**", "a*", "*b", "[ab]"]))
pattern = st.lists(pattern_part, min_size=1, max_size=3).map("/".join)
line = st.tuples(st.booleans(), pattern).map(lambda pair: ("!" if pair[0] else "") + pair[1])


def slow_match(pattern: str, path: str) -> bool:
    """`**` rules by recursion over parts, written apart from the regular expressions."""

    def parts(pats: list[str], names: list[str]) -> bool:
        if not pats:
            return not names
        if pats[0] == "**":
            if len(pats) == 1:
                return bool(names)
            return any(parts(pats[1:], names[cut:]) for cut in range(len(names) + 1))
        return bool(names) and fnmatch.fnmatchcase(names[0], pats[0]) and parts(pats[1:], names[1:])

    return parts(pattern.split("/"), path.split("/"))


@given(st.lists(line, max_size=5), path)
def test_against_a_slow_model(lines: list[str], path: str) -> None:
    """The last rule that fits the path or one of its parents decides."""
    names = path.split("/")
    parents = ["/".join(names[:end]) for end in range(1, len(names) + 1)]
    ignored = False
    for text in lines:
        rule = text.removeprefix("!")
        if any(slow_match(rule, parent) for parent in parents):
            ignored = not text.startswith("!")
    assert Ignore.parse("\n".join(lines).encode(), "f").verdict(path).ignored is ignored


@given(st.lists(line, max_size=5), path)
def test_a_walk_that_skips_sees_what_a_full_walk_sees(lines: list[str], path: str) -> None:
    ignore = Ignore.parse("\n".join(lines).encode(), "f")
    names = path.split("/")
    for end in range(1, len(names)):
        directory = "/".join(names[:end])
        if ignore.verdict(directory).ignored and ignore.can_skip(directory):
            assert ignore.verdict(path).ignored


@given(st.text(max_size=30).filter(lambda text: not re.search(r"[\0]", text)))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        Ignore.parse(text.encode("utf-8", "surrogatepass"), "f").verdict("a/b")
    except IgnoreError as error:
        assert str(error).startswith("f:")
