"""The vocabulary: one small operation on paths below a mountpoint, with its answer as a value.

An Operation is data: it can be stored as a JSON line, run on any mount, and printed as Python that
somebody can paste into a bug report.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

_libc = ctypes.CDLL(None, use_errno=True)
_AT_FDCWD = -100

Answer = str | int | bytes | list[str] | tuple[int, ...] | None
"""What a call answered; an error is the text ``errno NAME``."""


@dataclass(frozen=True, slots=True)
class Operation:
    """*name* is a key of VOCABULARY; *path* and *other* are relative; *number* as the call needs."""

    name: str
    path: str
    other: str = ""
    number: int = 0

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Operation:
        """Read one line; raises ValueError for another shape."""
        try:
            found = cls(**json.loads(line))
        except TypeError as error:
            raise ValueError(f"not an operation: {error}") from None
        if found.name not in VOCABULARY:
            raise ValueError(f"unknown operation {found.name}; known: {', '.join(VOCABULARY)}")
        return found


@dataclass(frozen=True, slots=True)
class Word:
    """How an operation is run, and the Python that does the same; {p}, {q}, {n} are its operands."""

    code: str
    call: Callable[[str, str, int], Answer]


def _write_at(path: str, flags: int, data: bytes, offset: int | None) -> None:
    fd = os.open(path, flags | os.O_NONBLOCK, 0o640)
    try:
        if offset is None:
            os.write(fd, data)
        else:
            os.pwrite(fd, data, offset)
    finally:
        os.close(fd)


def _renameat2(old: str, new: str, flags: int) -> None:
    if _libc.renameat2(_AT_FDCWD, os.fsencode(old), _AT_FDCWD, os.fsencode(new), flags) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _remove_tree(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def _read(path: str) -> bytes | None:
    if not stat.S_ISREG(os.lstat(path).st_mode):
        return None
    with open(path, "rb") as file:
        return file.read()


def _stat(path: str) -> tuple[int, ...]:
    st = os.lstat(path)
    return (st.st_mode, st.st_uid, st.st_gid, 0 if stat.S_ISDIR(st.st_mode) else st.st_size)


def _unless_symlink(path: str, call: Callable[[], None]) -> None:
    """chmod and xattr calls follow links, so their target would be hit: not below the mount."""
    if not os.path.islink(path):
        call()


def _truncate(path: str, size: int) -> None:
    if not stat.S_ISFIFO(os.lstat(path).st_mode):
        os.truncate(path, size)


_CREATE = os.O_CREAT | os.O_EXCL | os.O_RDWR

VOCABULARY: dict[str, Word] = {
    "create": Word(
        "fd = os.open({p}, os.O_CREAT|os.O_EXCL|os.O_RDWR, 0o640); os.write(fd, b'new{n}'); os.close(fd)",
        lambda p, q, n: _write_at(p, _CREATE, b"new%d" % n, None),
    ),
    "write": Word(
        "fd = os.open({p}, os.O_WRONLY|os.O_NONBLOCK); os.pwrite(fd, b'W{n}', {n}); os.close(fd)",
        lambda p, q, n: _write_at(p, os.O_WRONLY, b"W%d" % n, n),
    ),
    "append": Word(
        "fd = os.open({p}, os.O_WRONLY|os.O_APPEND|os.O_NONBLOCK); os.write(fd, b'A{n}'); os.close(fd)",
        lambda p, q, n: _write_at(p, os.O_WRONLY | os.O_APPEND, b"A%d" % n, None),
    ),
    "mkdir": Word(
        "os.mkdir({p}, 0o2750 if {n} == 0 else 0o755)",
        lambda p, q, n: os.mkdir(p, 0o2750 if n == 0 else 0o755),
    ),
    "unlink": Word("os.unlink({p})", lambda p, q, n: os.unlink(p)),
    "rmdir": Word("os.rmdir({p})", lambda p, q, n: os.rmdir(p)),
    "rename": Word("os.rename({p}, {q})", lambda p, q, n: os.rename(p, q)),
    "noreplace": Word("renameat2({p}, {q}, 1)", lambda p, q, n: _renameat2(p, q, 1)),
    "exchange": Word("renameat2({p}, {q}, 2)", lambda p, q, n: _renameat2(p, q, 2)),
    "link": Word(
        "os.link({p}, {q}, follow_symlinks=False)",
        lambda p, q, n: os.link(p, q, follow_symlinks=False),
    ),
    "symlink": Word("os.symlink('t{n}', {p})", lambda p, q, n: os.symlink(f"t{n}", p)),
    "chmod": Word(
        "os.path.islink({p}) or os.chmod({p}, 0o600 + {n})",
        lambda p, q, n: _unless_symlink(p, lambda: os.chmod(p, 0o600 + n)),
    ),
    "chown": Word(
        "os.chown({p}, {n}, {n}, follow_symlinks=False)",
        lambda p, q, n: os.chown(p, n, n, follow_symlinks=False),
    ),
    "truncate": Word("os.truncate({p}, {n})", lambda p, q, n: _truncate(p, n)),
    "utime": Word(
        "os.utime({p}, ns=({n}, {n}), follow_symlinks=False)",
        lambda p, q, n: os.utime(p, ns=(n, n), follow_symlinks=False),
    ),
    "setxattr": Word(
        "os.path.islink({p}) or os.setxattr({p}, 'user.t', b'{n}')",
        lambda p, q, n: _unless_symlink(p, lambda: os.setxattr(p, "user.t", b"%d" % n)),
    ),
    "removexattr": Word(
        "os.path.islink({p}) or os.removexattr({p}, 'user.t')",
        lambda p, q, n: _unless_symlink(p, lambda: os.removexattr(p, "user.t")),
    ),
    "mkfifo": Word("os.mkfifo({p})", lambda p, q, n: os.mkfifo(p)),
    "rmtree": Word("shutil.rmtree({p})", lambda p, q, n: _remove_tree(p)),
    "read": Word("print(open({p}, 'rb').read())", lambda p, q, n: _read(p)),
    "readdir": Word("print(sorted(os.listdir({p})))", lambda p, q, n: sorted(os.listdir(p))),
    "stat": Word("print(os.lstat({p}))", lambda p, q, n: _stat(p)),
}


def run_one(root: str, operation: Operation) -> Answer:
    """Carry out one operation below *root*."""
    word = VOCABULARY[operation.name]
    try:
        return word.call(f"{root}/{operation.path}", f"{root}/{operation.other}", operation.number)
    except OSError as error:
        return f"errno {errno_name(error.errno or 0)}"


def run(root: str, operations: Iterable[Operation]) -> list[Answer]:
    """Carry out operations in order; their answers."""
    return [run_one(root, operation) for operation in operations]


def errno_name(code: int) -> str:
    """``ENOENT`` for 2."""
    import errno

    return errno.errorcode.get(code, str(code))


def script(operations: Iterable[Operation]) -> str:
    """Python that does the same in the current directory, ready to be pasted."""
    lines = []
    for op in operations:
        code = VOCABULARY[op.name].code
        lines.append(code.format(p=repr(op.path), q=repr(op.other), n=op.number))
    return "\n".join(lines)
