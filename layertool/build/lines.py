"""A Dockerfile's text as logical lines: directives, comments, continuations, heredocs.

Follows BuildKit's parser (frontend/dockerfile/parser), which is what people's files are written
against, oddities included; each one is named where it is done.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from layertool.build.expand import Lexer
from layertool.build.place import Place
from layertool.errors import BadImage

# A Dockerfile comes with a hostile context as easily as an archive does.
MAX_DOCKERFILE = 4 << 20  # bytes

_DIRECTIVE = re.compile(r"^#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*$")
_DIRECTIVES = ("syntax", "escape", "check")
_HEREDOC = re.compile(r"^(\d*)<<(-?)\s*([^<]*)$")
_WITH_HEREDOC = re.compile(r"^\s*(?:ONBUILD\s+)*(?:RUN|COPY|ADD)\s", re.IGNORECASE)
_LEADING_TABS = re.compile(r"(?m)^\t+")


@dataclass(frozen=True, slots=True)
class Heredoc:
    """`<<WORD` and the body that followed; `body` ends with a newline unless empty."""

    word: str
    body: str
    expand: bool = True  # False when any part of WORD was quoted
    strip_tabs: bool = False  # <<-

    @property
    def content(self) -> str:
        """The body as the instruction sees it."""
        return _LEADING_TABS.sub("", self.body) if self.strip_tabs else self.body


@dataclass(frozen=True, slots=True)
class LogicalLine:
    """One instruction: continuations joined, comments dropped, heredoc bodies aside."""

    place: Place
    text: str
    heredocs: tuple[Heredoc, ...] = ()


@dataclass(slots=True)
class Lines:
    """What `read_lines` found."""

    escape: str = "\\"
    directives: dict[str, str] = field(default_factory=dict)
    lines: list[LogicalLine] = field(default_factory=list)
    warnings: list[tuple[int, str]] = field(default_factory=list)  # (line, text)


def decode(raw: bytes, file: str) -> str:
    """The text of a Dockerfile: UTF-8, with or without a BOM, CRLF or LF line ends.

    Raises BadImage when it is too big or not text.
    """
    if len(raw) > MAX_DOCKERFILE:
        raise BadImage(
            f"{file}: {len(raw)} bytes is too big for a Dockerfile; is it the right file?"
        )
    if b"\0" in raw:
        raise BadImage(f"{file}: holds NUL bytes; is it the right file?")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadImage(f"{file}: not UTF-8 text at byte {error.start}") from None
    return text.replace("\r\n", "\n")


def read_lines(text: str, file: str) -> Lines:
    """Split a Dockerfile into instructions. Raises DockerfileError on a broken heredoc."""
    return _Reader(text, file).read()


def parse_heredoc_word(word: str) -> Heredoc | None:
    """A heredoc with no body yet when `word` starts one (`<<EOF`, `<<-'E'`, `3<<X`), else None."""
    match = _HEREDOC.match(word)
    if match is None or not match[3]:
        return None
    # The word is unquoted as a shell would; if that took quotes away, the body is literal.
    plain = Lexer("\\", keep_unset=True).words(match[3], {})
    if len(plain) != 1:
        return None
    quoted = Lexer("\\", keep_unset=True, raw_quotes=True).words(match[3], {})[0]
    name = plain[0]
    return Heredoc(
        word=name,
        body="",
        expand=_quotes(name) == _quotes(quoted),
        strip_tabs=match[2] == "-",
    )


def _quotes(text: str) -> int:
    return text.count("'") + text.count('"')


def is_comment(line: str) -> bool:
    """Only the first non-blank character of a physical line can start a comment."""
    return line.lstrip().startswith("#")


class _Reader:
    def __init__(self, text: str, file: str) -> None:
        self._file = file
        self._source = _physical_lines(text)
        self._next = 0  # index of the next physical line; its number once read
        self._result = Lines()
        self._set_escape("\\")

    def read(self) -> Lines:
        self._read_directives()
        while self._next < len(self._source):
            self._read_instruction()
        return self._result

    # -- directives: only at the very top, before any other comment, blank line or instruction

    def _read_directives(self) -> None:
        for number, line in enumerate(self._source, start=1):
            match = _DIRECTIVE.match(line.strip())
            name = match[1].lower() if match else ""
            if match is None or name not in _DIRECTIVES:
                return
            place = Place(self._file, number, line.strip())
            if name in self._result.directives:
                place.fail(f"only one {name} directive can be used")
            self._result.directives[name] = match[2]
            if name == "escape":
                if match[2] not in ("\\", "`"):
                    place.fail("escape must be \\ or `")
                self._set_escape(match[2])

    def _set_escape(self, token: str) -> None:
        # An escape token before it makes it an ordinary character: `\\` ends the line.
        self._result.escape = token
        self._continued = re.compile(rf"(^|[^{re.escape(token)}]){re.escape(token)}[ \t]*$")

    # -- instructions

    def _take(self) -> str:
        line = self._source[self._next]
        self._next += 1
        return line

    def _read_instruction(self) -> None:
        line = self._take()
        first = self._next
        if is_comment(line):
            return
        text, more = self._cut_continuation(line.lstrip())
        if not more and not text:
            return
        parts = [text]
        blank = False
        while more and self._next < len(self._source):
            line = self._take()
            if is_comment(line):
                continue  # a comment inside a continuation is dropped, its own `\` included
            if not line.strip():
                blank = True  # so is a blank line, but that is deprecated
                continue
            text, more = self._cut_continuation(line)
            parts.append(text)
        joined = "".join(parts)
        if not joined.strip():
            return
        if blank:
            self._result.warnings.append((first, "blank line inside a continued instruction"))
        place = Place(self._file, first, joined.strip())
        self._result.lines.append(LogicalLine(place, joined, tuple(self._read_heredocs(place))))

    def _cut_continuation(self, line: str) -> tuple[str, bool]:
        match = self._continued.search(line)
        if match is None:
            return line, False
        return line[: match.start()] + match[1], True

    def _read_heredocs(self, place: Place) -> Iterator[Heredoc]:
        if "<<" not in place.text or not _WITH_HEREDOC.match(place.text):
            return
        for word in heredoc_words(place.text):
            start = parse_heredoc_word(word)
            if start is not None:
                yield self._read_body(start, place)

    def _read_body(self, start: Heredoc, place: Place) -> Heredoc:
        body: list[str] = []
        while True:
            if self._next >= len(self._source):
                place.fail(f"heredoc is not ended by a line {start.word}")
            line = self._take()
            if (line.lstrip("\t") if start.strip_tabs else line) == start.word:
                text = "".join(part + "\n" for part in body)
                return Heredoc(start.word, text, start.expand, start.strip_tabs)
            body.append(line)


def heredoc_words(text: str) -> list[str]:
    """The words of an instruction with quotes and escapes kept, as heredoc detection wants them."""
    lexer = Lexer("\\", keep_unset=True, raw_quotes=True, raw_escapes=True)
    return lexer.words_until_error(text, {})


def _physical_lines(text: str) -> list[str]:
    # Not splitlines(): only \n ends a line here, form feeds and U+2028 do not.
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return lines
