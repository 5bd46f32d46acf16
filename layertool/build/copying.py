"""Writing files into the merged root of a step: what COPY and ADD do.

The root is an image's, hence hostile: a path is resolved by the kernel inside the root, every
change is made on a directory descriptor that came out of that, and no last component is followed
unless it leads to a directory.
"""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from layertool.archive.owner import OVERRIDE, Override
from layertool.build.modes import Chmod
from layertool.build.selection import Item, Selection
from layertool.build.tree import Tree
from layertool.errors import LayertoolError
from layertool.sandbox.inroot import open_path

_CHUNK = 1 << 20
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Attributes:
    """What the flags say about every file. `owner` None keeps the source's."""

    owner: tuple[int, int] | None = None
    chmod: Chmod | None = None


@dataclass(slots=True)
class Writer:
    """Writes below `root_fd`; use as a context manager, directory times are set at its end."""

    root_fd: int
    attributes: Attributes = field(default_factory=Attributes)
    written: int = 0  # bytes of file content
    _times: list[tuple[str, int]] = field(default_factory=list)  # (directory, mtime in ns)
    _links: dict[tuple[int, int], str] = field(default_factory=dict)
    _at: tuple[str, int] | None = None  # the directory of the last file, kept open

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._leave()
        if kind is None:
            # Deepest first: setting a directory's times must come after all changes in it.
            for path, mtime in sorted(self._times, reverse=True):
                with self._directory(path) as fd:
                    os.utime(fd, ns=(mtime, mtime))

    # -- what an instruction calls

    def copy(self, selection: Selection, dest: str) -> None:
        """Write a selection. `dest` is absolute. Raises LayertoolError."""
        into = selection.into_directory or self._is_directory(dest)
        if into:
            self.make_directory(dest)
        for item in selection.items:
            if item.named:
                target = posixpath.join(dest, item.name) if into else dest
            else:
                target = posixpath.join(dest, item.target) if item.target else dest
            self._copy_item(selection.tree, item, target)

    def write(self, content: bytes, name: str, dest: str, into_directory: bool) -> None:
        """Write an inline file, 0644."""
        into = into_directory or self._is_directory(dest)
        target = posixpath.join(dest, name) if into else dest
        with self._new_file(target) as fd:
            _write_all(fd, content, target)
            self._finish_file(fd, 0o644, (0, 0), None)
        self.written += len(content)

    def write_stream(self, source_fd: int, target: str, mode: int, mtime_ns: int | None) -> None:
        """Write what a descriptor holds, owned by root unless --chown: a download."""
        with self._new_file(target) as fd:
            self._copy_bytes(source_fd, fd, target)
            self._finish_file(fd, mode, (0, 0), mtime_ns)

    def target_of(self, dest: str, name: str, into_directory: bool) -> str:
        """Where a single file called `name` goes."""
        into = into_directory or self._is_directory(dest)
        return posixpath.join(dest, name) if into else dest

    @contextlib.contextmanager
    def directory(self, path: str) -> Iterator[int]:
        """A descriptor of a directory, made when missing."""
        self._leave()
        with self._directory(path, create=True) as fd:
            yield fd

    def make_directory(self, path: str) -> bool:
        """Make a directory and its missing parents, 0755; whether it was missing."""
        missing = not self._is_directory(path)
        with self._directory(path, create=True):
            return missing

    # -- files

    def _copy_item(self, tree: Tree, item: Item, target: str) -> None:
        info = item.entry.info
        if stat.S_ISDIR(info.st_mode):
            self._copy_directory(tree, item, target)
        elif stat.S_ISLNK(info.st_mode):
            self._copy_link(tree, item, target)
        elif stat.S_ISREG(info.st_mode):
            self._copy_file(tree, item, target)
        elif not stat.S_ISSOCK(info.st_mode):  # tar has no type for sockets
            self._copy_special(tree, item, target)

    def _copy_directory(self, tree: Tree, item: Item, target: str) -> None:
        created = self.make_directory(target)
        # The destination itself, and a parent that --parents brings, keep what they have.
        if not created and (item.implied or item.target == "" or self._is_link(target)):
            return
        info = item.entry.info
        with self._directory(target) as fd:
            mode = self._mode(stat.S_IMODE(info.st_mode), True)
            self._own(fd, self._owner(tree, item), mode)
            os.fchmod(fd, mode)
        self._times.append((target, info.st_mtime_ns))

    def _copy_link(self, tree: Tree, item: Item, target: str) -> None:
        parent, name = self._place(target)
        os.symlink(tree.read_link(item.entry.path), name, dir_fd=parent)
        info = item.entry.info
        self._own_link(parent, name, self._owner(tree, item))
        times = (info.st_mtime_ns, info.st_mtime_ns)
        os.utime(name, ns=times, dir_fd=parent, follow_symlinks=False)

    def _copy_file(self, tree: Tree, item: Item, target: str) -> None:
        info = item.entry.info
        key = (info.st_dev, info.st_ino)
        if info.st_nlink > 1 and key in self._links and self._link(self._links[key], target):
            return
        source = tree.open(item.entry.path)
        try:
            if not stat.S_ISREG(os.fstat(source).st_mode):
                raise LayertoolError(f"{item.entry.path}: changed during the build; build again")
            with self._new_file(target) as fd:
                self._copy_bytes(source, fd, target)
                owner = self._owner(tree, item)
                self._finish_file(fd, stat.S_IMODE(info.st_mode), owner, None)
                # Capabilities after the owner, times after everything.
                _set_xattrs(fd, tree.xattrs(item.entry.path), target)
                os.utime(fd, ns=(info.st_mtime_ns, info.st_mtime_ns))
        finally:
            os.close(source)
        self._links[key] = target

    def _copy_special(self, tree: Tree, item: Item, target: str) -> None:
        info = item.entry.info
        if not (tree.keep_ids or stat.S_ISFIFO(info.st_mode)):
            raise LayertoolError(f"{item.entry.path}: a device in {tree.what} cannot be copied")
        parent, name = self._place(target)
        try:
            os.mknod(name, info.st_mode, info.st_rdev, dir_fd=parent)
        except PermissionError:
            raise LayertoolError(f"{target}: making a device needs root") from None
        self._own_link(parent, name, self._owner(tree, item))

    def _link(self, earlier: str, target: str) -> bool:
        """Make a hard link, as the source has it; False when that is not possible."""
        parent, name = self._place(target)
        directory, _, last = earlier.rpartition("/")
        try:
            with self._directory(directory or "/") as fd:
                os.link(last, name, src_dir_fd=fd, dst_dir_fd=parent, follow_symlinks=False)
        except OSError:
            return False
        return True

    def _copy_bytes(self, source: int, target_fd: int, target: str) -> None:
        try:
            while count := os.copy_file_range(source, target_fd, _CHUNK * 64):
                self.written += count
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                raise _cannot_write(target, error) from None
            # Both descriptors stand where the copy stopped.
            while chunk := os.read(source, _CHUNK):
                _write_all(target_fd, chunk, target)
                self.written += len(chunk)

    # -- attributes

    def _mode(self, mode: int, directory: bool) -> int:
        chmod = self.attributes.chmod
        return mode if chmod is None else chmod(mode, directory)

    def _owner(self, tree: Tree, item: Item) -> tuple[int, int]:
        if self.attributes.owner is not None:
            return self.attributes.owner
        return tree.owner(item.entry) if tree.keep_ids else (0, 0)

    def _finish_file(
        self, fd: int, mode: int, owner: tuple[int, int], mtime_ns: int | None
    ) -> None:
        """Owner first: chown(2) takes set-id bits and capabilities away."""
        mode = self._mode(mode, False)
        self._own(fd, self.attributes.owner or owner, mode)
        os.fchmod(fd, mode)
        if mtime_ns is not None:
            os.utime(fd, ns=(mtime_ns, mtime_ns))

    def _own(self, fd: int, owner: tuple[int, int], mode: int) -> None:
        info = os.fstat(fd)
        if (info.st_uid, info.st_gid) == owner:
            with contextlib.suppress(OSError):  # none there, as nearly always
                os.removexattr(fd, OVERRIDE)
            return
        try:
            os.fchown(fd, *owner)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EINVAL):
                raise
            # Where one id is mapped there is no other; packing takes the owner from this note.
            os.setxattr(fd, OVERRIDE, Override(*owner, mode).encode())

    def _own_link(self, parent: int, name: str, owner: tuple[int, int]) -> None:
        try:
            os.chown(name, *owner, dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            # A symlink cannot carry the note either; its owner means nothing anyway.
            if error.errno not in (errno.EPERM, errno.EINVAL):
                raise

    # -- places

    def _is_directory(self, path: str) -> bool:
        try:
            fd = open_path(self.root_fd, path, os.O_PATH | os.O_DIRECTORY)
        except OSError:
            return False
        os.close(fd)
        return True

    def _is_link(self, path: str) -> bool:
        directory, _, name = path.rpartition("/")
        with self._directory(directory or "/") as fd:
            return stat.S_ISLNK(os.stat(name or ".", dir_fd=fd, follow_symlinks=False).st_mode)

    def _place(self, target: str) -> tuple[int, str]:
        """(parent directory, name) to create `target` at, whatever was there removed."""
        directory, _, name = target.rpartition("/")
        if not name:
            raise LayertoolError(f"{target}: a file needs a name")
        parent = self._enter(directory or "/")
        self._remove(parent, name, target)
        return parent, name

    def _enter(self, directory: str) -> int:
        if self._at is not None and self._at[0] == directory:
            return self._at[1]
        self._leave()
        fd = self._open_directory(directory, create=True)
        self._at = (directory, fd)
        return fd

    def _leave(self) -> None:
        if self._at is not None:
            os.close(self._at[1])
            self._at = None

    def _remove(self, parent: int, name: str, target: str) -> None:
        try:
            os.unlink(name, dir_fd=parent)
        except FileNotFoundError:
            pass
        except IsADirectoryError:
            raise LayertoolError(f"{target}: is a directory; a file cannot replace it") from None
        except OSError as error:
            raise _cannot_write(target, error) from None

    @contextlib.contextmanager
    def _new_file(self, target: str) -> Iterator[int]:
        parent, name = self._place(target)
        try:
            fd = os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
        except OSError as error:
            raise _cannot_write(target, error) from None
        try:
            yield fd
        except OSError as error:
            raise _cannot_write(target, error) from None
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def _directory(self, path: str, create: bool = False) -> Iterator[int]:
        fd = self._open_directory(path, create=create)
        try:
            yield fd
        finally:
            os.close(fd)

    def _open_directory(self, path: str, *, create: bool) -> int:
        try:
            return open_path(self.root_fd, path, _DIRECTORY)
        except FileNotFoundError:
            if not create:
                raise
        except OSError as error:
            raise _not_a_directory(path, error) from None
        return self._make_missing(path)

    def _make_missing(self, path: str) -> int:
        """Make the missing parts. Each is opened from the root again, so links stay inside."""
        parent = os.dup(self.root_fd)
        walked = ""
        try:
            for name in [part for part in path.split("/") if part]:
                walked += "/" + name
                following = self._step(parent, name, walked)
                os.close(parent)
                parent = following
            return os.open(".", _DIRECTORY, dir_fd=parent)
        finally:
            os.close(parent)

    def _step(self, parent: int, name: str, walked: str) -> int:
        try:
            return open_path(self.root_fd, walked, os.O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise _not_a_directory(walked, error) from None
        try:
            os.mkdir(name, 0o755, dir_fd=parent)
        except FileExistsError:
            raise LayertoolError(f"{walked}: is a symbolic link to nothing") from None
        except OSError as error:
            raise _cannot_write(walked, error) from None
        fd = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        self._own(fd, self.attributes.owner or (0, 0), 0o755)
        os.fchmod(fd, 0o755)  # whatever our umask is
        return fd


def _set_xattrs(fd: int, xattrs: dict[str, bytes], target: str) -> None:
    for name, value in xattrs.items():
        try:
            os.setxattr(fd, name, value)
        except OSError as error:
            # Without privilege a capability cannot be given; the program then runs without it.
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP):
                raise _cannot_write(target, error) from None


def _write_all(fd: int, data: bytes, target: str) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(fd, view) :]
    except OSError as error:
        raise _cannot_write(target, error) from None


def _not_a_directory(path: str, error: OSError) -> LayertoolError:
    if error.errno == errno.ENOTDIR:
        return LayertoolError(f"{path}: exists and is not a directory")
    return LayertoolError(f"{path}: cannot open: {error.strerror}")


def _cannot_write(path: str, error: OSError) -> LayertoolError:
    hint = "; free some space and build again" if error.errno == errno.ENOSPC else ""
    return LayertoolError(f"{path}: cannot write: {error.strerror}{hint}")
