"""A directory that COPY reads: the context, an earlier stage, an image.

Names are text with surrogate escapes, relative to the tree's root, "" for the root itself.
Symlinks on the way to a source are followed inside the root only; below a copied directory they
are copied as links. What `.dockerignore` hides does not exist here.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from layertool.archive.owner import OVERRIDE, Override, Owner, default_owner
from layertool.build.gopath import compile_match, has_wildcards, inside
from layertool.build.ignore import Ignore, Verdict
from layertool.errors import LayertoolError, NotFound
from layertool.sandbox.inroot import open_path, real_path

# Overlay bookkeeping and labels of this host are not part of a file.
_XATTR_PREFIXES = ("security.capability", "user.")
_XATTR_PRIVATE = ("user.overlay.", "user.fuseoverlayfs.", "user.containers.")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a tree. `ignored` entries are seen only by `walk_all`."""

    path: str
    info: os.stat_result
    verdict: Verdict

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def is_dir(self) -> bool:
        """Whether it is a directory, and not a link to one."""
        return stat.S_ISDIR(self.info.st_mode)


@dataclass(frozen=True, slots=True)
class Match:
    """What a source named: the path as asked for, and the entry, which a symlink may put elsewhere."""

    path: str
    entry: Entry

    @property
    def name(self) -> str:
        """The name that a copy gets in a directory: that of the path asked for."""
        return self.path.rpartition("/")[2]


