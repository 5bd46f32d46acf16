"""Recording requests and their answers (``-o trace=FILE``), one JSON object a line.

The first line describes the mount, each further one a request: what was asked, by path as the merged
view had it at that moment, and what was answered. ``unionfs-lab replay`` does the same calls again
on another mount. Installed by replacing the handlers of one Operations object, so that without it
nothing is paid; the file is written in large pieces, and is never larger than a limit.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import IO, Any

import pyfuse3
from pyfuse3 import EntryAttributes, FileInfo, FUSEError

from .errors import UnionError, printable
from .inventory import inventory
from .options import MountOptions, render_options
from .tree import Node, Tree, path_of
from .version import VERSION

FORMAT = 1
"""Of the lines; a reader refuses others."""
LIMIT_BYTES = 256 << 20
_BUFFER_BYTES = 256 << 10
_FLUSH_NS = 10**9
TEXT_BYTES = 64
"""What is read is recorded up to this many bytes, of more a hash."""
WRITTEN_BYTES = 4096
"""What is written is recorded up to this many bytes, for it has to be written again."""

log = logging.getLogger(__name__)

_encode = json.JSONEncoder(separators=(",", ":")).encode

Handler = Callable[..., Coroutine[Any, Any, Any]]
Record = dict[str, Any]

ARGUMENTS: dict[str, tuple[str, ...]] = {
    "lookup": ("parent", "name", "who"),
    "forget": ("forgotten",),
    "getattr": ("node", "who"),
    "setattr": ("node", "attributes", "fields", "", "who"),
    "readlink": ("node", "who"),
    "mknod": ("parent", "name", "mode", "rdev", "who"),
    "mkdir": ("parent", "name", "mode", "who"),
    "unlink": ("parent", "name", "who"),
    "rmdir": ("parent", "name", "who"),
    "symlink": ("parent", "name", "target", "who"),
    "rename": ("parent", "name", "new parent", "new name", "flags", "who"),
    "link": ("node", "new parent", "new name", "who"),
    "open": ("node", "flags", "who"),
    "read": ("node", "offset", "size"),
    "write": ("node", "offset", "data"),
    "flush": ("node",),
    "release": ("node",),
    "fsync": ("node", "datasync"),
    "opendir": ("node", "who"),
    "readdir": ("listing", "start", ""),
    "releasedir": ("listing",),
    "fsyncdir": ("listing", "datasync"),
    "statfs": ("who",),
    "setxattr": ("node", "xattr", "value", "who"),
    "getxattr": ("node", "xattr", "who"),
    "listxattr": ("node", "who"),
    "removexattr": ("node", "xattr", "who"),
    "create": ("parent", "name", "mode", "flags", "who"),
}
"""The arguments of each handler in order; what has no name is not recorded."""


def text(name: bytes) -> str:
    """A name or value as a JSON string; `bytes_of` is the reverse."""
    return name.decode("utf-8", "surrogateescape")


def content(data: bytes | memoryview) -> str:
    """What is recorded of content: its length, and the bytes or, of longer ones, their hash."""
    if len(data) <= TEXT_BYTES:
        return f"{len(data)}:{bytes(data).decode('latin-1')}"
    return f"{len(data)}:sha256:{hashlib.sha256(data).hexdigest()[:16]}"


def describe(options: MountOptions, tree: Tree) -> Record:
    """The first line of a trace: the mount, and what its layers hold unless that is too much."""
    return {
        "version": VERSION,
        "options": text(render_options(options)),
        "layers": inventory(tree.stack),
    }


class Trace:
    """Writes what one Operations object is asked and answers to *path*.

    Raises UnionError when the file cannot be made. *header* goes into the first line; no more than
    *limit* bytes are written, but for the last line.
    """

    def __init__(
        self, path: bytes, tree: Tree, header: Record, *, limit: int = LIMIT_BYTES
    ) -> None:
        try:
            # Names and content of all users are in it.
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UnionError(
                f"trace {printable(path)}: {error.strerror}; name a file that can be written"
            ) from None
        self._file: IO[str] = os.fdopen(fd, "w", _BUFFER_BYTES, encoding="ascii")
        self._tree = tree
        self._limit = limit
        self._written = 0
        self._requests = 0
        self._flushed = self._began = time.perf_counter_ns()
        self._listed: list[str] = []
        self._undo: list[Callable[[], None]] = []
        self._write({"trace": FORMAT, "started": time.time_ns(), **header})

    def install(self, operations: object) -> None:
        """Record every request that *operations* gets from now on."""
        reply = pyfuse3.readdir_reply

        def replied(
            token: pyfuse3.ReaddirToken, name: bytes, attr: EntryAttributes, next_id: int
        ) -> bool:
            taken = bool(reply(token, name, attr, next_id))
            if taken:
                self._listed.append(text(name))
            return taken

        pyfuse3.readdir_reply = replied
        self._undo.append(functools.partial(setattr, pyfuse3, "readdir_reply", reply))
        for name in ARGUMENTS:
            handler = getattr(operations, name)
            setattr(operations, name, self._recorded(name, handler))
            self._undo.append(functools.partial(setattr, operations, name, handler))

    def end(self) -> None:
        """The mount is over."""
        try:
            self.close()
        except OSError as error:
            self._give_up(error)

    def close(self, why: str = "unmounted") -> None:
        """Write the last line, which says why there are no more, and stop recording."""
        if self._file.closed:
            return
        for undo in self._undo:
            undo()
        try:
            self._write({"end": why, "requests": self._requests})
        finally:
            self._file.close()

    def _recorded(self, operation: str, handler: Handler) -> Handler:
        clock = time.perf_counter_ns

        @functools.wraps(handler)
        async def wrapper(*arguments: Any) -> Any:
            record = self._question(operation, arguments)
            start = clock()
            try:
                result = await handler(*arguments)
            except FUSEError as error:
                record["errno"] = errno.errorcode.get(error.errno, str(error.errno))
                raise
            else:
                self._answer(operation, result, record)
                return result
            finally:
                end = clock()
                record["ns"] = end - start
                record["at"] = start - self._began
                self._add(record, end)

        return wrapper

    def _add(self, record: Record, now: int) -> None:
        """Write a request; a crash loses what was recorded within the last second at most."""
        if self._file.closed:
            return
        self._requests += 1
        try:
            self._write(record)
            if self._written >= self._limit:
                self.close(f"full: {self._limit} bytes; what came later is not recorded")
            elif now - self._flushed > _FLUSH_NS:
                self._file.flush()
                self._flushed = now
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """The mount must not suffer for its trace."""
        log.warning("the trace cannot be written (%s); recording ends", error.strerror)
        with suppress(OSError):
            self.close()

    def _write(self, record: Record) -> None:
        line = _encode(record)
        self._written += len(line) + 1
        self._file.write(line + "\n")

    # --- questions ---

    def _question(self, operation: str, arguments: tuple[Any, ...]) -> Record:
        """What is asked, told before it is done: afterwards paths may be others."""
        record: Record = {"op": operation}
        named = dict(zip(ARGUMENTS[operation], arguments, strict=True))
        for name, value in named.items():
            match name:
                case "" | "name" | "new name" | "attributes":
                    pass  # told with the argument that they belong to
                case "node":
                    record["id"] = value
                    record["path"] = self._path(value)
                case "parent" | "new parent":
                    child = named[name.replace("parent", "name")]
                    record[name.replace("parent", "path")] = self._path(value, child)
                case "who":
                    record["who"] = [value.uid, value.gid, value.umask]
                case "fields":
                    record["set"] = _settings(named["attributes"], value)
                case "xattr" | "target":
                    record[name] = text(value)
                case "value":
                    record["value"] = bytes(value).decode("latin-1")
                case "data":
                    record.update(_written_content(value))
                case _:
                    record[name] = value
        return record

    def _path(self, number: int, child: bytes | None = None) -> str | None:
        """The path of a node, or of its child; None when it has lost its name."""
        node = self._tree.nodes.get(number)
        if node is None or not self._named(node):
            return None
        path = path_of(node)
        if child is not None:
            path = path + b"/" + child if path else child
        return text(path) or "."

    def _named(self, node: Node) -> bool:
        return node.parent is not None or node is self._tree.root

    # --- answers ---

    def _answer(self, operation: str, result: Any, record: Record) -> None:
        match result:
            case EntryAttributes():
                self._entry(result, record)
            case (FileInfo(), EntryAttributes()):
                self._entry(result[1], record)
            case bytes() | memoryview():
                record["result"] = (
                    text(bytes(result)) if operation == "readlink" else content(result)
                )
            case pyfuse3.StatvfsData():
                record["namemax"] = result.f_namemax
            case list() | tuple():
                record["result"] = [text(name) for name in result]
            case int():
                record["listing" if operation == "opendir" else "result"] = result
        if operation == "readdir":
            record["result"] = self._listed[:]
        self._listed.clear()

    def _entry(self, entry: EntryAttributes, record: Record) -> None:
        if not entry.st_ino:
            # What is not there is no error for FUSE, so that the kernel may remember it.
            record["errno"] = "ENOENT"
            return
        record.setdefault("id", entry.st_ino)
        record["attr"] = {
            "mode": entry.st_mode,
            "uid": entry.st_uid,
            "gid": entry.st_gid,
            "size": entry.st_size,
            "nlink": entry.st_nlink,
            "rdev": entry.st_rdev,
            "mtime": entry.st_mtime_ns,
        }


def _settings(attr: EntryAttributes, fields: Any) -> Record:
    """What a setattr sets."""
    wanted = {
        "mode": (fields.update_mode, attr.st_mode),
        "uid": (fields.update_uid, attr.st_uid),
        "gid": (fields.update_gid, attr.st_gid),
        "size": (fields.update_size, attr.st_size),
        "atime": (fields.update_atime, attr.st_atime_ns),
        "mtime": (fields.update_mtime, attr.st_mtime_ns),
    }
    return {name: value for name, (asked, value) in wanted.items() if asked}


def _written_content(data: bytes) -> Record:
    """What is recorded of a write: all of it when it is short, else its size."""
    if len(data) <= WRITTEN_BYTES:
        return {"size": len(data), "data": bytes(data).decode("latin-1")}
    return {"size": len(data)}
