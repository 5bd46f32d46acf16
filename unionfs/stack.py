"""From mount options to a Union: open the layers, lock and clean the work directory, pick formats."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import formats, index, syscalls
from .errors import UnionError, printable
from .layer import DirFds, Layer
from .tree import Encode, Stack, Tree
from .union import DirRename, Union
from .upper import LINKS_PREFIX, AufsWhiteouts, Upper, pick_whiteouts, remove_tree

if TYPE_CHECKING:
    from .options import MountOptions

_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_LOCK_SECONDS = 1.0
# Descriptors that calls open and close again, copy-ups in threads among them.
_TRANSIENT_FDS = 32
_VOLATILE_MARK = (b"incompat", b"volatile", b"dirty")


@dataclass(slots=True)
class Opened:
    """A union ready to be served, and what people should be told about it."""

    union: Union
    fds: DirFds
    warnings: list[str] = field(default_factory=list)
    held: list[int] = field(default_factory=list)

    def close(self) -> None:
        """Give back every descriptor; drops the lock on upper and work."""
        self.union.close()
        self.fds.close()
        for fd in self.held:
            os.close(fd)


def raise_fd_limit() -> int:
    """Raise RLIMIT_NOFILE to its hard limit; returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def open_union(options: MountOptions, encode: Encode) -> Opened:
    """Open everything that *options* name. Raises UnionError with the path and what to do."""
    limit = raise_fd_limit()
    last_fd = limit - DirFds.FEW - _TRANSIENT_FDS
    fds = DirFds(max(DirFds.FEW, min(65536, limit // 4)), last_fd)
    held: list[int] = []
    warnings: list[str] = []
    aufs = options.aufs
    lowers = _open_layers(options.lowers, 0, fds, held, aufs=aufs)
    data = _open_layers(options.data_lowers, len(lowers), fds, held, aufs=aufs)
    top: Layer | None = None
    upper: Upper | None = None
    base_fd = -1
    if options.upper is not None:
        root_fd = _open_dir(options.upper, "upperdir")
        held.append(root_fd)
        top = Layer(root_fd, -1, options.upper, fds, aufs=aufs)
        top.noatime = os.O_NOATIME if options.noatime else 0
        if options.work is not None and not options.read_only:
            upper, base_fd = _open_upper(options, top, held, warnings)
    redirects = options.redirect_dir
    tree = Tree(
        Stack(top, lowers, data),
        fds,
        encode,
        follow_redirects=redirects != "nofollow",
        follow_metacopy=options.metacopy is not False,
    )
    rename = _dir_rename(redirects, upper)
    union = Union(tree, upper, dir_rename=rename, aufs=aufs, acls=options.acl, last_fd=last_fd)
    if upper is not None:
        index.adopt(union, base_fd)
    return Opened(union, fds, warnings, held)


def _dir_rename(wish: str | None, upper: Upper | None) -> DirRename:
    if wish in ("off", "follow", "nofollow"):
        return DirRename.REFUSE
    # The kernel follows redirects only in trusted xattrs, so others would lose the lower part.
    follows = upper is not None and upper.family == formats.TRUSTED
    if follows and not isinstance(upper and upper.whiteouts, AufsWhiteouts):
        return DirRename.REDIRECT
    return DirRename.COPY


# --- lowers ---


def _open_layers(
    paths: tuple[bytes, ...], first: int, fds: DirFds, held: list[int], *, aufs: bool
) -> tuple[Layer, ...]:
    layers = []
    for place, path in enumerate(paths, first):
        fd = _open_lower(path)
        held.append(fd)
        layers.append(Layer(fd, place, path, fds, aufs=aufs))
    return tuple(layers)


def _open_lower(path: bytes) -> int:
    """A lower's root through a private read-only clone of its mount, or plainly without privilege."""
    try:
        clone = syscalls.clone_readonly(path)
    except OSError:
        return _open_untouched(path)
    try:
        return os.open(b".", _DIR, dir_fd=clone)
    except OSError as error:
        raise _cannot_open(path, "lowerdir", error) from None
    finally:
        os.close(clone)


def _open_untouched(path: bytes) -> int:
    """Listing it leaves no access time, where it is ours."""
    try:
        return os.open(path, _DIR | os.O_NOATIME)
    except OSError:
        return _open_dir(path, "lowerdir")


def _open_dir(path: bytes, option: str) -> int:
    try:
        return os.open(path, _DIR)
    except OSError as error:
        raise _cannot_open(path, option, error) from None


def _cannot_open(path: bytes, option: str, error: OSError) -> UnionError:
    hints = {
        errno.ENOENT: "create it first",
        errno.ENOTDIR: "name a directory",
        errno.EACCES: "give this user read and search permission",
    }
    hint = hints.get(error.errno or 0, "check the path")
    return UnionError(f"{option} {printable(path)}: {error.strerror}; {hint}")


# --- upper and work ---


def _open_upper(
    options: MountOptions, top: Layer, held: list[int], warnings: list[str]
) -> tuple[Upper, int]:
    assert options.upper is not None and options.work is not None
    base_fd = _open_dir(options.work, "workdir")
    held.append(base_fd)
    for fd, path in ((top.root_fd, options.upper), (base_fd, options.work)):
        _lock(fd, path)
    work_fd = _prepare_work(base_fd, top, options)
    held.append(work_fd)
    family = formats.USER if options.userxattr else _family(work_fd)
    upper = Upper(
        top.root_fd,
        work_fd,
        family=family,
        sync=options.fsync != "volatile",
        strict=options.fsync == "strict",
    )
    why = pick_whiteouts(upper)
    if why is not None:
        warnings.append(
            f"upperdir {printable(options.upper)}: {why}; deletions are written as .wh. files, "
            "which kernel overlayfs does not read"
        )
    if options.volatile:
        _mark_volatile(work_fd)
    return upper, base_fd


def _lock(fd: int, path: bytes) -> None:
    """Two unions writing one upper would corrupt it: hold an flock(2) on its directories."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError:
            # umount(8) returns before the daemon it ends has let go.
            if time.monotonic() > deadline:
                break
        time.sleep(0.01)
    owner = _lock_owner(fd)
    by = f"process {owner}" if owner else "another process"
    raise UnionError(f"{printable(path)} is in use by a union mounted by {by}; unmount that first")


def _lock_owner(fd: int) -> int | None:
    st = os.fstat(fd)
    key = f"{os.major(st.st_dev):02x}:{os.minor(st.st_dev):02x}:{st.st_ino}"
    try:
        with open("/proc/locks", encoding="ascii") as locks:
            for line in locks:
                fields = line.split()
                if key in fields and "FLOCK" in fields:
                    return int(fields[fields.index(key) - 1])
    except (OSError, ValueError):
        pass
    return None


def _prepare_work(base_fd: int, top: Layer, options: MountOptions) -> int:
    """The empty scratch directory ``work/work``, where kernel overlayfs has it too."""
    assert options.work is not None
    where = printable(options.work)
    try:
        os.mkdir(b"work", 0o700, dir_fd=base_fd)
    except FileExistsError:
        pass
    except OSError as error:
        raise UnionError(f"workdir {where}: {error.strerror}; make it writable") from None
    work_fd = _open_work(base_fd, where)
    _refuse_dirty(work_fd, where)
    for item in map(os.fsencode, os.listdir(work_fd)):
        if item.startswith(LINKS_PREFIX):
            _take_back(top, work_fd, item)
        remove_tree(work_fd, item)
    return work_fd


def _take_back(top: Layer, work_fd: int, temp: bytes) -> None:
    """Remove the names of a copied-up file that a crash kept from getting all of them.

    Nothing had been changed through them yet, so the lower file shows again as the same. Only then
    is the upper searched for them.
    """
    st = os.stat(temp, dir_fd=work_fd, follow_symlinks=False)
    for path in top.paths_of(st.st_ino, st.st_nlink - 1):
        parent, _, name = path.rpartition(b"/")
        fd = top.dir_fd(parent)
        times = os.fstat(fd)
        os.unlink(name, dir_fd=fd)
        os.utime(fd, ns=(times.st_atime_ns, times.st_mtime_ns))


def _open_work(base_fd: int, where: str) -> int:
    """Open ``work/work``; the kernel leaves it with mode 0, which its owner may have to lift."""
    flags = _DIR | os.O_NOFOLLOW
    try:
        return os.open(b"work", flags, dir_fd=base_fd)
    except PermissionError:
        pass
    except OSError as error:
        raise UnionError(f"workdir {where}/work: {error.strerror}; remove it") from None
    try:
        os.chmod(b"work", 0o700, dir_fd=base_fd)
        return os.open(b"work", flags, dir_fd=base_fd)
    except OSError as error:
        raise UnionError(f"workdir {where}/work: {error.strerror}; remove it") from None


def _refuse_dirty(work_fd: int, where: str) -> None:
    """After a volatile mount the upper may hold anything, so somebody must look at it first."""
    try:
        os.stat(b"incompat/volatile", dir_fd=work_fd)
    except OSError:
        return
    raise UnionError(
        f"workdir {where} was last used by a volatile mount, so its upperdir may be damaged after a "
        f"crash; if it is sound, remove {where}/work/incompat and mount again"
    )


def _mark_volatile(work_fd: int) -> None:
    path = b""
    for name in _VOLATILE_MARK:
        path = path + b"/" + name if path else name
        os.mkdir(path, 0o700, dir_fd=work_fd)


def _family(work_fd: int) -> bytes:
    """trusted.overlay where we may write it, as privileged kernel mounts do, else user.overlay."""
    name = formats.TRUSTED + b"opaque"
    try:
        os.setxattr(work_fd, name, b"n")
        os.removexattr(work_fd, name)
    except OSError:
        return formats.USER
    return formats.TRUSTED
