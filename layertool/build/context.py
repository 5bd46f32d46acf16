"""The build context: the directory on this machine that COPY and ADD read."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from layertool.build.ignore import MAX_IGNORE_FILE, Ignore, Verdict
from layertool.build.lines import MAX_DOCKERFILE
from layertool.build.tree import Entry, Tree
from layertool.errors import LayertoolError, NotFound, Unsupported

WHAT = "the build context"
DOCKERFILES = ("Dockerfile", "Containerfile")
IGNORE_FILES = (".dockerignore", ".containerignore")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a build reads: the Dockerfile's bytes and name, and the context with its rules."""

    dockerfile: bytes
    name: str  # as people call it: in error messages
    path: Path | None  # None for stdin
    context: Path
    ignore: Ignore

    def open_tree(self) -> Tree:
        """The context as a tree without what is ignored. The caller closes it."""
        return Tree(self.context, WHAT, ignore=self.ignore)


def open_source(context: str, dockerfile: str | None = None) -> Source:
    """Find Dockerfile and ignore file as docker does.

    `-f` is relative to the working directory, else to the context; `-` is stdin. Raises NotFound,
    Unsupported, IgnoreError.
    """
    if "://" in context or context.startswith("git@"):
        raise Unsupported(f"{context}: a context must be a directory; clone or unpack it first")
    if context == "-":
        raise Unsupported("-: a context on stdin is not supported; unpack it into a directory")
    root = Path(context)
    if not root.is_dir():
        raise NotFound(f"{context}: the build context is not a directory")
    if dockerfile == "-":
        raw, name, path = sys.stdin.buffer.read(MAX_DOCKERFILE + 1), "<stdin>", None
    else:
        path = _dockerfile(root, dockerfile)
        raw, name = _read(path, MAX_DOCKERFILE), os.path.relpath(path)
        if name.startswith(".."):
            name = str(path)
    return Source(raw, name, path, root, find_ignore(root, path))


def _dockerfile(root: Path, given: str | None) -> Path:
    candidates = [root / name for name in DOCKERFILES]
    if given is not None:
        candidates = [Path(given), root / given]
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
            return Ignore.parse(_read(path, MAX_IGNORE_FILE), path.name)
    return Ignore()


def _read(path: Path, limit: int) -> bytes:
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
