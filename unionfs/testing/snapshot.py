"""What a tree looks like: one record for each path, taken by walking it as a program would."""

from __future__ import annotations

import errno
import os
import stat
from typing import Any

from unionfs.testing.calls import TYPES, stat_result, summary

Record = dict[str, Any]
Tree = dict[str, Record]


def snapshot(root: str) -> Tree:
    """Every object below root, by path relative to it ("." is the root itself).

    Symlinks are not followed. What fails is part of the picture: the name of the errno takes the
    place of the value, and listed says what readdir(3) told about the entry beforehand.
    """
    tree: Tree = {".": describe(root)}
    pending = [""]
    while pending:
        prefix = pending.pop()
        here = os.path.join(root, prefix)
        try:
            with os.scandir(here) as found:
                entries = sorted(found, key=lambda e: e.name)
        except OSError as error:
            tree[prefix or "."]["listing"] = error_name(error)
            continue
        for entry in entries:
            path = os.path.join(prefix, entry.name)
            record = describe(os.path.join(root, path))
            record["listed"] = [entry_type(entry), entry.inode()]
            tree[path] = record
            if record.get("type") == "dir":
                pending.append(path)
    return tree


def describe(path: str) -> Record:
    """Status, xattrs and content of one object."""
    try:
        record = stat_result(os.lstat(path))
    except OSError as error:
        return {"errno": error_name(error)}
    record["xattrs"] = xattrs(path)
    if record["type"] == "file":
        record["content"] = content(path)
    elif record["type"] == "symlink":
        record["content"] = os.readlink(path)
    return record


def xattrs(path: str) -> dict[str, str]:
    """All visible xattrs with their values."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
        return {
            name: summary(os.getxattr(path, name, follow_symlinks=False)) for name in sorted(names)
        }
    except OSError as error:
        return {"": error_name(error)}


def content(path: str) -> str:
    """Length and bytes or hash of a regular file."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(number, "rb") as file:
            return summary(file.read())
    except OSError as error:
        return error_name(error)


def entry_type(entry: os.DirEntry[str]) -> str:
    """The type of a directory entry as d_type gives it."""
    if entry.is_symlink():
        return "symlink"
    if entry.is_dir(follow_symlinks=False):
        return "dir"
    if entry.is_file(follow_symlinks=False):
        return "file"
    # DirEntry does not tell the others apart without a stat.
    return TYPES[stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode)]


def error_name(error: OSError) -> str:
    """ "ENOENT" and the like."""
    return errno.errorcode.get(error.errno or 0, str(error.errno))


def raw(path: str) -> Record | None:
    """One object of a layer directory behind the mount's back, or None when nothing is there."""
    try:
        record = stat_result(os.lstat(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    record["atime"] = os.lstat(path).st_atime_ns
    record["whiteout"] = record["type"] == "char" and record["rdev"] == "0:0"
    record["xattrs"] = xattrs(path)
    if record["type"] == "dir":
        record["names"] = sorted(os.listdir(path))
    return record


def fingerprint(root: str) -> dict[str, list[int]]:
    """What must not change in a lower layer: inode, size, and the three times of every object."""
    marks: dict[str, list[int]] = {}
    for directory, names, files in os.walk(root):
        for name in [".", *names, *files]:
            path = os.path.normpath(os.path.join(directory, name))
            st = os.lstat(path)
            marks[os.path.relpath(path, root)] = [
                st.st_ino, st.st_size, st.st_atime_ns, st.st_mtime_ns, st.st_ctime_ns
            ]  # fmt: skip
    return marks
