"""Who the process is: docker's `USER[:GROUP]`, resolved from the image's own passwd and group.

Both files are the image's word, so they are read inside the root, as regular files only, up to a
fixed size, and every number is checked (CVE-2024-9676, CVE-2024-40635, CVE-2026-47262).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from layertool.errors import LayertoolError
from layertool.sandbox import inroot
from layertool.sandbox.process import FAILED

_FILE_LIMIT: Final = 1 << 20
_GROUPS_LIMIT: Final = 1024
#: docker's limit: a larger id would wrap to a negative number, or to root, in some C code.
_MAX_ID: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Identity:
    """Numbers for setresuid(2), setresgid(2), setgroups(2), and the home directory."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str

    @property
    def is_root(self) -> bool:
        """Root with no group but its own."""
        return self.uid == 0 and self.gid == 0 and not set(self.groups) - {0}


def resolve(root_fd: int, user: str, extra_groups: Sequence[str] = ()) -> Identity:
    """Resolve `NAME|UID[:GROUP|GID]` inside a root; empty means root.

    Follows docker: a user named by number needs no passwd entry; supplementary groups come from
    the group file unless a group was given. Raises LayertoolError for an unknown name or an id out
    of range.
    """
    user_part, _, group_part = user.partition(":")
    user_part = user_part or "0"
    name, uid, gid, home = _find_user(root_fd, user_part)
    memberships: tuple[int, ...] = ()
    if group_part:
        gid = _find_group(root_fd, group_part)
    elif name is not None:
        memberships = tuple(_memberships(root_fd, name))
    extra = tuple(_find_group(root_fd, group) for group in extra_groups)
    return Identity(uid, gid, tuple(dict.fromkeys(memberships + extra)), home)


def _find_user(root_fd: int, wanted: str) -> tuple[str | None, int, int, str]:
    """(name, uid, gid, home); the name is None for a number that passwd does not list."""
    number = _number(wanted, "user")
    for fields in _records(root_fd, "/etc/passwd", 7):
        if wanted == fields[0] or (number is not None and fields[2] == str(number)):
            uid, gid = _number(fields[2], "user"), _number(fields[3], "group")
            if uid is not None and gid is not None:
                return fields[0], uid, gid, fields[5] or "/"
    if number is None:
        raise LayertoolError(
            f"user {wanted}: not in the image's /etc/passwd; give a number instead",
            exit_code=FAILED,
        )
    return None, number, 0, "/root" if number == 0 else "/"


def _find_group(root_fd: int, wanted: str) -> int:
    for fields in _records(root_fd, "/etc/group", 4):
        if wanted == fields[0]:
            gid = _number(fields[2], "group")
            if gid is not None:
                return gid
    number = _number(wanted, "group")
    if number is None:
        raise LayertoolError(
            f"group {wanted}: not in the image's /etc/group; give a number instead",
            exit_code=FAILED,
        )
    return number


def _memberships(root_fd: int, name: str) -> Iterator[int]:
    found = 0
    for fields in _records(root_fd, "/etc/group", 4):
        if name in fields[3].split(","):
            gid = _number(fields[2], "group")
            if gid is not None and found < _GROUPS_LIMIT:
                found += 1
                yield gid


def _records(root_fd: int, path: str, fields: int) -> Iterator[list[str]]:
    content = inroot.read_file(root_fd, path, _FILE_LIMIT) or b""
    for line in content.decode("utf-8", "surrogateescape").split("\n"):
        record = line.strip().split(":")
        if len(record) >= fields:
            yield record


def _number(text: str, what: str) -> int | None:
    """A decimal id, None if `text` is not one; out of range is an error, not a name."""
    if not (text.isascii() and text.isdigit()):
        return None
    if len(text) > 10 or int(text) > _MAX_ID:
        raise LayertoolError(
            f"{what} {text[:32]}: ids must be between 0 and {_MAX_ID}", exit_code=FAILED
        )
    return int(text)
