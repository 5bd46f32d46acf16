"""Saying to the kernel what libfuse 3.14 does not know yet.

libfuse builds each reply and writes it to its descriptor. For the few replies that need more than
it can say, the descriptor is put aside for a moment: the reply lands in a pipe, is amended here,
and goes on to the kernel. Source: ``linux/fuse.h``, protocol 7.40.

One handler at a time: it calls ``amend`` or ``answer_read`` as its last step, libfuse replies as
soon as the handler returns, and the event loop calls ``send`` before it does anything else. No
handler's guard is around it there: what fails, a read of a broken disk say, becomes the reply.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import mmap
import os
import re
import select
import struct
from collections.abc import Callable

log = logging.getLogger(__name__)

HEADER_BYTES = 16
"""struct fuse_out_header: length, error, unique."""

_INIT_FLAGS = struct.Struct("=I")
_INIT_FLAGS_AT = HEADER_BYTES + 12
_INIT_FLAGS2_AT = HEADER_BYTES + 32
_INIT_STACK_DEPTH_AT = HEADER_BYTES + 36
_INIT_EXT = 1 << 30
CACHE_SYMLINKS = 1 << 23
HANDLE_KILLPRIV_V2 = 1 << 28
PASSTHROUGH = 1 << 37

_OPEN = struct.Struct("=Ii")
_OPEN_BYTES = 8
"""Flags and backing id are the last 8 bytes of struct fuse_open_out, which ends its reply."""
FOPEN_KEEP_CACHE = 1 << 1
FOPEN_CACHE_DIR = 1 << 3
FOPEN_PASSTHROUGH = 1 << 7

_MAX_REPLY = select.PIPE_BUF
_LENGTH = struct.Struct("=I")
"""The first field of a reply: its length, itself included."""
_ERROR = struct.Struct("=Ii")
"""Length and error: the unique number of the request follows."""
_PIPE_BYTES = 1 << 20
"""What an ordinary user may make a pipe hold (pipe(7)); root may always."""

_GONE = (errno.ENOENT, errno.ENODEV)
"""The caller was killed meanwhile, or the mount is no more. libfuse does not mind either."""

Change = Callable[[bytearray], None]


def keeps_symlinks() -> bool:
    """Whether the kernel can keep symbolic links: before Linux 6.14 it cut them at their st_size."""
    return tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2]) >= (6, 14)


def init_change(flags: int, *, stack_depth: int = 0) -> Change:
    """Add *flags* (64 bits) to what INIT asks for; *stack_depth* limits files passed through."""

    def change(reply: bytearray) -> None:
        (old,) = _INIT_FLAGS.unpack_from(reply, _INIT_FLAGS_AT)
        low = old | flags & 0xFFFFFFFF | (_INIT_EXT if flags >> 32 else 0)
        _INIT_FLAGS.pack_into(reply, _INIT_FLAGS_AT, low)
        (old,) = _INIT_FLAGS.unpack_from(reply, _INIT_FLAGS2_AT)
        _INIT_FLAGS.pack_into(reply, _INIT_FLAGS2_AT, old | flags >> 32)
        _INIT_FLAGS.pack_into(reply, _INIT_STACK_DEPTH_AT, stack_depth)

    return change


def open_change(flags: int, backing: int = 0) -> Change:
    """Answer OPEN, CREATE or OPENDIR with these FOPEN_* *flags* and *backing* id."""
    tail = _OPEN.pack(flags, backing)

    def change(reply: bytearray) -> None:
        reply[-_OPEN_BYTES:] = tail

    return change


class Replies:
    """The way from libfuse to the kernel through one descriptor of /dev/fuse."""

    def __init__(self) -> None:
        self._fd = -1
        self._device = -1
        self._finish: Callable[[bytearray], None] | None = None
        self._data = _DataPipe()
        # A reply is far below PIPE_BUF: it comes whole. A socket would take three times as long.
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def attach(self, fd: int) -> None:
        """*fd* is what libfuse writes to."""
        self._fd = fd
        self._device = os.dup(fd)

    def amend(self, change: Change) -> None:
        """Let *change* edit the next reply, unless that is an error."""

        def finish(reply: bytearray) -> None:
            change(reply)
            self._write(reply)

        self._hold(finish)

    def holds(self, size: int) -> bool:
        """Whether answer_read() can send *size* bytes."""
        return size <= self._data.capacity

    def answer_read(self, fd: int, offset: int, size: int) -> None:
        """Let the next reply, to READ and empty, bring *size* bytes of *fd* from *offset* on.

        They go from page cache to page cache: splice(2) spares a copy. Fewer where the file ends.
        """

        def finish(reply: bytearray) -> None:
            header = _LENGTH.pack(HEADER_BYTES + size) + reply[_LENGTH.size :]
            if not self._data.pass_on(header, fd, offset, size, self._device):
                data = _read(fd, size, offset)
                self._write(_LENGTH.pack(HEADER_BYTES + len(data)) + reply[_LENGTH.size :] + data)

        self._hold(finish)

    def _hold(self, finish: Callable[[bytearray], None]) -> None:
        self._finish = finish
        os.dup2(self._writer, self._fd, inheritable=False)

    def send(self) -> None:
        """Pass on the reply that was amended, if there is one."""
        finish = self._finish
        if finish is None:
            return
        self._finish = None
        os.dup2(self._device, self._fd, inheritable=False)
        try:
            reply = bytearray(os.read(self._reader, _MAX_REPLY))
        except BlockingIOError:
            return
        try:
            if _is_error(reply):
                self._write(reply)
            else:
                finish(reply)
        except OSError as error:
            if error.errno not in _GONE:
                self._fail(reply, error.errno or errno.EIO)

    def _fail(self, reply: bytearray, code: int) -> None:
        """Answer with an error what cannot be answered as it should."""
        try:
            self._write(_ERROR.pack(HEADER_BYTES, -code) + reply[_ERROR.size : HEADER_BYTES])
        except OSError as error:
            if error.errno not in _GONE:
                log.warning("a reply was lost: %s", error)

    def _write(self, reply: bytes | bytearray) -> None:
        os.write(self._device, reply)


def _read(fd: int, size: int, offset: int) -> bytes:
    try:
        return os.pread(fd, size, offset)
    except OSError as error:
        # What these say of a device is not to be taken for the caller's having gone.
        code = errno.EIO if error.errno in _GONE else error.errno
        raise OSError(code, os.strerror(code or 0)) from None


def _is_error(reply: bytearray) -> bool:
    return any(reply[_LENGTH.size : 2 * _LENGTH.size])


class _DataPipe:
    """A pipe from files to the kernel, in which pages of their cache pass without being copied."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._writer, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        held = fcntl.fcntl(self._writer, fcntl.F_GETPIPE_SZ)
        # A slot for each page: one is the header's, one more is for data that begins within a page.
        self.capacity = held - 2 * mmap.PAGESIZE

    def pass_on(self, header: bytes, fd: int, offset: int, size: int, device: int) -> bool:
        """Send *header* and exactly *size* bytes of *fd*; False when that cannot be done.

        Raises OSError when the *device* does not take them.
        """
        os.write(self._writer, header)
        if not self._fill(fd, offset, size):
            self._drain()
            return False
        try:
            os.splice(self._reader, device, len(header) + size)
        except OSError as error:
            self._drain()
            if error.errno in _GONE:
                raise
            return False
        return True

    def _fill(self, fd: int, offset: int, size: int) -> bool:
        end = offset + size
        while offset < end:
            try:
                done = os.splice(fd, self._writer, end - offset, offset)
            except OSError:
                return False
            if not done:
                return False
            offset += done
        return True

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._reader, _PIPE_BYTES):
                pass
