"""`.dockerignore`: which files of a context exist for the build, and which rule said so.

Semantics of moby/patternmatcher, which Docker and BuildKit use: patterns are anchored at the
context root; `**` spans any number of directories, none included; the last matching pattern
decides; a matched directory takes its children with it unless a later `!` pattern takes them back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from layertool.build.gopath import BadPattern, char_class, clean, compile_match
from layertool.errors import LayertoolError

MAX_IGNORE_FILE = 1 << 20  # bytes
# Two of these in a row match what one does, and make a hostile pattern backtrack for ever.
_REPEATS = (".*", "[^/]*", "(?:.*/)?")
_TRAILING_GLOB = re.compile(r"(/\*+)+$")


class IgnoreError(LayertoolError):
    """A pattern is malformed: `FILE:LINE: why`."""


@dataclass(frozen=True)
class Rule:
    """One line of the file. `pattern` is cleaned; `include` marks the `!` lines."""

    line: int
    pattern: str
    include: bool = False

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        return _compile(self.pattern)

    def matches(self, path: str) -> bool:
        """Whether the pattern itself fits `path`, parents not considered."""
        return self._regex.fullmatch(path) is not None

    def may_match_below(self, directory: str) -> bool:
        """Whether something under `directory` can match: if not, a walk may skip it."""
        fixed = _TRAILING_GLOB.sub("", self.pattern)
        if re.search(r"[*?\[\\]", fixed):
            return True
        return f"{fixed}/".startswith(f"{directory}/")

    def __str__(self) -> str:
        return f"{'!' if self.include else ''}{self.pattern}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision for one path. `rule` is None when no rule touched it.

    `matched` holds for each rule whether it covers the path; children inherit it.
    """

    ignored: bool
    rule: Rule | None
    matched: tuple[bool, ...]


class Ignore:
    """The rules of one file."""

    def __init__(self, rules: Sequence[Rule] = (), file: str = "") -> None:
        self.file = file  # as people call it; "" when there is none
        self.rules = tuple(rules)
        self._includes = tuple(rule for rule in rules if rule.include)
        self.root = Verdict(False, None, (False,) * len(self.rules))

    @classmethod
    def parse(cls, raw: bytes, file: str) -> Ignore:
        """Read an ignore file. Raises IgnoreError."""
        if len(raw) > MAX_IGNORE_FILE:
            raise IgnoreError(f"{file}: {len(raw)} bytes is too big for an ignore file")
        text = raw.decode("utf-8-sig", "surrogateescape")
        return cls(_rules(text.split("\n"), file), file)

    @classmethod
    def of_patterns(cls, patterns: Iterable[str], file: str) -> Ignore:
        """The rules of patterns given otherwise (`COPY --exclude`)."""
        return cls(_rules(patterns, file), file)

    def step(self, path: str, parent: Verdict) -> Verdict:
        """The verdict for `path` from that of its parent directory: what a walk calls."""
        matched = tuple(
            covered or rule.matches(path)
            for rule, covered in zip(self.rules, parent.matched, strict=True)
        )
        for rule, covered in zip(reversed(self.rules), reversed(matched), strict=True):
            if covered:  # the last one decides
                return Verdict(not rule.include, rule, matched)
        return Verdict(False, None, matched)

    def verdict(self, path: str) -> Verdict:
        """The verdict for a path on its own. "" is the root, which cannot be ignored."""
        current = self.root
        parts = [part for part in path.split("/") if part]
        for end in range(1, len(parts) + 1):
            current = self.step("/".join(parts[:end]), current)
        return current

    def can_skip(self, directory: str) -> bool:
        """Whether an ignored directory needs no walk: no `!` rule can bring anything back."""
        return not any(rule.may_match_below(directory) for rule in self._includes)


def _rules(lines: Iterable[str], file: str) -> list[Rule]:
    rules = []
    for number, line in enumerate(lines, start=1):
        if line.startswith("#"):  # only in the first column: ` #x` is a pattern
            continue
        pattern = line.strip()
        if not pattern:
            continue
        include = pattern.startswith("!")
        if include:
            pattern = pattern[1:].strip()
        if not pattern:
            raise IgnoreError(f"{file}:{number}: ! without a pattern")
        pattern = clean(pattern)
        if len(pattern) > 1:
            pattern = pattern.removeprefix("/")
        try:
            compile_match(pattern)
        except BadPattern as error:
            raise IgnoreError(f"{file}:{number}: {error}") from None
        rules.append(Rule(number, pattern, include))
    return rules


def _compile(pattern: str) -> re.Pattern[str]:
    """patternmatcher's translation to a regular expression, its special cases included."""
    if pattern.startswith("**") and not re.search(r"[*?\[\]\\]", pattern[2:]):
        # A plain suffix: `**.md` is any name that ends so, `**/x` is x at any depth.
        suffix = pattern[2:]
        front = "(?:.*/)?" if suffix.startswith("/") else ".*"
        return re.compile(front + re.escape(suffix.removeprefix("/")), re.DOTALL)
    out: list[str] = []
    at = 0
    while at < len(pattern):
        part, at = _translate(pattern, at)
        if part not in _REPEATS or out[-1:] != [part]:
            out.append(part)
    return re.compile("".join(out), re.DOTALL)


def _translate(pattern: str, at: int) -> tuple[str, int]:
    char = pattern[at]
    if pattern.startswith("**", at):
        at += 2
        at += pattern.startswith("/", at)  # `**/` is `**`
        # At the end it takes everything below; before something, any directories or none.
        return (".*", at) if at == len(pattern) else ("(?:.*/)?", at)
    if char == "*":
        return "[^/]*", at + 1
    if char == "?":
        return "[^/]", at + 1
    if char == "[":
        return char_class(pattern, at)
    if char == "\\":
        return re.escape(pattern[at + 1]), at + 2
    return re.escape(char), at + 1
