"""The build context: the directory on this machine that COPY and ADD read."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from layertool.archive.owner import Owner
from layertool.build import archives
from layertool.build.ignore import MAX_IGNORE_FILE, Ignore, Verdict
from layertool.build.lines import MAX_DOCKERFILE
from layertool.build.tree import Entry, Tree
from layertool.errors import LayertoolError, NotFound, Unsupported, UsageError

WHAT = "the build context"
DOCKERFILES = ("Dockerfile", "Containerfile")
STDIN = "-"
STDIN_NAME = "<stdin>"
IGNORE_FILES = (".dockerignore", ".containerignore")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a build reads: the Dockerfile's bytes and name, and the context with its rules."""

    dockerfile: bytes
    name: str  # as people call it: in error messages
    path: Path | None  # None for stdin
    context: Path
    ignore: Ignore
    site: str  # where the next build of the same thing is looked up, to say why a step missed

    def open_tree(self) -> Tree:
        """The context as a tree without what is ignored. The caller closes it."""
        return Tree(self.context, WHAT, ignore=self.ignore)


@contextmanager
def opened_source(context: str, dockerfile: str | None = None) -> Iterator[Source]:
    """`open_source`, and for the context `-` what is on stdin: a tar of a context, compressed or
    not, or a Dockerfile alone, which then has a context without files.

    Raises also UsageError, BadArchive.
    """
    if context != STDIN:
        yield open_source(context, dockerfile)
        return
    root = Path(tempfile.mkdtemp(prefix="layertool-context-"))
    try:
        yield _from_stdin(root, dockerfile)
    finally:
        archives.discard(root)


def _from_stdin(root: Path, dockerfile: str | None) -> Source:
    head = _read_stdin()
    if not archives.starts_archive(head):
        if dockerfile is not None:
            raise UsageError(f"-f {dockerfile}: a Dockerfile on stdin (CONTEXT -) is the only one")
        return Source(head, STDIN_NAME, None, root, Ignore(), site=STDIN)
    if dockerfile == STDIN:
        raise UsageError("-f -: stdin is the context; name a Dockerfile in it")
    stream = cast(BinaryIO, _Rewound(head, sys.stdin.buffer))
    with archives.opened(root) as fd:
        archives.unpack(stream, fd, STDIN_NAME, owner=Owner.IGNORE)
    path = _dockerfile([root / dockerfile] if dockerfile else [root / one for one in DOCKERFILES])
    raw, name = _read(path, MAX_DOCKERFILE, root), os.path.relpath(path, root)
    return Source(raw, name, path, root, find_ignore(root, path), site=f"{STDIN} {name}")


class _Rewound:
    """A stream from its beginning, though the first bytes of it were read."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = head
        self._rest = rest

    def read(self, size: int) -> bytes:
        data, self._head = self._head[:size], self._head[size:]
        return data or self._rest.read(size)


def open_source(context: str, dockerfile: str | None = None) -> Source:
    """Find Dockerfile and ignore file as docker does.

    `-f` is relative to the working directory, else to the context; `-` is stdin. Raises NotFound,
    Unsupported, IgnoreError.
    """
    if "://" in context or context.startswith("git@"):
        raise Unsupported(f"{context}: a context must be a directory; clone or unpack it first")
    root = Path(context)
    if not root.is_dir():
        raise NotFound(f"{context}: the build context is not a directory")
    if dockerfile == STDIN:
        raw, name, path = _read_stdin(), STDIN_NAME, None
    else:
        given = [Path(dockerfile), root / dockerfile] if dockerfile else []
        path = _dockerfile(given or [root / one for one in DOCKERFILES])
        raw, name = _read(path, MAX_DOCKERFILE, root), os.path.relpath(path)
        if name.startswith(".."):
            name = str(path)
    site = str((path or root).resolve())
    return Source(raw, name, path, root, find_ignore(root, path), site)


def _read_stdin() -> bytes:
    return sys.stdin.buffer.read(MAX_DOCKERFILE + 1)


def _dockerfile(candidates: Sequence[Path]) -> Path:
    for path in candidates:
        if path.is_file():
            return path
    raise NotFound(f"{candidates[0]}: no such Dockerfile; name it with -f")


def find_ignore(root: Path, dockerfile: Path | None) -> Ignore:
    """The ignore rules of a context: those beside the Dockerfile win over the context's own."""
    candidates = [root / name for name in IGNORE_FILES]
    if dockerfile is not None:
        candidates.insert(0, dockerfile.with_name(dockerfile.name + ".dockerignore"))
    for path in candidates:
        if path.is_file():
            return Ignore.parse(_read(path, MAX_IGNORE_FILE, root), path.name)
    return Ignore()


def _read(path: Path, limit: int, root: Path) -> bytes:
    """A Dockerfile or ignore file; one in the context must not be a link that leads out of it.

    A context may be somebody else's, and what is wrong with a line is said with the line.
    """
    named_inside = Path(os.path.abspath(path)).is_relative_to(os.path.abspath(root))
    if named_inside and not path.resolve().is_relative_to(root.resolve()):
        raise LayertoolError(f"{path}: a link that leads out of the build context")
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise LayertoolError(f"{path}: cannot read: {error.strerror}") from None


@dataclass(frozen=True, slots=True)
class Listed:
    """A line of `context ls`. `size` is in bytes, 0 for what is not a regular file."""

    path: str
    sent: bool
    size: int
    rule: str  # `FILE:LINE PATTERN`, "" when no rule touched it
    closed: bool = False  # an ignored directory that was not looked into


def list_context(tree: Tree) -> Iterator[Listed]:
    """Every file of a context, with what decided about it."""
    top = Entry("", os.fstat(tree.fd), tree.ignore.root)
    for entry in tree.walk_all(top):
        ignored = entry.verdict.ignored
        closed = ignored and entry.is_dir and tree.ignore.can_skip(entry.path)
        if entry.is_dir and not closed:
            continue  # its files speak for it
        yield Listed(
            entry.path + ("/" if entry.is_dir else ""),
            sent=not ignored,
            size=0 if entry.is_dir else entry.info.st_size,
            rule=_rule(tree.ignore, entry.verdict),
            closed=closed,
        )


def _rule(ignore: Ignore, verdict: Verdict) -> str:
    return "" if verdict.rule is None else f"{ignore.file}:{verdict.rule.line} {verdict.rule}"
