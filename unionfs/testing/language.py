"""The operation language: what the lab can ask of a mounted file system.

An operation is a frozen dataclass. Its name in snake_case is the name of the `calls.Actor` method
that does it, and its fields are that method's arguments, so a sequence can be stored (JSONL), run
and printed from the same object. Paths are relative to the root of the mount; text that is not
UTF-8 is carried by surrogate escapes as in `os.fsdecode`. Times are in ns, sizes in bytes.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgspec

from unionfs.errors import UnionError


@dataclass(frozen=True, slots=True)
class Identity:
    """Who an actor is: its user, its group, and no supplementary groups."""

    uid: int
    gid: int


# Each actor is a process of its own. 0 and 1 are both root, to meet locks and foreign descriptors;
# 2 and 3 are two users without privileges.
ACTORS: Mapping[int, Identity] = {
    0: Identity(0, 0),
    1: Identity(0, 0),
    2: Identity(1000, 1000),
    3: Identity(1001, 1001),
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One step of a sequence; `who` is the actor that does it."""

    vocabulary: ClassVar[dict[str, type[Operation]]] = {}

    who: int = field(default=0, kw_only=True)

    def __init_subclass__(cls, *, abstract: bool = False) -> None:
        if not abstract:
            Operation.vocabulary[operation_name(cls)] = cls

    @property
    def verb(self) -> str:
        """The name in JSON, and of the method in `calls.Actor`."""
        return operation_name(type(self))

    def arguments(self) -> dict[str, Any]:
        """The fields without `who`, in order."""
        return {
            f.name: list(value) if isinstance(value := getattr(self, f.name), tuple) else value
            for f in dataclasses.fields(self)
            if f.name != "who"
        }

    def __str__(self) -> str:
        arguments = ", ".join(repr(value) for value in self.arguments().values())
        actor = f" as actor {self.who}" if self.who else ""
        return f"{self.verb}({arguments}){actor}"