class Tree:
    """An open tree; close it, or use it as a context manager.

    `what` is how messages call it. `keep_ids` tells whether files keep their owner when copied:
    those of an image do, those of the context belong to whoever builds and become root's.
    """

    def __init__(
        self, root: Path, what: str, *, ignore: Ignore | None = None, keep_ids: bool = False
    ) -> None:
        self.what = what
        self.keep_ids = keep_ids
        self._remembers_ids = keep_ids and default_owner() is Owner.RECORD
        self.ignore = ignore or Ignore()
        self._root = root
        try:
            self.fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise NotFound(f"{root}: cannot use as {what}: {error.strerror}") from None

    def __enter__(self) -> Tree:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)

    # -- finding

    def find(self, path: str) -> Entry:
        """The entry of `path`, symlinks followed inside the root. Raises NotFound."""
        try:
            fd = open_path(self.fd, inside(path) or ".")
        except OSError as error:
            raise self._missing(path, error) from None
        try:
            real = real_path(self.fd, fd).lstrip("/")
            info = os.fstat(fd)
        finally:
            os.close(fd)
        verdict = self.ignore.verdict(real)
        if verdict.ignored and not self._has_kept_child(real, info):
            hint = f"{self.ignore.file}:{verdict.rule.line}" if verdict.rule else self.ignore.file
            raise NotFound(f"{path}: excluded from {self.what} by {hint} ({verdict.rule})")
        return Entry(real, info, verdict)

    def _has_kept_child(self, path: str, info: os.stat_result) -> bool:
        """An ignored directory exists still when a `!` rule keeps something in it."""
        if not stat.S_ISDIR(info.st_mode) or self.ignore.can_skip(path):
            return False
        return any(True for _ in self.walk(Entry(path, info, self.ignore.verdict(path))))

    def _missing(self, path: str, error: OSError) -> LayertoolError:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return NotFound(f"{path}: no such file in {self.what}")
        if error.errno == errno.ELOOP:
            return NotFound(f"{path}: a loop of symbolic links in {self.what}")
        return LayertoolError(f"{path}: cannot read from {self.what}: {error.strerror}")

    def glob(self, pattern: str) -> list[Match]:
        """What a source pattern matches, sorted; a pattern without wildcards must exist.

        Raises NotFound, BadPattern.
        """
        cleaned = inside(pattern)
        if not has_wildcards(cleaned):
            path = _unescape(cleaned)
            return [Match(path, self.find(path))]
        found = [""]
        for part in cleaned.split("/"):
            found = [child for parent in found for child in self._match_in(parent, part)]
        return self._existing(found)

    def _match_in(self, parent: str, part: str) -> list[str]:
        if not has_wildcards(part):
            return [_join(parent, _unescape(part))]
        matcher = compile_match(part)
        try:
            names = self.names(self.find(parent).path)
        except LayertoolError:
            return []
        return [_join(parent, name) for name in names if matcher.fullmatch(name)]

    def _existing(self, paths: list[str]) -> list[Match]:
        """Those paths that exist."""
        matches = []
        for path in paths:
            try:
                matches.append(Match(path, self.find(path)))
            except NotFound:
                continue
        return matches

    # -- reading

    def names(self, directory: str) -> list[str]:
        """The sorted names in a directory, ignored ones included."""
        fd = self.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)

    def open(self, path: str, flags: int = os.O_RDONLY) -> int:
        """Open a link-free path of this tree. Raises LayertoolError.

        Never blocks: a FIFO put where a file was is opened without waiting for a writer.
        """
        if not flags & os.O_PATH:
            flags |= os.O_NONBLOCK
        try:
            return open_path(self.fd, path or ".", flags | os.O_NOFOLLOW)
        except OSError as error:
            raise self._missing(path, error) from None

    def read_link(self, path: str) -> str:
        """The target of a symlink."""
        fd = self.open(path, os.O_PATH)
        try:
            return os.readlink("", dir_fd=fd)
        finally:
            os.close(fd)

    def walk(self, top: Entry, skip: Callable[[Entry], bool] | None = None) -> Iterator[Entry]:
        """Everything below a directory, parents first, sorted by name; not `top` itself.

        An ignored directory comes only when something in it does. `skip` leaves out an entry and
        what is below it.
        """
        pending: list[Entry] = []  # ignored parents, yielded when a kept child shows up
        for entry in self._raw_walk(top, skip):
            while pending and not entry.path.startswith(pending[-1].path + "/"):
                pending.pop()
            if entry.verdict.ignored:
                if entry.is_dir:
                    pending.append(entry)
                continue
            yield from pending
            pending.clear()
            yield entry

    def walk_all(self, top: Entry) -> Iterator[Entry]:
        """Like `walk`, ignored entries included, for `context ls`; skipped parts stay closed."""
        return self._raw_walk(top, None)

    def _raw_walk(self, top: Entry, skip: Callable[[Entry], bool] | None) -> Iterator[Entry]:
        stack = [self._children(top)]
        while stack:
            entry = next(stack[-1], None)
            if entry is None:
                stack.pop()
                continue
            if skip is not None and skip(entry):
                continue
            yield entry
            if entry.is_dir and not (entry.verdict.ignored and self.ignore.can_skip(entry.path)):
                stack.append(self._children(entry))

    def _children(self, parent: Entry) -> Iterator[Entry]:
        fd = self.open(parent.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            children = [
                (name, os.stat(name, dir_fd=fd, follow_symlinks=False))
                for name in sorted(os.listdir(fd))
            ]
        except OSError as error:
            raise LayertoolError(
                f"{parent.path or '.'}: cannot read from {self.what}: {error.strerror}"
            ) from None
        finally:
            os.close(fd)
        for name, info in children:
            path = _join(parent.path, name)
            yield Entry(path, info, self.ignore.step(path, parent.verdict))

    def owner(self, entry: Entry) -> tuple[int, int]:
        """Whose a file is; where ids cannot be set the true ones are in an attribute."""
        info = entry.info
        if self._remembers_ids:
            try:
                place = f"/proc/self/fd/{self.fd}/{entry.path}"
                noted = Override.decode(os.getxattr(place, OVERRIDE, follow_symlinks=False))
            except OSError:
                noted = None
            if noted is not None:
                return noted.uid, noted.gid
        return info.st_uid, info.st_gid

    def xattrs(self, path: str) -> dict[str, bytes]:
        """The extended attributes that travel with a file (capabilities, `user.*`)."""
        place = f"/proc/self/fd/{self.fd}/{path}"
        try:
            names = [
                name
                for name in os.listxattr(place, follow_symlinks=False)
                if name.startswith(_XATTR_PREFIXES) and not name.startswith(_XATTR_PRIVATE)
            ]
            return {name: os.getxattr(place, name, follow_symlinks=False) for name in sorted(names)}
        except OSError:
            return {}  # the file system has none


def _join(parent: str, name: str) -> str:
    return f"{parent}/{name}" if parent else name


def _unescape(part: str) -> str:
    """`a\\*b` without wildcards around it names the file `a*b`."""
    out: list[str] = []
    chars = iter(part)
    for char in chars:
        out.append(next(chars, "") if char == "\\" else char)
    return "".join(out)
