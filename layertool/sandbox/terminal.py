"""Joining the caller's terminal to a container's: raw mode, both directions, window size."""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import signal
import termios
import tty
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final

_CHUNK: Final = 65536


Shown = Callable[[bytes], None]


def relay(master: int, stdin: int | None, stdout: int, shown: Shown | None = None) -> None:
    """Copy until the container's side hangs up. The caller's terminal is restored whatever happens.

    `stdin` is None when the container gets no input. A caller's stream that is no terminal is
    copied as it is. `shown` is given a copy of the output.
    """
    with _raw(stdin), _window_size(master, stdout):
        _copy(master, stdin, stdout, shown or _ignore)


def _ignore(data: bytes) -> None: ...


def set_size(terminal: int, source: int) -> None:
    """Give a terminal (either side of it) the size of another one, if `source` is a terminal."""
    with contextlib.suppress(OSError):
        size = fcntl.ioctl(source, termios.TIOCGWINSZ, b"\0" * 8)
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)


@contextlib.contextmanager
def _raw(stdin: int | None) -> Iterator[None]:
    if stdin is None or not os.isatty(stdin):
        yield
        return
    before = termios.tcgetattr(stdin)
    try:
        # Not the default TCSAFLUSH: what was typed ahead is meant for the container.
        tty.setraw(stdin, termios.TCSADRAIN)
        yield
    finally:
        termios.tcsetattr(stdin, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _window_size(master: int, source: int) -> Iterator[None]:
    set_size(master, source)

    def resized(number: int, frame: FrameType | None) -> None:
        set_size(master, source)

    before = signal.signal(signal.SIGWINCH, resized)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


def _copy(master: int, stdin: int | None, stdout: int, shown: Shown) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(master, selectors.EVENT_READ, stdout)
        if stdin is not None:
            # A regular file is always readable, and epoll refuses to watch it.
            with contextlib.suppress(PermissionError):
                selector.register(stdin, selectors.EVENT_READ, master)
            if stdin not in selector.get_map():
                _pump(stdin, master)
        while True:
            for key, _ in selector.select():
                data = _read(key.fd)
                if data:
                    write_all(key.data, data)
                    if key.fd == master:
                        shown(data)
                elif key.fd == master:
                    return
                else:
                    selector.unregister(key.fd)
                    _end_of_input(master)


def _pump(source: int, master: int) -> None:
    while data := os.read(source, _CHUNK):
        write_all(master, data)
    _end_of_input(master)


def _end_of_input(master: int) -> None:
    """A terminal cannot be half closed: type its end-of-file character, as a person would."""
    with contextlib.suppress(OSError, termios.error):
        end = termios.tcgetattr(master)[6][termios.VEOF]
        write_all(master, end)


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, _CHUNK)
    except OSError:  # EIO: the last holder of the slave has closed it
        return b""


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data` to a descriptor."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
