"""Faults on purpose (``-o faults=RULES``): calls on upper and work fail, wait, or are the last one.

A rule is ``KIND:WHICH:ACTION``; rules are joined by ``+``. KIND is one of `KINDS` or ``*`` for any,
WHICH the number of the call counted from the first request, or ``*`` for each, ACTION the name of an
errno, ``delay=50ms``, ``kill-before`` or ``kill-after``:
``renameat2:3:EIO+fsync:1:kill-before+write:*:delay=50ms``.

Installed by giving the modules that touch the disk another ``os``, so that without it nothing is paid.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from unionfs.errors import UnionError

if TYPE_CHECKING:
    from unionfs.upper import Upper

T = TypeVar("T")

KINDS: dict[str, tuple[str, ...]] = {
    "open": ("openat",),
    "mkdir": ("mkdirat",),
    "mknod": ("mknodat",),
    "symlink": ("symlinkat",),
    "link": ("linkat",),
    "rename": ("renameat", "renameat2"),
    "unlink": ("unlinkat",),
    "rmdir": (),
    "chmod": ("fchmod", "fchmodat"),
    "chown": ("fchown", "fchownat"),
    "utime": ("utimensat",),
    "setxattr": ("fsetxattr", "lsetxattr"),
    "removexattr": ("fremovexattr", "lremovexattr"),
    "truncate": ("ftruncate",),
    "write": ("pwrite", "pwrite64"),
    "copy": ("copy_file_range",),
    "fsync": ("fdatasync",),
}
"""What can be made to fail, and its other names: every form of a call counts as one kind."""

_SPELLINGS = {name: kind for kind, more in KINDS.items() for name in (kind, *more)}
_ERRNOS = {name: code for code, name in errno.errorcode.items()}
_DELAY = re.compile(r"delay=(\d{1,6})(us|ms|s)", re.ASCII)
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_KILLS = ("kill-before", "kill-after")

SHAPE = (
    "KIND:WHICH:ACTION joined by +, as in renameat2:3:EIO+fsync:1:kill-before+write:*:delay=50ms"
)


class Rule(NamedTuple):
    """What happens at which call: *kind* and *which* are None for any and for each.

    *action* is ``kill-before``, ``kill-after``, ``delay=…`` or the name of an errno.
    """

    kind: str | None
    which: int | None
    action: str

    def __str__(self) -> str:
        return f"{self.kind or '*'}:{self.which or '*'}:{self.action}"

    @property
    def seconds(self) -> float:
        """How long the call is delayed."""
        found = _DELAY.fullmatch(self.action)
        return int(found[1]) * _SECONDS[found[2]] if found else 0.0

    @property
    def code(self) -> int:
        """The errno that the call fails with, 0 for none."""
        return _ERRNOS.get(self.action, 0)


def parse_rules(text: str) -> tuple[Rule, ...]:
    """Read rules; ValueError says what was expected."""
    return tuple(_parse_rule(item) for item in text.split("+"))


def _parse_rule(text: str) -> Rule:
    parts = text.split(":")
    if len(parts) != 3:
        raise ValueError(SHAPE)
    kind, which, action = parts
    if kind != "*" and kind not in _SPELLINGS:
        raise ValueError(f"one of {', '.join(KINDS)} or * before the first colon of {text!r}")
    if which != "*" and not re.fullmatch("[1-9][0-9]{0,8}", which, re.ASCII):
        raise ValueError(f"the number of a call from 1, or *, between the colons of {text!r}")
    if action not in _KILLS and action not in _ERRNOS and not _DELAY.fullmatch(action):
        raise ValueError(
            f"the name of an errno, delay=NUMBER with us, ms or s, kill-before or kill-after at the "
            f"end of {text!r}"
        )
    return Rule(_SPELLINGS.get(kind), None if which == "*" else int(which), action)


def install(rules: Sequence[Rule], upper: Upper | None) -> str:
    """Apply *rules* to all that this process does from now on; returns a warning for people.

    Raises UnionError for a read-only mount.
    """
    from unionfs import copyup, layer, operations, promote, syscalls, union
    from unionfs import upper as upper_module

    if upper is None:
        raise UnionError("faults= is about calls on upperdir; give upperdir= and workdir=, not ro")
    below = [os.readlink(b"/proc/self/fd/%d" % fd) for fd in (upper.root_fd, upper.work_fd)]
    faults = Faults(rules, below)
    replaced = faults.replacement()
    for module in (copyup, layer, operations, promote, union, upper_module):
        module.os = replaced  # type: ignore[attr-defined]
    syscalls.renameat2 = faults.wrapped("rename", syscalls.renameat2)
    return f"calls fail on purpose: faults={'+'.join(map(str, rules))}"


class Faults:
    """Counts calls and does what *rules* say about them.

    *below* are the directories whose objects count, as the kernel writes their paths.
    """

    def __init__(self, rules: Sequence[Rule], below: Sequence[bytes]) -> None:
        self._rules = rules
        self._below = tuple(below)
        self._calls = {kind: count(1) for kind in KINDS}
        self._all = count(1)

    def replacement(self) -> ModuleType:
        """The module ``os`` with calls that count."""
        faulty = ModuleType("os")
        vars(faulty).update(vars(os))
        for name, kind in _SPELLINGS.items():
            if hasattr(os, name):
                setattr(faulty, name, self.wrapped(kind, getattr(os, name)))
        return faulty

    def wrapped(self, kind: str, call: Callable[..., T]) -> Callable[..., T]:
        """*call* as one that counts as *kind*."""

        @functools.wraps(call)
        def faulty(*args: Any, **named: Any) -> T:
            if not self._counts(named.get("dir_fd")):
                return call(*args, **named)
            due = list(self._due(kind))
            for rule in due:
                _before(rule)
            try:
                return call(*args, **named)
            finally:
                if any(rule.action == "kill-after" for rule in due):
                    _die()

        return faulty

    def _counts(self, dir_fd: int | None) -> bool:
        """Whether a call relative to *dir_fd* is below upper or work, and not in a lower layer.

        What is named without a directory is a descriptor or its name in /proc; of lower objects
        nobody needs one for any of `KINDS`.
        """
        if dir_fd is None:
            return True
        where = os.readlink(b"/proc/self/fd/%d" % dir_fd)
        return any(where == top or where.startswith(top + b"/") for top in self._below)

    def _due(self, kind: str) -> Iterator[Rule]:
        """The rules for this call, which is counted thereby (next() is atomic among threads)."""
        mine, total = next(self._calls[kind]), next(self._all)
        for rule in self._rules:
            number = total if rule.kind is None else mine
            if rule.kind in (None, kind) and rule.which in (None, number):
                yield rule


def _before(rule: Rule) -> None:
    if rule.action == "kill-before":
        _die()
    if rule.code:
        raise OSError(rule.code, os.strerror(rule.code))
    time.sleep(rule.seconds)


def _die() -> None:
    """End as a crash would, without another line of code run."""
    os.kill(os.getpid(), signal.SIGKILL)