def operation_name(cls: type[Operation]) -> str:
    """CamelCase class name to the snake_case name of the operation."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()


# --- by descriptor -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Open(Operation):
    """open(2); flags are names joined by | without their O_, such as "RDWR|CREAT"."""

    fd: int
    path: str
    flags: str
    mode: int = 0o666


@dataclass(frozen=True, slots=True)
class Close(Operation):
    fd: int


@dataclass(frozen=True, slots=True)
class Read(Operation):
    """read(2), or pread(2) with an offset."""

    fd: int
    size: int
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Write(Operation):
    """write(2) of text repeated, or pwrite(2) with an offset."""

    fd: int
    text: str
    times: int = 1
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Seek(Operation):
    """lseek(2); whence is set, cur, end, data or hole."""

    fd: int
    offset: int
    whence: str = "set"


@dataclass(frozen=True, slots=True)
class Ftruncate(Operation):
    fd: int
    size: int


@dataclass(frozen=True, slots=True)
class Fallocate(Operation):
    """fallocate(2); mode is allocate, keep-size, punch or zero."""

    fd: int
    mode: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Fsync(Operation):
    fd: int


@dataclass(frozen=True, slots=True)
class Fstat(Operation):
    fd: int


@dataclass(frozen=True, slots=True)
class Fchmod(Operation):
    fd: int
    mode: int


@dataclass(frozen=True, slots=True)
class Fchown(Operation):
    fd: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Futimens(Operation):
    fd: int
    atime: int
    mtime: int


@dataclass(frozen=True, slots=True)
class Fsetxattr(Operation):
    fd: int
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Fgetxattr(Operation):
    fd: int
    name: str


@dataclass(frozen=True, slots=True)
class Reopen(Operation):
    """open(2) of /proc/self/fd/N: the way a program gets another mode of an open file."""

    fd: int
    source: int
    flags: str


@dataclass(frozen=True, slots=True)
class LinkFd(Operation):
    """linkat(2) of an open file: gives a name to what O_TMPFILE or unlink left without one."""

    fd: int
    path: str


@dataclass(frozen=True, slots=True)
class CopyRange(Operation):
    """copy_file_range(2) from offset 0 to offset 0."""

    source: int
    target: int
    length: int


@dataclass(frozen=True, slots=True)
class Clone(Operation):
    """ioctl FICLONE."""

    source: int
    target: int


@dataclass(frozen=True, slots=True)
class Flock(Operation):
    """flock(2), never waiting; kind is shared, exclusive or unlock."""

    fd: int
    kind: str


@dataclass(frozen=True, slots=True)
class PosixLock(Operation):
    """fcntl(2) F_SETLK."""

    fd: int
    kind: str
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Map(Operation):
    """mmap(2) MAP_SHARED; access is read or write."""

    area: int
    fd: int
    length: int
    access: str


@dataclass(frozen=True, slots=True)
class MapRead(Operation):
    area: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class MapWrite(Operation):
    area: int
    offset: int
    text: str


@dataclass(frozen=True, slots=True)
class MapSync(Operation):
    area: int


@dataclass(frozen=True, slots=True)
class Unmap(Operation):
    area: int


# --- by path ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stat(Operation):
    """lstat(2)."""

    path: str


@dataclass(frozen=True, slots=True)
class Access(Operation):
    """faccessat(2) with effective ids; mode is exists, read, write or execute."""

    path: str
    mode: str


@dataclass(frozen=True, slots=True)
class NameMax(Operation):
    """statvfs(3) f_namemax."""

    path: str


@dataclass(frozen=True, slots=True)
class ReadFile(Operation):
    path: str


@dataclass(frozen=True, slots=True)
class WriteFile(Operation):
    """What a shell does: > is truncate, >> is append, 1<> is inside."""

    path: str
    text: str
    times: int = 1
    how: str = "truncate"


@dataclass(frozen=True, slots=True)
class Create(Operation):
    """open(2) with O_CREAT and O_EXCL, then close(2)."""

    path: str
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Truncate(Operation):
    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Mkdir(Operation):
    path: str
    mode: int = 0o755


@dataclass(frozen=True, slots=True)
class Rmdir(Operation):
    path: str


@dataclass(frozen=True, slots=True)
class Unlink(Operation):
    path: str


@dataclass(frozen=True, slots=True)
class Rename(Operation):
    """renameat2(2); flags are noreplace, exchange and whiteout, joined by |."""

    source: str
    target: str
    flags: str = ""


@dataclass(frozen=True, slots=True)
class Link(Operation):
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Symlink(Operation):
    target: str
    path: str


@dataclass(frozen=True, slots=True)
class Readlink(Operation):
    path: str


@dataclass(frozen=True, slots=True)
class Mknod(Operation):
    """mknod(2); kind as in `calls.TYPES`."""

    path: str
    kind: str
    mode: int = 0o644
    major: int = 0
    minor: int = 0


@dataclass(frozen=True, slots=True)
class Chmod(Operation):
    path: str
    mode: int


@dataclass(frozen=True, slots=True)
class Chown(Operation):
    """lchown(2)."""

    path: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Utimens(Operation):
    """utimensat(2), not following."""

    path: str
    atime: int
    mtime: int


@dataclass(frozen=True, slots=True)
class SetXattr(Operation):
    """lsetxattr(2); how is any, create or replace."""

    path: str
    name: str
    value: str
    how: str = "any"


@dataclass(frozen=True, slots=True)
class GetXattr(Operation):
    path: str
    name: str


@dataclass(frozen=True, slots=True)
class RemoveXattr(Operation):
    path: str
    name: str


@dataclass(frozen=True, slots=True)
class ListXattrs(Operation):
    path: str


@dataclass(frozen=True, slots=True)
class SetDefaultAcl(Operation):
    """A default ACL (acl(5)) of the three base entries and a mask equal to the group's."""

    path: str
    user: int
    group: int
    other: int


@dataclass(frozen=True, slots=True)
class GetFlags(Operation):
    """ioctl FS_IOC_GETFLAGS, as lsattr(1)."""

    path: str


