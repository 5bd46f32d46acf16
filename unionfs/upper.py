"""Every change to the upper layer, each one atomic.

An object is built in the work directory with all its attributes and then linked, renamed or
exchanged into place, so that a kill at any instant leaves the old state or the new one, and litter
in the work directory that the next mount removes. Callers give directories as descriptors.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count

from . import acl, copyup, formats, layer, syscalls

_PROC_FD = b"/proc/self/fd/%d"
_PROC_NAME = b"/proc/self/fd/%d/%s"
LINKS_PREFIX = b"links#"
"""Begins the name in the work directory of a file that is getting several names at once."""
_TEMP_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class Birth:
    """How a new object is to look: owner, permission bits, and the ACL its parent passes on.

    *uid*/*gid* are None when what the kernel gives by itself is right.
    """

    mode: int
    uid: int | None = None
    gid: int | None = None
    default_acl: bytes = b""

    @property
    def in_place(self) -> bool:
        """Whether creating it in its directory gives all of this in one step."""
        return self.uid is None


class Upper:
    """The writable layer: *root_fd* and *work_fd* (the scratch directory) on one file system.

    *family* is the xattr family that marks are written in; *sync* says whether copied data reaches
    the disk before its name does, *strict* whether metadata and directories of a copy-up do too.
    """

    def __init__(
        self, root_fd: int, work_fd: int, *, family: bytes, sync: bool = True, strict: bool = False
    ) -> None:
        self.root_fd = root_fd
        self.work_fd = work_fd
        self.family = family
        self.sync = sync
        self.strict = strict
        self.uuid = syscalls.fs_uuid(root_fd)
        self.whiteouts: Whiteouts = KernelWhiteouts(self)
        self._privileged = os.geteuid() == 0
        self._serial = count()
        self._tmpfile = True

    def settle(self, fd: int) -> None:
        """Put what was done to *fd* by a copy-up on disk, when that must be strict."""
        if self.strict:
            os.fsync(fd)

    # --- scratch names ---

    def temp_name(self) -> bytes:
        """A name in the work directory that nobody uses, in the kernel's ``#hex`` form."""
        return b"#%x" % next(self._serial)

    def links_name(self) -> bytes:
        """A scratch name for what gets several names, see Promoter."""
        return LINKS_PREFIX + b"%x" % next(self._serial)

    def scrub(self, name: bytes) -> None:
        """Remove *name* and what is below it from the work directory; never fails for litter."""
        try:
            os.unlink(name, dir_fd=self.work_fd)
        except IsADirectoryError:
            with suppress(OSError):
                remove_tree(self.work_fd, name)
        except OSError:
            pass

    def publish(self, temp: bytes, dir_fd: int, name: bytes) -> None:
        """Move the finished non-directory *temp* to its name, over a whiteout if one is there."""
        try:
            os.rename(temp, name, src_dir_fd=self.work_fd, dst_dir_fd=dir_fd)
        except OSError:
            self.scrub(temp)
            raise
        self.whiteouts.uncover(dir_fd, name)

    @contextmanager
    def lifted(self, dir_fd: int, mode: int | None = None) -> Iterator[None]:
        """Make an unwritable directory writable meanwhile, where no privilege overrides its mode.

        A copy-up enters the copy of what was there already; the directory's mode is for its users.
        *mode* spares looking at it.
        """
        if self._privileged:
            yield
            return
        mode = stat.S_IMODE(os.fstat(dir_fd).st_mode if mode is None else mode)
        if mode & stat.S_IWUSR:
            yield
            return
        path = _PROC_FD % dir_fd
        os.chmod(path, mode | stat.S_IWUSR)
        try:
            yield
        finally:
            os.chmod(path, mode)

    # --- making objects ---

    def create_file(self, dir_fd: int, name: bytes, birth: Birth) -> int:
        """Make the regular file *name*, which the merged view does not have; returns it open O_RDWR."""
        if birth.in_place:
            try:
                flags = _TEMP_FLAGS | os.O_CREAT | os.O_EXCL
                fd = os.open(name, flags, birth.mode, dir_fd=dir_fd)
            except FileExistsError:
                pass  # a whiteout has the name
            else:
                self.whiteouts.uncover(dir_fd, name)
                return fd
        fd, temp = self.open_temp(birth.mode & 0o600)
        try:
            _dress_fd(fd, birth)
            self.link_temp(fd, temp, dir_fd, name)
        except OSError:
            self.discard_temp(fd, temp)
            raise
        return fd

    def open_temp(self, mode: int = 0o600) -> tuple[int, bytes | None]:
        """An open file in the work directory: nameless (O_TMPFILE) where possible, else with a name."""
        if self._tmpfile:
            try:
                flags = os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC
                return os.open(b".", flags, mode, dir_fd=self.work_fd), None
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
                    raise
                self._tmpfile = False
        temp = self.temp_name()
        flags = _TEMP_FLAGS | os.O_CREAT | os.O_EXCL
        return os.open(temp, flags, mode, dir_fd=self.work_fd), temp

    def name_temp(self, fd: int, temp: bytes | None, name: bytes) -> None:
        """Give what open_temp() gave the name *name* in the work directory."""
        if temp is None:
            source = _PROC_FD % fd
            os.link(source, name, dst_dir_fd=self.work_fd, follow_symlinks=True)
        else:
            os.rename(temp, name, src_dir_fd=self.work_fd, dst_dir_fd=self.work_fd)

    def discard_temp(self, fd: int, temp: bytes | None) -> None:
        """Throw away what open_temp() gave."""
        os.close(fd)
        if temp is not None:
            self.scrub(temp)

    def link_temp(self, fd: int, temp: bytes | None, dir_fd: int, name: bytes) -> None:
        """Give the finished file its name, over a whiteout if one is there."""
        if temp is None:
            source = _PROC_FD % fd
            try:
                os.link(source, name, dst_dir_fd=dir_fd, follow_symlinks=True)
                self.whiteouts.uncover(dir_fd, name)
                return
            except FileExistsError:
                temp = self.temp_name()
                self.name_temp(fd, None, temp)
        self.publish(temp, dir_fd, name)

    def make_symlink(self, dir_fd: int, name: bytes, target: bytes, birth: Birth) -> None:
        """Make the symlink *name*."""
        if birth.in_place:
            try:
                os.symlink(target, name, dir_fd=dir_fd)
                self.whiteouts.uncover(dir_fd, name)
                return
            except FileExistsError:
                pass
        temp = self.temp_name()
        os.symlink(target, temp, dir_fd=self.work_fd)
        self._own(temp, birth)
        self.publish(temp, dir_fd, name)

    def make_node(self, dir_fd: int, name: bytes, mode: int, rdev: int, birth: Birth) -> None:
        """Make the fifo, socket, device or empty file *name*; *mode* has the type."""
        if birth.in_place:
            try:
                os.mknod(name, stat.S_IFMT(mode) | birth.mode, rdev, dir_fd=dir_fd)
                self.whiteouts.uncover(dir_fd, name)
                return
            except FileExistsError:
                pass
        temp = self.temp_name()
        bits, access = _inherited(birth)
        os.mknod(temp, stat.S_IFMT(mode) | bits, rdev, dir_fd=self.work_fd)
        self._own(temp, birth)
        try:
            os.chmod(temp, bits, dir_fd=self.work_fd)
            if access is not None:
                os.setxattr(_PROC_NAME % (self.work_fd, temp), acl.ACCESS, access)
        except OSError:
            self.scrub(temp)
            raise
        self.publish(temp, dir_fd, name)

    def make_nested_whiteout(self, dir_fd: int, name: bytes) -> None:
        """Make an empty file marked as the whiteout of a union on top of ours."""
        fd, temp = self.open_temp(0o600)
        try:
            os.fchmod(fd, 0)
            os.setxattr(fd, self.family + formats.NESTED_WHITEOUT, b"y")
            self.link_temp(fd, temp, dir_fd, name)
        except OSError:
            self.discard_temp(fd, temp)
            raise
        os.close(fd)

    def _own(self, temp: bytes, birth: Birth) -> None:
        if birth.uid is None or birth.gid is None:
            return
        try:
            os.chown(temp, birth.uid, birth.gid, dir_fd=self.work_fd, follow_symlinks=False)
        except OSError:
            self.scrub(temp)
            raise

    def make_dir(self, dir_fd: int, name: bytes, birth: Birth) -> bool:
        """Make the directory *name*; returns whether it took the place of a whiteout.

        A directory made over a whiteout is opaque, or the lower's children would reappear.
        """
        if birth.in_place and not self.whiteouts.covers(dir_fd, name):
            try:
                os.mkdir(name, birth.mode, dir_fd=dir_fd)
                return False
            except FileExistsError:
                pass
        temp = self._build_dir(birth)
        try:
            over = self._place_dir(temp, dir_fd, name)
        except OSError:
            self.scrub(temp)
            raise
        return over

    def _build_dir(self, birth: Birth) -> bytes:
        temp = self.temp_name()
        bits, access = _inherited(birth)
        os.mkdir(temp, bits & 0o1777, dir_fd=self.work_fd)
        try:
            self._own(temp, birth)
            os.chmod(temp, bits, dir_fd=self.work_fd)
            path = _PROC_NAME % (self.work_fd, temp)
            if access is not None:
                os.setxattr(path, acl.ACCESS, access)
            if birth.default_acl:
                os.setxattr(path, acl.DEFAULT, birth.default_acl)
        except OSError:
            self.scrub(temp)
            raise
        return temp

    def _place_dir(self, temp: bytes, dir_fd: int, name: bytes) -> bool:
        if not self.whiteouts.covers(dir_fd, name):
            try:
                self.rename(self.work_fd, temp, dir_fd, name, syscalls.RENAME_NOREPLACE)
                return False
            except FileExistsError:
                pass
        self.set_opaque(self.work_fd, temp)
        self.whiteouts.swap_in_dir(temp, dir_fd, name)
        return True

    def link(self, old_dir: int, old: bytes, dir_fd: int, name: bytes) -> None:
        """Give the upper file *old* the second name *name*."""
        try:
            os.link(old, name, src_dir_fd=old_dir, dst_dir_fd=dir_fd, follow_symlinks=False)
            self.whiteouts.uncover(dir_fd, name)
            return
        except FileExistsError:
            pass
        temp = self.temp_name()
        os.link(old, temp, src_dir_fd=old_dir, dst_dir_fd=self.work_fd, follow_symlinks=False)
        self.publish(temp, dir_fd, name)

    # --- removing ---

    def unlink(self, dir_fd: int, name: bytes, *, whiteout: bool) -> None:
        """Remove the upper file *name*, leaving a whiteout in the same step if asked."""
        if whiteout:
            self.whiteouts.replace(dir_fd, name)
        else:
            os.unlink(name, dir_fd=dir_fd)

    def rmdir(self, dir_fd: int, name: bytes, *, whiteout: bool) -> None:
        """Remove the upper directory *name*, which shows nothing but may hold whiteouts."""
        if whiteout:
            self.whiteouts.replace_dir(dir_fd, name)
            return
        try:
            os.rmdir(name, dir_fd=dir_fd)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            temp = self.temp_name()
            os.rename(name, temp, src_dir_fd=dir_fd, dst_dir_fd=self.work_fd)
            self.scrub(temp)

    def clear_dir(self, dir_fd: int, name: bytes) -> None:
        """Make the directory *name*, which shows nothing, really empty and opaque in one step.

        A rename over it needs it empty, and until then nothing below may show through.
        """
        st = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        temp = self._build_dir(Birth(0o700, st.st_uid, st.st_gid))
        try:
            path = _PROC_NAME % (self.work_fd, temp)
            copyup.copy_xattrs(dir_fd, name, path)
            os.chmod(temp, stat.S_IMODE(st.st_mode), dir_fd=self.work_fd)
            self.set_opaque(self.work_fd, temp)
            self.rename(self.work_fd, temp, dir_fd, name, syscalls.RENAME_EXCHANGE)
        finally:
            self.scrub(temp)

    # --- renaming ---

    def rename(self, old_dir: int, old: bytes, new_dir: int, new: bytes, flags: int = 0) -> None:
        """renameat2(2) on the upper file system.

        Without privilege, moving a directory to another parent needs write permission on itself
        (its ".." changes), so an unwritable one gets it for the moment of the move.
        """
        try:
            syscalls.renameat2(old_dir, old, new_dir, new, flags)
            return
        except PermissionError as error:
            st = os.stat(old, dir_fd=old_dir, follow_symlinks=False)
            writable = not stat.S_ISDIR(st.st_mode) or st.st_mode & stat.S_IWUSR
            if error.errno != errno.EACCES or writable:
                raise
        mode = stat.S_IMODE(st.st_mode)
        os.chmod(old, mode | stat.S_IWUSR, dir_fd=old_dir)
        try:
            syscalls.renameat2(old_dir, old, new_dir, new, flags)
        except OSError:
            os.chmod(old, mode, dir_fd=old_dir)
            raise
        os.chmod(new, mode, dir_fd=new_dir)

    def move(self, old_dir: int, old: bytes, new_dir: int, new: bytes, *, whiteout: bool) -> None:
        """Rename over whatever non-directory or empty directory has the name, a whiteout included.

        With *whiteout* the old name is covered in the same step, so that the lower file of that
        name never shows.
        """
        if whiteout:
            self.whiteouts.move(old_dir, old, new_dir, new)
        else:
            self.rename(old_dir, old, new_dir, new)
        self.whiteouts.uncover(new_dir, new)

    def move_dir_over_whiteout(
        self, old_dir: int, old: bytes, new_dir: int, new: bytes, *, whiteout: bool
    ) -> None:
        """Rename a directory to a name that a whiteout has: the two change places."""
        self.rename(old_dir, old, new_dir, new, syscalls.RENAME_EXCHANGE)
        if not whiteout:
            # Should it stay, it hides nothing; the rename is done.
            with suppress(OSError):
                os.unlink(old, dir_fd=old_dir)

    # --- marks ---

    def set_mark(self, dir_fd: int, name: bytes, mark: bytes, value: bytes) -> None:
        """Write the overlay xattr *mark* on *name*."""
        path = _PROC_NAME % (dir_fd, name)
        try:
            os.setxattr(path, self.family + mark, value, follow_symlinks=False)
        except PermissionError as error:
            if error.errno != errno.EACCES:
                raise
            # Without privilege, user.* xattrs need write permission even of the owner.
            mode = stat.S_IMODE(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode)
            os.chmod(name, mode | stat.S_IWUSR, dir_fd=dir_fd)
            try:
                os.setxattr(path, self.family + mark, value, follow_symlinks=False)
            finally:
                os.chmod(name, mode, dir_fd=dir_fd)

    def set_opaque(self, dir_fd: int, name: bytes) -> None:
        """Mark the directory *name*: nothing below it shows."""
        self.whiteouts.set_opaque(dir_fd, name)

    def set_impure(self, dir_fd: int) -> None:
        """Mark a directory that holds copied-up children: the kernel then looks up their numbers."""
        try:
            with self.lifted(dir_fd):
                os.setxattr(dir_fd, self.family + b"impure", b"y")
        except OSError as error:
            if not syscalls.is_unsupported(error) and error.errno != errno.EPERM:
                raise

    def origin_value(self, dir_fd: int, name: bytes) -> bytes:
        """The ``origin`` of a copy of the lower object *name*; empty when it has no handle.

        An empty *name* is what is open as *dir_fd*.
        """
        handle = syscalls.name_to_handle(dir_fd, name)
        return formats.encode_origin(handle, syscalls.fs_uuid(dir_fd)) if handle else b""

    def keep_times(self, dir_fd: int, st: os.stat_result) -> None:
        """Set the directory's times back: a child's copy-up is not a change of its parent.

        The child is there by now, so a failure of this is no failure of the copy-up.
        """
        with suppress(OSError):
            os.utime(dir_fd, ns=(st.st_atime_ns, st.st_mtime_ns))


def _inherited(birth: Birth) -> tuple[int, bytes | None]:
    if not birth.default_acl:
        return birth.mode, None
    bits, access = acl.inherit(birth.default_acl, birth.mode)
    return bits, access


def _dress_fd(fd: int, birth: Birth) -> None:
    bits, access = _inherited(birth)
    if birth.uid is not None and birth.gid is not None:
        os.fchown(fd, birth.uid, birth.gid)
    os.fchmod(fd, bits)
    if access is not None:
        os.setxattr(fd, acl.ACCESS, access)


def remove_tree(dir_fd: int, name: bytes) -> None:
    """Delete *name* and everything below it, staying inside and following no symlink."""
    try:
        os.rmdir(name, dir_fd=dir_fd)
        return
    except NotADirectoryError:
        os.unlink(name, dir_fd=dir_fd)
        return
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, dir_fd=dir_fd)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=dir_fd)
        fd = os.open(name, flags, dir_fd=dir_fd)
    try:
        for item in os.listdir(fd):
            remove_tree(fd, os.fsencode(item))
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=dir_fd)


class Whiteouts:
    """How deletions of lower names are written. The seam between upper file systems."""

    def create(self, dir_fd: int, name: bytes) -> None:
        """Hide the lower *name*; the upper has nothing there."""
        raise NotImplementedError

    def replace(self, dir_fd: int, name: bytes) -> None:
        """Put a whiteout in the place of the upper file *name*."""
        raise NotImplementedError

    def replace_dir(self, dir_fd: int, name: bytes) -> None:
        """Put a whiteout in the place of the upper directory *name*, which shows nothing."""
        raise NotImplementedError

    def move(self, old_dir: int, old: bytes, new_dir: int, new: bytes) -> None:
        """Rename and leave a whiteout at the old name."""
        raise NotImplementedError

    def swap_in_dir(self, temp: bytes, dir_fd: int, name: bytes) -> None:
        """Put the directory *temp* of the work directory in the place of a whiteout."""
        raise NotImplementedError

    def set_opaque(self, dir_fd: int, name: bytes) -> None:
        """Mark the directory *name* opaque."""
        raise NotImplementedError

    def covers(self, dir_fd: int, name: bytes) -> bool:
        """Whether a whiteout hides *name* without having that name itself."""
        return False

    def uncover(self, dir_fd: int, name: bytes) -> None:
        """Something new has *name*: drop a whiteout that stands beside it."""


class KernelWhiteouts(Whiteouts):
    """Character devices 0:0 and the opaque xattr, as kernel overlayfs writes them.

    All are hard links of one inode kept in the work directory: one system call each, no new inode.
    """

    def __init__(self, upper: Upper) -> None:
        self._upper = upper
        self._shared: bytes | None = None

    def create(self, dir_fd: int, name: bytes) -> None:
        upper = self._upper
        if self._shared is not None:
            try:
                os.link(
                    self._shared,
                    name,
                    src_dir_fd=upper.work_fd,
                    dst_dir_fd=dir_fd,
                    follow_symlinks=False,
                )
                return
            except OSError as error:
                if error.errno not in (errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP, errno.ENOENT):
                    raise
        shared = upper.temp_name()
        os.mknod(shared, stat.S_IFCHR, 0, dir_fd=upper.work_fd)
        self._shared = shared
        try:
            os.link(
                shared,
                name,
                src_dir_fd=upper.work_fd,
                dst_dir_fd=dir_fd,
                follow_symlinks=False,
            )
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP):
                raise
            self._shared = None
            os.rename(shared, name, src_dir_fd=upper.work_fd, dst_dir_fd=dir_fd)

    def _temp(self) -> bytes:
        temp = self._upper.temp_name()
        self.create(self._upper.work_fd, temp)
        return temp

    def replace(self, dir_fd: int, name: bytes) -> None:
        temp = self._temp()
        try:
            os.rename(temp, name, src_dir_fd=self._upper.work_fd, dst_dir_fd=dir_fd)
        except OSError:
            self._upper.scrub(temp)
            raise

    def replace_dir(self, dir_fd: int, name: bytes) -> None:
        upper = self._upper
        temp = self._temp()
        try:
            upper.rename(upper.work_fd, temp, dir_fd, name, syscalls.RENAME_EXCHANGE)
        finally:
            upper.scrub(temp)

    def move(self, old_dir: int, old: bytes, new_dir: int, new: bytes) -> None:
        self._upper.rename(old_dir, old, new_dir, new, syscalls.RENAME_WHITEOUT)

    def swap_in_dir(self, temp: bytes, dir_fd: int, name: bytes) -> None:
        upper = self._upper
        upper.rename(upper.work_fd, temp, dir_fd, name, syscalls.RENAME_EXCHANGE)
        upper.scrub(temp)

    def set_opaque(self, dir_fd: int, name: bytes) -> None:
        self._upper.set_mark(dir_fd, name, b"opaque", b"y")


class AufsWhiteouts(Whiteouts):
    """``.wh.NAME`` and ``.wh..wh..opq`` files, for an upper without device nodes or xattrs.

    A change and its whiteout are two steps here. A whiteout hides what is below and not what stands
    beside it, so it comes before what it stands for goes, and goes after what takes its place came.
    """

    def __init__(self, upper: Upper) -> None:
        self._upper = upper

    def create(self, dir_fd: int, name: bytes) -> None:
        os.close(
            os.open(
                formats.AUFS_PREFIX + name,
                os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW,
                0o600,
                dir_fd=dir_fd,
            )
        )

    def replace(self, dir_fd: int, name: bytes) -> None:
        self.create(dir_fd, name)
        os.unlink(name, dir_fd=dir_fd)

    def replace_dir(self, dir_fd: int, name: bytes) -> None:
        self.create(dir_fd, name)
        temp = self._upper.temp_name()
        os.rename(name, temp, src_dir_fd=dir_fd, dst_dir_fd=self._upper.work_fd)
        self._upper.scrub(temp)

    def move(self, old_dir: int, old: bytes, new_dir: int, new: bytes) -> None:
        self.create(old_dir, old)
        try:
            os.rename(old, new, src_dir_fd=old_dir, dst_dir_fd=new_dir)
        except OSError:
            self.uncover(old_dir, old)
            raise

    def swap_in_dir(self, temp: bytes, dir_fd: int, name: bytes) -> None:
        upper = self._upper
        try:
            os.rename(temp, name, src_dir_fd=upper.work_fd, dst_dir_fd=dir_fd)
        except NotADirectoryError:
            # A whiteout in the kernel's form, of a mount that could make them.
            upper.rename(upper.work_fd, temp, dir_fd, name, syscalls.RENAME_EXCHANGE)
            upper.scrub(temp)
        self.uncover(dir_fd, name)

    def set_opaque(self, dir_fd: int, name: bytes) -> None:
        try:
            self._upper.set_mark(dir_fd, name, b"opaque", b"y")
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EPERM):
                raise
            marker = name + b"/" + formats.AUFS_OPAQUE
            flags = os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
            os.close(os.open(marker, flags, 0o600, dir_fd=dir_fd))

    def covers(self, dir_fd: int, name: bytes) -> bool:
        try:
            os.stat(formats.AUFS_PREFIX + name, dir_fd=dir_fd, follow_symlinks=False)
        except OSError:
            return False
        return True

    def uncover(self, dir_fd: int, name: bytes) -> None:
        # Mostly there is none. One that stays beside what has the name does no harm.
        with suppress(OSError):
            os.unlink(formats.AUFS_PREFIX + name, dir_fd=dir_fd)


def pick_whiteouts(upper: Upper) -> str | None:
    """Choose the form that the upper file system can hold; returns why it is not the kernel's.

    Tried in the work directory: a device node 0:0 and an xattr of our family. Only what the file
    system can never do counts: a full one (ENOSPC) is no reason to write another format.
    """
    temp = upper.temp_name()
    try:
        os.mknod(temp, stat.S_IFCHR, 0, dir_fd=upper.work_fd)
    except OSError as error:
        if not _never_works(error):
            return None
        upper.whiteouts = AufsWhiteouts(upper)
        return f"device nodes cannot be made there ({error.strerror})"
    finally:
        upper.scrub(temp)
    try:
        os.mkdir(temp, 0o700, dir_fd=upper.work_fd)
        upper.set_mark(upper.work_fd, temp, b"opaque", b"y")
    except OSError as error:
        if not _never_works(error):
            return None
        upper.whiteouts = AufsWhiteouts(upper)
        return f"extended attributes cannot be set there ({error.strerror})"
    finally:
        upper.scrub(temp)
    return None


def _never_works(error: OSError) -> bool:
    return error.errno in (errno.EPERM, errno.EACCES) or syscalls.is_unsupported(error)


def read_default_acl(dir_fd: int) -> bytes:
    """The default ACL of a directory, empty when it has none."""
    return layer.get_xattr(dir_fd, b".", acl.DEFAULT) or b""
