"""Variable expansion, as a table and as properties."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertool.build.expand import MAX_DEPTH, ExpandError, Lexer

ENV = {
    "A": "one",
    "EMPTY": "",
    "PATH_": "/usr/local/lib",
    "FILE": "archive.tar.gz",
    "SPACED": "a  b",
    "UNICODÉ": "x",
    "STAR": "a*b",
}

WORDS = [
    ("plain", "plain"),
    ("$A", "one"),
    ("${A}", "one"),
    ("x${A}y", "xoney"),
    ("$Ax", ""),
    ("$A-x", "one-x"),
    ("$NONE", ""),
    ("$", "$"),
    ("a$", "a$"),
    ("$ x", "$ x"),
    ("$1x", "x"),
    (r"\$A", "$A"),
    (r"\\$A", r"\one"),
    (r"\\\$A", r"\$A"),
    ("'$A'", "$A"),
    ('"$A"', "one"),
    (r'"\$A"', "$A"),
    (r'"a\b"', r"a\b"),
    (r'"a\"b"', 'a"b'),
    ("'a\"b'", 'a"b'),
    ('"a\'b"', "a'b"),
    ("a'b'\"c\"d", "abcd"),
    ("''", ""),
    (r"a\ b", "a b"),
    ("${A:-w}", "one"),
    ("${NONE:-w}", "w"),
    ("${EMPTY:-w}", "w"),
    ("${EMPTY-w}", ""),
    ("${NONE-w}", "w"),
    ("${A:+w}", "w"),
    ("${EMPTY:+w}", ""),
    ("${EMPTY+w}", "w"),
    ("${NONE+w}", ""),
    ("${A:?bad}", "one"),
    ("${EMPTY?bad}", ""),
    ("${NONE:-$A}", "one"),
    ("${NONE:-${EMPTY:-${A}}}", "one"),
    ("${NONE:-'}'}", "}"),
    ('${NONE:-"x y"}', "x y"),
    ("${NONE:-a:b}", "a:b"),
    ("${FILE#*.}", "tar.gz"),
    ("${FILE##*.}", "gz"),
    ("${FILE%.*}", "archive.tar"),
    ("${FILE%%.*}", "archive"),
    ("${FILE%nope}", "archive.tar.gz"),
    ("${FILE#archive}", ".tar.gz"),
    ("${PATH_#/*/}", "local/lib"),
    ("${PATH_##/*/}", "lib"),
    ("${PATH_%/*}", "/usr/local"),
    ("${PATH_%%/*}", ""),
    ("${PATH_/local/share}", "/usr/share/lib"),
    ("${PATH_//\\//:}", ":usr:local:lib"),
    ("${PATH_/\\//}", "usr/local/lib"),
    ("${FILE/a?c/X}", "Xhive.tar.gz"),
    ("${FILE/*./X}", "Xgz"),
    ("${FILE//ar/AR}", "ARchive.tAR.gz"),
    (r"${STAR#a\*}", "b"),
    (r"${A#\*}", "one"),
    ("${NONE#x}", ""),
    ("${NONE/x/y}", ""),
    ("$UNICODÉ", "x"),
    ("$@", ""),
    ("<<EOF", "<<EOF"),
    ("a<b", "a<b"),
]


@pytest.mark.parametrize(("word", "expected"), WORDS)
def test_word(word: str, expected: str) -> None:
    assert Lexer().word(word, ENV) == expected


ERRORS = [
    ("${A", "missing }"),
    ("${", "missing }"),
    ("${}", "bad substitution"),
    ("${:x}", "bad substitution"),
    ("${{A}}", "bad substitution"),
    ("${A:=x}", "unsupported modifier (:=)"),
    ("${A=x}", "unsupported modifier (=)"),
    ("${A:#x}", "unsupported modifier (:#)"),
    ("${A^^}", "unsupported modifier (^)"),
    ("${NONE:?set it}", "NONE: set it"),
    ("${NONE:?}", "NONE: is not allowed to be unset"),
    ("${EMPTY:?}", "EMPTY: is not allowed to be empty"),
    ("${A/x}", "missing /"),
    ("${A/x/y", "missing }"),
    ("${A:-x", "missing }"),
    (r"${A#a\bc}", r"invalid escape \b"),
    ("'open", "single-quote"),
    ('"open', "double-quote"),
    ("${A:-'open}", "single-quote"),
]


@pytest.mark.parametrize(("word", "problem"), ERRORS)
def test_malformed(word: str, problem: str) -> None:
    with pytest.raises(ExpandError) as caught:
        Lexer().word(word, ENV)
    # An operand that runs off the end is reported as the brace that is missing.
    assert problem in str(caught.value) or "missing }" in str(caught.value)


def test_nesting_is_bounded() -> None:
    depth = MAX_DEPTH * 20
    with pytest.raises(ExpandError, match="nested"):
        Lexer().word("${N:-" * depth + "x" + "}" * depth, {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b", ["a", "b"]),
        ("  a\tb  ", ["a", "b"]),
        ("$SPACED", ["a", "b"]),
        ('"$SPACED"', ["a  b"]),
        ("'a b' c", ["a b", "c"]),
        (r"a\ b", ["a b"]),
        ("x$A$A", ["xoneone"]),
        ("$NONE", []),
        ("cat << EOF", ["cat", "<< EOF"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert Lexer().words(text, ENV) == expected


def test_backtick_escape_leaves_backslash_alone() -> None:
    assert Lexer("`").word(r"C:\dir`$A", ENV) == r"C:\dir$A"


def test_unset_names_are_collected() -> None:
    lexer = Lexer()
    lexer.word("$A $NONE ${OTHER:-x}", ENV)
    assert lexer.unset == {"NONE", "OTHER"}


def test_keep_unset() -> None:
    assert Lexer(keep_unset=True).word("$A ${B} ${C:-d}", ENV) == "one ${B} ${C:-d}"


def test_literal_quotes_for_heredoc_bodies() -> None:
    assert Lexer(literal_quotes=True).word("'$A' \"$A\" \\$A", ENV) == "'one' \"one\" $A"


safe = st.text(string.ascii_letters + string.digits + " ./:=,-_éß", max_size=30)
name = st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_]{0,8}\Z")


@given(safe)
def test_text_without_specials_is_itself(text: str) -> None:
    assert Lexer().word(text, {}) == text


@given(st.text(max_size=40).filter(lambda text: "'" not in text))
def test_single_quotes_keep_everything(text: str) -> None:
    assert Lexer().word(f"'{text}'", {"A": "no"}) == text


@given(st.text(max_size=40))
def test_escaping_each_character_keeps_everything(text: str) -> None:
    assert Lexer().word("".join("\\" + char for char in text), {"A": "no"}) == text


@given(name, st.text(max_size=20), safe)
def test_default_rules(variable: str, value: str, word: str) -> None:
    lexer = Lexer()
    env = {variable: value}
    assert lexer.word(f"${{{variable}}}", env) == value
    assert lexer.word(f"${{{variable}-{word}}}", env) == value
    assert lexer.word(f"${{{variable}:-{word}}}", env) == (value or word)
    assert lexer.word(f"${{{variable}:+{word}}}", env) == (word if value else "")
    assert lexer.word(f"${{{variable}-{word}}}", {}) == word


@given(st.text("ab./", max_size=12), st.text("ab./*?", min_size=1, max_size=5))
def test_trimming_agrees_with_every_split(value: str, pattern: str) -> None:
    """Shortest and longest match, found by trying every cut with fnmatch."""
    import fnmatch
    import re

    fits = re.compile(fnmatch.translate(pattern.replace("**", "*")))
    env = {"V": value}
    prefixes = [end for end in range(len(value) + 1) if fits.match(value[:end])]
    suffixes = [start for start in range(len(value) + 1) if fits.match(value[start:])]
    lexer = Lexer()
    if "/" in pattern or "}" in pattern:
        pattern = pattern.replace("/", "\\/")
    if not pattern.startswith(("#", "%")):
        shortest = value[min(prefixes) :] if prefixes else value
        longest = value[max(prefixes) :] if prefixes else value
        assert lexer.word(f"${{V#{pattern}}}", env) == shortest
        assert lexer.word(f"${{V##{pattern}}}", env) == longest
        assert lexer.word(f"${{V%{pattern}}}", env) == (value[: max(suffixes, default=len(value))])
        assert lexer.word(f"${{V%%{pattern}}}", env) == (value[: min(suffixes, default=len(value))])


@given(st.text("$A{}:-+?#%/'\"\\ `<", max_size=25))
def test_any_text_expands_or_is_refused(text: str) -> None:
    try:
        assert isinstance(Lexer().word(text, {"A": "v"}), str)
    except ExpandError as error:
        assert str(error)
