"""Saying to the kernel what libfuse 3.14 does not know yet.

libfuse builds each reply and writes it to its descriptor. For the few replies that need more than
it can say, the descriptor is put aside for a moment: the reply lands in a pipe, is amended here,
and goes on to the kernel. Source: ``linux/fuse.h``, protocol 7.40.

One handler at a time: it calls ``amend`` as its last step, libfuse replies as soon as the handler
returns, and the event loop calls ``send`` before it does anything else.
"""

from __future__ import annotations

import errno
import os
import select
import struct
from collections.abc import Callable

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

Change = Callable[[bytearray], None]


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
        self._change: Change | None = None
        # A reply is far below PIPE_BUF: it comes whole. A socket would take three times as long.
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def attach(self, fd: int) -> None:
        """*fd* is what libfuse writes to."""
        self._fd = fd
        self._device = os.dup(fd)

    def amend(self, change: Change) -> None:
        """Let *change* edit the next reply, unless that is an error."""
        self._change = change
        os.dup2(self._writer, self._fd, inheritable=False)

    def send(self) -> None:
        """Pass on the reply that was amended, if there is one."""
        change = self._change
        if change is None:
            return
        self._change = None
        os.dup2(self._device, self._fd, inheritable=False)
        try:
            reply = bytearray(os.read(self._reader, _MAX_REPLY))
        except BlockingIOError:
            return
        if len(reply) > HEADER_BYTES:
            change(reply)
        try:
            os.write(self._device, reply)
        except OSError as error:
            # ENOENT: the caller was killed meanwhile. libfuse does not mind either.
            if error.errno not in (errno.ENOENT, errno.ENODEV):
                raise
