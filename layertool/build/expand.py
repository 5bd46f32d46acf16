"""Variables, quotes and escapes in Dockerfile words, as BuildKit's shell lexer reads them.

`$V ${V} ${V:-w} ${V-w} ${V:+w} ${V+w} ${V:?e} ${V?e} ${V#p} ${V##p} ${V%p} ${V%%p} ${V/p/r}
${V//p/r}`, where the word is itself expanded. No arithmetic, no command substitution.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

# Nested ${a:-${b:-…}} recurses; a hostile file must not exhaust the Python stack.
MAX_DEPTH = 50

_SPECIAL = frozenset("@*#?-$!0")
_IN_DOUBLE_QUOTES = frozenset('"$')


class ExpandError(Exception):
    """The word is malformed; the message has no place, the caller knows it."""


@dataclass(slots=True)
class Lexer:
    """Expands one word, or splits into words after expanding.

    `keep_unset` leaves a reference to a variable without a value as it is; `raw_quotes` and
    `raw_escapes` keep those characters in the result; `literal_quotes` gives quotes no meaning
    (heredoc bodies). `unset` collects the names that had no value.
    """

    escape: str = "\\"
    keep_unset: bool = False
    raw_quotes: bool = False
    raw_escapes: bool = False
    literal_quotes: bool = False
    unset: set[str] = field(default_factory=set)

    def word(self, text: str, env: Mapping[str, str]) -> str:
        """`text` expanded to one string. Raises ExpandError."""
        return _Scan(self, text, env).all()

    def words(self, text: str, env: Mapping[str, str]) -> list[str]:
        """`text` expanded, then split at blanks that were not quoted. Raises ExpandError."""
        scan = _Scan(self, text, env)
        scan.all()
        return scan.words.done()

    def words_until_error(self, text: str, env: Mapping[str, str]) -> list[str]:
        """Like `words`, but none for an unbalanced quote: that is the shell's to complain about."""
        try:
            return self.words(text, env)
        except ExpandError:
            return []


class _Words:
    """Collects words; blanks split unless they were quoted or escaped."""

    def __init__(self) -> None:
        self._words: list[str] = []
        self._current: list[str] = []

    def add(self, text: str) -> None:
        for char in text:
            if char.isspace():
                self._end()
            else:
                self._current.append(char)

    def add_raw(self, text: str) -> None:
        self._current.append(text)

    def _end(self) -> None:
        word = "".join(self._current)
        if word:
            self._words.append(word)
        self._current.clear()

    def done(self) -> list[str]:
        self._end()
        return self._words


