"""Reading a trace that ``-o trace=FILE`` wrote, and hiding in it what is private.

A trace comes from somebody else, and is replayed by root: what could lead out of the mount or fill
the machine is refused here, as a line number and a reason.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from unionfs.errors import UnionError
from unionfs.testing import layers
from unionfs.testing.layers import Layers
from unionfs.trace import FORMAT

Record = dict[str, Any]

MOST_WRITTEN = 16 << 20
PATHS = ("path", "new path")
_KEPT_XATTRS = ("security.", "system.", "trusted.overlay.", "user.overlay.")


@dataclass(frozen=True)
class Trace:
    """A trace: its first line, and its requests with their line numbers."""

    header: Record
    requests: list[tuple[int, Record]]
    end: str
    """Why there are no more requests."""

    @property
    def anonymised(self) -> bool:
        """Whether names are hashes and content is not there."""
        return bool(self.header.get("anonymised"))

    def layers(self) -> Layers | None:
        """What was mounted, the upper of then first; None when that was too much to record."""
        recorded = self.header.get("layers")
        if recorded is None:
            return None
        stack = layers.decode(json.dumps(recorded))
        for layer in stack:
            _check_layer(layer)
        return stack


def read(path: str) -> Trace:
    """The trace in a file; UnionError when it is none, with the line."""
    with open(path, encoding="utf-8", errors="surrogateescape") as lines:
        records = list(_records(lines))
    if not records or records[0][1].get("trace") != FORMAT:
        raise UnionError(f"{path}: no trace of this version; make one with -o trace=FILE")
    (_, header), *requests = records
    end = "the last line is missing: the daemon was killed"
    if requests and "end" in requests[-1][1]:
        end = str(requests.pop()[1]["end"])
    for number, record in requests:
        _check(number, record)
    return Trace(header, requests, end)


def _records(lines: Iterable[str]) -> Iterator[tuple[int, Record]]:
    for number, line in enumerate(lines, 1):
        if not line.endswith("\n"):
            return  # cut off by a crash
        try:
            record = json.loads(line)
        except ValueError as error:
            raise UnionError(f"line {number}: not JSON: {error}") from None
        if not isinstance(record, dict):
            raise UnionError(f"line {number}: not a JSON object")
        yield number, record


def _check(number: int, record: Record) -> None:
    if not isinstance(record.get("op"), str):
        raise UnionError(f"line {number}: not a request: it has no op")
    for name in PATHS:
        path = record.get(name)
        if path is not None and path != "." and not _is_inside(path):
            raise UnionError(f"line {number}: {path!r} is not a path inside a mount")
    size = record.get("size", 0)
    if not isinstance(size, int) or not 0 <= size <= MOST_WRITTEN:
        raise UnionError(f"line {number}: no request has {size!r} bytes")


def _is_inside(path: object) -> bool:
    return isinstance(path, str) and not {"", ".", ".."} & set(path.split("/")) and "\0" not in path


def _check_layer(layer: layers.Layer) -> None:
    """Every object lies in a directory that came before it, so that none is made elsewhere."""
    directories, others = {""}, set[str]()
    for entry in layer:
        if not _is_inside(entry.path) or os.path.dirname(entry.path) not in directories:
            raise UnionError(
                f"the trace's layers: {entry.path!r} lies in no directory of its layer"
            )
        if entry.kind == "hardlink" and entry.target not in others:
            raise UnionError(
                f"the trace's layers: {entry.path!r} is a link to no file of its layer"
            )
        if entry.times != 1 or entry.path in directories | others:
            raise UnionError(f"the trace's layers: {entry.path!r} is not what a trace describes")
        (directories if entry.kind == "dir" else others).add(entry.path)


# --- hiding ---


def anonymise(source: str, target: str) -> None:
    """Copy a trace without names and content.

    Each component of a path becomes a hash, the same for the same component in this trace and in no
    other: the key is thrown away. ``.wh.`` prefixes stay, as do lengths of long names and of content.
    """
    trace = read(source)
    names = Names(secrets.token_bytes(32))
    with open(target, "x", encoding="ascii") as out:
        for record in (names.header(trace.header), *(names.request(r) for _, r in trace.requests)):
            out.write(json.dumps(record, separators=(",", ":")) + "\n")
        out.write(json.dumps({"end": trace.end, "requests": len(trace.requests)}) + "\n")


class Names:
    """Hides names under a key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def header(self, header: Record) -> Record:
        """The first line: without paths of the machine."""
        stack = header.get("layers")
        hidden = None if stack is None else [[self.entry(e) for e in layer] for layer in stack]
        kept: Record = {
            name: header[name] for name in ("trace", "started", "version") if name in header
        }
        return {**kept, "anonymised": True, "layers": hidden}

    def entry(self, entry: Record) -> Record:
        """An object of a layer; its content becomes a hole of the same size."""
        hidden = dict(entry, path=self.path(entry["path"]))
        if "target" in entry:
            hidden["target"] = self.path(entry["target"])
        if "text" in entry:
            hidden["size"] = entry.get("size", len(hidden.pop("text")))
        if "xattrs" in entry:
            hidden["xattrs"] = {
                self.xattr(name): self.value(name, value) for name, value in entry["xattrs"].items()
            }
        return hidden

    def request(self, record: Record) -> Record:
        """A request and its answer."""
        hidden = dict(record)
        for name in (*PATHS, "target"):
            if hidden.get(name) is not None:
                hidden[name] = self.path(hidden[name])
        if "xattr" in hidden:
            hidden["xattr"] = self.xattr(hidden["xattr"])
        if "value" in hidden:
            hidden["value"] = self.value(record["xattr"], hidden["value"])
        hidden.pop("data", None)
        if "result" in hidden:
            hidden["result"] = self.result(record["op"], hidden["result"])
        return hidden

    def result(self, operation: str, result: Any) -> Any:
        """An answer that is not a number."""
        match operation:
            case "readlink":
                return self.path(result)
            case "readdir":
                return [self.component(name) for name in result]
            case "listxattr":
                return [self.xattr(name) for name in result]
            case "read" | "getxattr":
                return result.partition(":")[0] + ":"
        return result

    def path(self, path: str) -> str:
        """A path or the text of a symlink, component by component."""
        return "/".join(self.component(part) for part in path.split("/"))

    def component(self, name: str) -> str:
        """One name."""
        if name in ("", ".", ".."):
            return name
        prefix = ".wh." if name.startswith(".wh.") else ""
        raw = name.removeprefix(prefix).encode("utf-8", "surrogateescape")
        digest = hashlib.blake2b(raw, key=self._key).hexdigest()
        return prefix + digest[: max(12, min(len(raw), len(digest)))].ljust(len(raw), "x")

    def xattr(self, name: str) -> str:
        """The name of an xattr; its namespace stays."""
        if name.startswith(_KEPT_XATTRS):
            return name
        namespace, dot, rest = name.partition(".")
        return namespace + dot + self.component(rest)

    def value(self, name: str, value: str) -> str:
        """The value of an xattr: kept where it means something to the kernel or the union."""
        if name.endswith(".overlay.redirect"):
            return self.path(value)
        return value if name.startswith(_KEPT_XATTRS) else "x" * len(value)