@dataclass(frozen=True, slots=True)
class ListDir(Operation):
    """Names with their types, sorted."""

    path: str


@dataclass(frozen=True, slots=True)
class Misnumbered(Operation):
    """Names to which readdir(3) gives another inode number than lstat(2) does, sorted."""

    path: str


@dataclass(frozen=True, slots=True)
class OpenDir(Operation):
    stream: int
    path: str


@dataclass(frozen=True, slots=True)
class ReadDir(Operation):
    """Up to count entries of readdir(3), in the order they come."""

    stream: int
    count: int


@dataclass(frozen=True, slots=True)
class TellDir(Operation):
    stream: int
    mark: int


@dataclass(frozen=True, slots=True)
class SeekDir(Operation):
    stream: int
    mark: int


@dataclass(frozen=True, slots=True)
class RewindDir(Operation):
    stream: int


@dataclass(frozen=True, slots=True)
class CloseDir(Operation):
    stream: int


@dataclass(frozen=True, slots=True)
class RemoveWhileReading(Operation):
    """unlink(2) of every entry while the directory is being read; answers how many there were."""

    path: str


@dataclass(frozen=True, slots=True)
class RemoveTree(Operation):
    """rm -rf of one path, stopping at the first error."""

    path: str


@dataclass(frozen=True, slots=True)
class CreateMany(Operation):
    path: str
    count: int


@dataclass(frozen=True, slots=True)
class Umask(Operation):
    mask: int


@dataclass(frozen=True, slots=True)
class Start(Operation):
    """Run a program of the mount and leave it running."""

    child: int
    path: str
    args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stop(Operation):
    """SIGKILL and wait."""

    child: int


# --- by the bench, not by an actor ---------------------------------------------------------------


class BenchOperation(Operation, abstract=True):
    """Done by the lab itself, from outside the mount."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Remount(BenchOperation):
    """Unmount and mount again; every actor is gone after it."""


@dataclass(frozen=True, slots=True)
class RawUpper(BenchOperation):
    """What lies at this path in the upper directory, behind the mount's back."""

    path: str


@dataclass(frozen=True, slots=True)
class RawLower(BenchOperation):
    """What lies at this path in a lower directory (0 is the top one), with its access time."""

    path: str
    layer: int = 0


def encode(operation: Operation) -> dict[str, Any]:
    """An operation as one JSON object."""
    record: dict[str, Any] = {"op": operation.verb, "args": operation.arguments()}
    if operation.who:
        record["who"] = operation.who
    return record


def decode(record: Mapping[str, Any]) -> Operation:
    """The operation of one JSON object; UnionError names what is wrong with it."""
    cls = Operation.vocabulary.get(str(record.get("op")))
    if cls is None:
        raise UnionError(f"unknown operation {record.get('op')!r} in the sequence")
    try:
        # The types too: os.lstat(3) would be another question than os.lstat("3").
        operation = msgspec.convert({**record.get("args", {}), "who": record.get("who", 0)}, cls)
    except (TypeError, msgspec.ValidationError) as error:
        raise UnionError(f"operation {record['op']!r}: {error}") from None
    unknown = record.get("args", {}).keys() - operation.arguments().keys()
    if unknown or operation.who not in ACTORS:
        what = f"argument {min(unknown)!r}" if unknown else f"actor {operation.who}"
        raise UnionError(f"operation {record['op']!r}: there is no {what}")
    return operation


def dump(operations: Iterable[Operation]) -> str:
    """A sequence as JSONL."""
    return "".join(json.dumps(encode(operation)) + "\n" for operation in operations)


def load(lines: Iterable[str], first: int = 1) -> list[Operation]:
    """The sequence of JSONL lines; empty lines are passed over. first is the number of line one."""
    operations = []
    for number, line in enumerate(lines, first):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise UnionError(f"line {number} is not JSON: {error}") from None
        if not isinstance(record, dict):
            raise UnionError(f"line {number} is not a JSON object")
        try:
            operations.append(decode(record))
        except UnionError as error:
            raise UnionError(f"line {number}: {error}") from None
    return operations