class _Scan:
    """One pass over one text."""

    def __init__(self, lexer: Lexer, text: str, env: Mapping[str, str]) -> None:
        self._lexer = lexer
        self._text = text
        self._env = env
        self._at = 0
        self._depth = 0
        self.words = _Words()

    def all(self) -> str:
        return self._until("", self._lexer.raw_escapes)

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]  # "" at the end

    def _take(self) -> str:
        char = self._peek()
        self._at += len(char)
        return char

    def _until(self, stop: str, raw_escapes: bool) -> str:
        """Expand up to `stop` (taken, not returned), or to the end when it is empty."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ExpandError(f"substitutions nested more than {MAX_DEPTH} deep")
        outer = self.words if stop == "" else _Words()
        out: list[str] = []
        special = self._special(raw_escapes)
        while self._at < len(self._text):
            char = self._peek()
            if char == stop:
                self._take()
                self._depth -= 1
                return "".join(out)
            handler = special.get(char)
            if handler is None:
                self._plain(out, outer, raw_escapes)
                continue
            part = handler()
            out.append(part)
            # What a variable held is split at blanks, what quotes held is not.
            (outer.add if char == "$" else outer.add_raw)(part)
        if stop:
            raise ExpandError(f"unexpected end while looking for matching {stop}")
        self._depth -= 1
        return "".join(out)

    def _special(self, raw_escapes: bool) -> dict[str, Callable[[], str]]:
        special: dict[str, Callable[[], str]] = {"$": self._dollar, "<": self._less}
        if not self._lexer.literal_quotes:
            special["'"] = self._single
            special['"'] = lambda: self._double(raw_escapes)
        return special

    def _plain(self, out: list[str], words: _Words, raw_escapes: bool) -> None:
        char = self._take()
        if char != self._lexer.escape:
            out.append(char)
            words.add(char)
            return
        if raw_escapes:
            out.append(char)
            words.add_raw(char)
        char = self._take()
        out.append(char)
        words.add_raw(char)

    def _less(self) -> str:
        """`<< WORD` is one word for heredoc detection, so blanks after `<<` do not split."""
        self._take()
        if self._peek() != "<":
            return "<"
        self._take()
        start = self._at
        while self._peek() and self._peek() in "\t\r ":
            self._take()
        return "<<" + self._text[start : self._at]

    def _single(self) -> str:
        self._take()
        end = self._text.find("'", self._at)
        if end < 0:
            raise ExpandError("unexpected end while looking for matching single-quote")
        inner = self._text[self._at : end]
        self._at = end + 1
        return f"'{inner}'" if self._lexer.raw_quotes else inner

    def _double(self, raw_escapes: bool) -> str:
        self._take()
        quote = '"' if self._lexer.raw_quotes else ""
        out = [quote]
        while True:
            char = self._peek()
            if char == "":
                raise ExpandError("unexpected end while looking for matching double-quote")
            if char == '"':
                self._take()
                return "".join([*out, quote])
            out.append(self._dollar() if char == "$" else self._quoted_char(raw_escapes))

    def _quoted_char(self, raw_escapes: bool) -> str:
        """In double quotes only `"`, `$` and the escape itself can be escaped (sh(1))."""
        char = self._take()
        if char != self._lexer.escape:
            return char
        following = self._peek()
        if following == "":
            return char if raw_escapes else ""
        if following in _IN_DOUBLE_QUOTES or following == self._lexer.escape:
            return (char if raw_escapes else "") + self._take()
        return char

    # -- substitutions

    def _dollar(self) -> str:
        self._take()
        if self._peek() == "{":
            self._take()
            return self._braces()
        name = self._name()
        if not name:
            return "$"
        value = self._get(name)
        if value is None:
            return f"${name}" if self._lexer.keep_unset else ""
        return value

    def _name(self) -> str:
        first = self._peek()
        if first.isdigit():
            return self._run_of(str.isdigit)
        if first and first in _SPECIAL:
            return self._take()
        return self._run_of(lambda char: char.isalnum() or char == "_")

    def _run_of(self, belongs: Callable[[str], bool]) -> str:
        start = self._at
        while self._peek() and belongs(self._peek()):
            self._at += 1
        return self._text[start : self._at]

    def _get(self, name: str) -> str | None:
        value = self._env.get(name)
        if value is None:
            self._lexer.unset.add(name)
        return value

    def _braces(self) -> str:
        if self._peek() == "":
            raise ExpandError("missing } in substitution")
        if self._peek() in "{}:":
            raise ExpandError("bad substitution")
        name = self._name()
        operator = self._take()
        if operator == "}":
            value = self._get(name)
            if value is None:
                return f"${{{name}}}" if self._lexer.keep_unset else ""
            return value
        if operator == "/":
            return self._replace(name)
        if operator == ":":
            operator += self._take()
        if operator in ("-", "+", "?", ":-", ":+", ":?"):
            return self._default(name, operator)
        if operator in ("#", "%"):
            return self._trim(name, operator)
        if operator in ("", ":"):
            raise ExpandError("missing } in substitution")
        raise ExpandError(f"unsupported modifier ({operator}) in substitution")

    def _operand(self, stop: str, raw_escapes: bool) -> str:
        try:
            return self._until(stop, raw_escapes)
        except ExpandError:
            if self._at >= len(self._text) and self._depth <= MAX_DEPTH:
                raise ExpandError(f"missing {stop} in substitution") from None
            raise

    def _default(self, name: str, operator: str) -> str:
        word = self._operand("}", False)
        value = self._get(name)
        if value is None and self._lexer.keep_unset:
            return f"${{{name}{operator}{word}}}"
        # With the colon, an empty value counts as none.
        missing = value is None or (operator[0] == ":" and value == "")
        kind = operator[-1]
        if kind == "-":
            return word if missing else value or ""
        if kind == "+":
            return "" if missing else word
        if missing:
            default = (
                "is not allowed to be unset" if value is None else "is not allowed to be empty"
            )
            raise ExpandError(f"{name}: {word or default}")
        return value or ""

    def _trim(self, name: str, operator: str) -> str:
        pattern = self._operand("}", True)
        value = self._get(name)
        if value is None:
            return f"${{{name}{operator}{pattern}}}" if self._lexer.keep_unset else ""
        longest = pattern.startswith(operator)
        if longest:
            pattern = pattern[1:]
        if operator == "#":
            return _trim_prefix(value, pattern, longest)
        return _trim_suffix(value, pattern, longest)

    def _replace(self, name: str) -> str:
        every = self._peek() == "/"
        if every:
            self._take()
        pattern = self._operand("/", True)
        replacement = self._operand("}", True)
        value = self._get(name)
        if value is None:
            slashes = "//" if every else "/"
            kept = f"${{{name}{slashes}{pattern}/{replacement}}}"
            return kept if self._lexer.keep_unset else ""
        regex = _glob_regex(pattern, longest=True)
        return regex.sub(lambda _: replacement, value, count=0 if every else 1)


def _trim_prefix(value: str, pattern: str, longest: bool) -> str:
    match = _glob_regex(pattern, longest).match(value)
    return value[match.end() :] if match else value


def _trim_suffix(value: str, pattern: str, longest: bool) -> str:
    """Try every start, from the end for the shortest match, from the front for the longest."""
    regex = _glob_regex(pattern, longest)
    starts = range(len(value) + 1)
    for start in starts if longest else reversed(starts):
        if regex.fullmatch(value, start):
            return value[:start]
    return value


def _glob_regex(pattern: str, longest: bool) -> re.Pattern[str]:
    """A shell pattern without bracket expressions: `*`, `?`, and `\\` before `*?\\}/`."""
    # Runs of stars mean one star, and keep a hostile pattern from backtracking for ever.
    star = ".*" if longest else ".*?"
    out: list[str] = []
    chars = iter(re.sub(r"(?<!\\)\*+", "*", pattern))
    for char in chars:
        if char == "*":
            out.append(star)
        elif char == "?":
            out.append(".")
        elif char == "\\":
            escaped = next(chars, "")
            if escaped not in ("*", "?", "\\", "}", "/"):
                raise ExpandError(f"invalid pattern ({pattern}): invalid escape \\{escaped}")
            out.append(re.escape(escaped))
        else:
            out.append(re.escape(char))
    return re.compile("".join(out), re.DOTALL)
