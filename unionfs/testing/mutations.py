"""Every kind of change, as data: what `crash` interrupts at each system call that it makes.

A mutation is a few operations on the stack `LAYERS`, mostly one. Where the upper must hold something
beforehand, that is data too, so that a run begins with the mutation's own first call.
"""

from __future__ import annotations

from dataclasses import dataclass

from unionfs.testing.language import (
    Chmod,
    Chown,
    Close,
    Create,
    Fsync,
    Link,
    Mkdir,
    Mknod,
    Open,
    Operation,
    RemoveXattr,
    Rename,
    Rmdir,
    SetXattr,
    Symlink,
    Truncate,
    Unlink,
    Utimens,
    Write,
)
from unionfs.testing.layers import (
    Layer,
    Layers,
    directory,
    file,
    hardlink,
    special,
    symlink,
    whiteout,
)

LOWER: Layer = (
    directory("d"),
    file("d/a", "in a directory"),
    file("d/b", "beside it"),
    directory("d/sub"),
    file("d/sub/deep", "further down"),
    directory("empty"),
    directory("other"),
    file("other/o", "elsewhere"),
    directory("pub", mode=0o777),
    directory("group", mode=0o2775, gid=1000),
    file("f", "a lower file"),
    file("g", "another one", mode=0o600),
    file("suid", "program", mode=0o4755),
    file("x", "with xattrs", xattrs={"user.a": "1", "user.b": "2"}),
    file("sparse", "head", size=1 << 20),
    file("h1", "two names"),
    hardlink("h2", "h1"),
    symlink("s", "f"),
    special("p", "fifo"),
    special("c", "char", (1, 3)),
)
LAYERS: Layers = (LOWER,)

GONE: Layer = (whiteout("f"), whiteout("d"))
OWN: Layer = (
    file("u", "an upper file"),
    directory("ud", mode=0o750),
    file("ud/x", "in an upper directory"),
    directory("ue"),
)


@dataclass(frozen=True)
class Mutation:
    """A change: what is done on `LAYERS`, with *upper* in the upper beforehand.

    One that is about a *device* is not for a user namespace, where nobody can make any.
    """

    name: str
    operations: tuple[Operation, ...]
    upper: Layer = ()
    device: bool = False


def mutation(
    name: str, *operations: Operation, upper: Layer = (), device: bool = False
) -> Mutation:
    """One row of the table."""
    return Mutation(name, operations, upper, device)


MUTATIONS: tuple[Mutation, ...] = (
    mutation("create: new", Create("new")),
    mutation("create: in a lower directory", Create("d/sub/new")),
    mutation("create: over a whiteout", Create("f"), upper=GONE),
    mutation("create: by a user", Create("pub/new", who=2)),
    mutation("create: in a setgid directory", Create("group/new")),
    mutation("write: new file, fsync",
             Open(0, "new", "WRONLY|CREAT"), Write(0, "text"), Fsync(0), Close(0)),
    mutation("write: lower file, fsync", Open(0, "f", "RDWR"), Write(0, "TEXT"), Fsync(0), Close(0)),
    mutation("write: upper file, fsync", Open(0, "u", "RDWR"), Write(0, "TEXT"), Fsync(0), Close(0),
             upper=OWN),
    mutation("write: O_TRUNC of a lower file", Open(0, "f", "WRONLY|TRUNC"), Close(0)),
    mutation("copy-up: file", Chmod("f", 0o600)),
    mutation("copy-up: file in a lower directory", Chmod("d/sub/deep", 0o600)),
    mutation("copy-up: directory", Chmod("d", 0o700)),
    mutation("copy-up: symlink", Chown("s", 7, 8)),
    mutation("copy-up: fifo", Chmod("p", 0o600)),
    mutation("copy-up: device", Chmod("c", 0o600), device=True),
    mutation("copy-up: sparse file", Chmod("sparse", 0o600)),
    mutation("copy-up: hard link", Chmod("h1", 0o600)),
    mutation("copy-up: file with xattrs", Chmod("x", 0o600)),
    mutation("rename: lower file", Rename("f", "new")),
    mutation("rename: lower file over a lower file", Rename("f", "g")),
    mutation("rename: lower file onto a whiteout", Rename("g", "f"), upper=GONE),
    mutation("rename: to another directory", Rename("d/a", "other/a")),
    mutation("rename: hard link", Rename("h1", "new")),
    mutation("rename: symlink", Rename("s", "new")),
    mutation("rename: noreplace", Rename("f", "new", "noreplace")),
    mutation("rename: upper file", Rename("u", "new"), upper=OWN),
    mutation("rename: upper file over a lower file", Rename("u", "f"), upper=OWN),
    mutation("rename: upper file onto a whiteout", Rename("u", "f"), upper=OWN + GONE),
    mutation("rename: exchange of files", Rename("f", "g", "exchange")),
    mutation("rename: exchange of file and directory", Rename("f", "d", "exchange")),
    mutation("rename: exchange of directories", Rename("d", "other", "exchange")),
    mutation("rename: lower directory", Rename("d", "new")),
    mutation("rename: lower directory to another parent", Rename("d", "pub/new")),
    mutation("rename: lower directory over an empty one", Rename("d", "empty")),
    mutation("rename: lower directory over an emptied one",
             Unlink("other/o"), Rename("d", "other")),
    mutation("rename: lower directory onto a whiteout", Rename("other", "d"), upper=GONE),
    mutation("rename: upper directory", Rename("ud", "new"), upper=OWN),
    mutation("rename: upper directory onto a whiteout", Rename("ud", "d"), upper=OWN + GONE),
    mutation("rename: upper directory over a lower one", Rename("ud", "empty"), upper=OWN),
    mutation("unlink: lower file", Unlink("f")),
    mutation("unlink: in a lower directory", Unlink("d/sub/deep")),
    mutation("unlink: upper file", Unlink("u"), upper=OWN),
    mutation("unlink: upper file over a lower one", Unlink("f"), upper=(file("f", "changed"),)),
    mutation("unlink: hard link", Unlink("h1")),
    mutation("unlink: symlink", Unlink("s")),
    mutation("rmdir: lower directory", Rmdir("empty")),
    mutation("rmdir: emptied directory", Unlink("other/o"), Rmdir("other")),
    mutation("rmdir: upper directory", Rmdir("ue"), upper=OWN),
    mutation("mkdir: new", Mkdir("new")),
    mutation("mkdir: over a whiteout", Mkdir("d"), upper=GONE),
    mutation("mkdir: over a whiteout of a file", Mkdir("f"), upper=GONE),
    mutation("mkdir: by a user", Mkdir("pub/new", who=2)),
    mutation("mkdir: in a setgid directory", Mkdir("group/new")),
    mutation("symlink: new", Symlink("text", "new")),
    mutation("symlink: over a whiteout", Symlink("text", "f"), upper=GONE),
    mutation("mknod: new", Mknod("new", "fifo")),
    mutation("mknod: over a whiteout", Mknod("f", "fifo"), upper=GONE),
    mutation("mknod: by a user", Mknod("pub/new", "fifo", who=2)),
    mutation("link: lower file", Link("f", "new")),
    mutation("link: upper file", Link("u", "new"), upper=OWN),
    mutation("link: onto a whiteout", Link("g", "f"), upper=GONE),
    mutation("link: hard link", Link("h1", "new")),
    mutation("setxattr: lower file", SetXattr("f", "user.new", "v")),
    mutation("setxattr: lower directory", SetXattr("d", "user.new", "v")),
    mutation("setxattr: upper file", SetXattr("u", "user.new", "v"), upper=OWN),
    mutation("removexattr: lower file", RemoveXattr("x", "user.a")),
    mutation("chmod: upper file", Chmod("u", 0o600), upper=OWN),
    mutation("chmod: setuid file", Chmod("suid", 0o4711)),
    mutation("chown: lower file", Chown("f", 7, 8)),
    mutation("chown: setuid file", Chown("suid", 7, 8)),
    mutation("utimens: lower file", Utimens("f", 10**18, 10**18 + 1)),
    mutation("truncate: lower file", Truncate("f", 3)),
    mutation("truncate: sparse file", Truncate("sparse", 1 << 19)),
    mutation("truncate: upper file", Truncate("u", 3), upper=OWN),
)  # fmt: skip
