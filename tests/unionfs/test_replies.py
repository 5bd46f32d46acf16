"""Replies of libfuse, amended on their way to the kernel."""

import errno
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from unionfs.replies import (
    FOPEN_PASSTHROUGH,
    HANDLE_KILLPRIV_V2,
    PASSTHROUGH,
    Replies,
    init_change,
    open_change,
)

HEADER = struct.Struct("=IiQ")
INIT_OUT = struct.Struct("=IIIIHHIIHHII24x")
CONTENT = os.urandom(300_000)
OPEN_OUT = struct.Struct("=QIi")


def reply(body: bytes, error: int = 0) -> bytes:
    """What libfuse writes."""
    return HEADER.pack(HEADER.size + len(body), error, 77) + body


@dataclass
class Wire:
    """A descriptor as libfuse has it, and the end where the kernel listens."""

    fd: int
    kernel: int
    replies: Replies

    def heard(self) -> bytes:
        return os.read(self.kernel, 1 << 20)


@pytest.fixture
def wire() -> Iterator[Wire]:
    kernel, fd = os.pipe2(os.O_NONBLOCK)
    replies = Replies()
    replies.attach(fd)
    yield Wire(fd, kernel, replies)
    os.close(kernel)
    os.close(fd)


def test_init_gets_flags_of_both_words_and_keeps_its_own() -> None:
    assert INIT_OUT.size == 64
    message = bytearray(reply(INIT_OUT.pack(7, 31, 131072, 0b101, 12, 9, 1 << 20, 1, 256, 0, 0, 0)))
    init_change(PASSTHROUGH | HANDLE_KILLPRIV_V2, stack_depth=1)(message)
    fields = INIT_OUT.unpack_from(message, HEADER.size)
    assert fields == (
        *(7, 31, 131072, 0b101 | 1 << 28 | 1 << 30, 12, 9, 1 << 20, 1, 256, 0, 1 << 5, 1),
    )


def test_flags_of_the_first_word_alone_need_no_extension() -> None:
    message = bytearray(reply(bytes(64)))
    init_change(HANDLE_KILLPRIV_V2)(message)
    assert INIT_OUT.unpack_from(message, HEADER.size)[3] == HANDLE_KILLPRIV_V2


@pytest.mark.parametrize("before", [0, 128], ids=["open", "create"])
def test_an_open_is_amended_at_its_end(wire: Wire, before: int) -> None:
    """CREATE answers struct fuse_entry_out first."""
    wire.replies.amend(open_change(FOPEN_PASSTHROUGH, 5))
    os.write(wire.fd, reply(b"e" * before + OPEN_OUT.pack(99, 2, 0)))
    wire.replies.send()
    expected = reply(b"e" * before + OPEN_OUT.pack(99, FOPEN_PASSTHROUGH, 5))
    assert wire.heard() == expected


def test_an_error_goes_on_as_it_is(wire: Wire) -> None:
    wire.replies.amend(open_change(FOPEN_PASSTHROUGH, 5))
    os.write(wire.fd, reply(b"", -5))
    wire.replies.send()
    assert wire.heard() == reply(b"", -5)


def test_only_one_reply_is_amended(wire: Wire) -> None:
    wire.replies.amend(open_change(FOPEN_PASSTHROUGH, 5))
    os.write(wire.fd, reply(OPEN_OUT.pack(1, 0, 0)))
    wire.replies.send()
    os.write(wire.fd, reply(OPEN_OUT.pack(2, 0, 0)))
    wire.replies.send()
    assert wire.heard() == reply(OPEN_OUT.pack(1, FOPEN_PASSTHROUGH, 5)) + reply(
        OPEN_OUT.pack(2, 0, 0)
    )


def test_a_handler_that_did_not_reply_does_not_hold_up_others(wire: Wire) -> None:
    wire.replies.amend(open_change(FOPEN_PASSTHROUGH, 5))
    wire.replies.send()
    os.write(wire.fd, reply(b"x"))
    assert wire.heard() == reply(b"x")


def test_a_caller_that_is_gone_does_no_harm(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """/dev/fuse says ENOENT to the answer for a caller who was killed."""
    wire.replies.amend(open_change(FOPEN_PASSTHROUGH, 5))
    os.write(wire.fd, reply(OPEN_OUT.pack(1, 0, 0)))

    def refuse(fd: int, data: bytes) -> int:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    with monkeypatch.context() as patch:
        patch.setattr("unionfs.replies.os.write", refuse)
        wire.replies.send()
    os.write(wire.fd, reply(b"next"))
    assert wire.heard() == reply(b"next")


@pytest.fixture
def content(tmp_path: Path) -> Iterator[int]:
    """A file of 300,000 bytes."""
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    fd = os.open(path, os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(("offset", "size"), [(0, 40000), (4096, 8192), (100, 5000)])
def test_a_read_brings_the_data_of_a_file(wire: Wire, content: int, offset: int, size: int) -> None:
    wire.replies.answer_read(content, offset, size)
    os.write(wire.fd, reply(b""))
    wire.replies.send()
    assert wire.heard() == reply(CONTENT[offset : offset + size])


def test_a_read_of_a_file_that_has_become_shorter_brings_what_is_there(
    wire: Wire, content: int
) -> None:
    wire.replies.answer_read(content, len(CONTENT) - 3000, 9000)
    os.write(wire.fd, reply(b""))
    wire.replies.send()
    assert wire.heard() == reply(CONTENT[-3000:])
    wire.replies.answer_read(content, 0, 5000)
    os.write(wire.fd, reply(b""))
    wire.replies.send()
    assert wire.heard() == reply(CONTENT[:5000])


def test_a_read_that_failed_brings_its_error(wire: Wire, content: int) -> None:
    wire.replies.answer_read(content, 0, 5000)
    os.write(wire.fd, reply(b"", -5))
    wire.replies.send()
    assert wire.heard() == reply(b"", -5)


@pytest.mark.parametrize("code", [errno.ENOENT, errno.ENOMEM])
def test_nothing_of_a_read_is_left_when_the_kernel_does_not_take_it(
    wire: Wire, content: int, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """ENOENT: the caller was killed. For want of memory it is copied after all."""
    splice = os.splice

    def refuse(source: int, target: int, *more: int) -> int:
        if source == content:
            return splice(source, target, *more)
        raise OSError(code, os.strerror(code))

    wire.replies.answer_read(content, 0, 5000)
    os.write(wire.fd, reply(b""))
    with monkeypatch.context() as patch:
        patch.setattr("unionfs.replies.os.splice", refuse)
        wire.replies.send()
    if code == errno.ENOMEM:
        assert wire.heard() == reply(CONTENT[:5000])
    wire.replies.answer_read(content, 7, 11)
    os.write(wire.fd, reply(b""))
    wire.replies.send()
    assert wire.heard() == reply(CONTENT[7:18])


def test_how_much_a_read_can_bring() -> None:
    replies = Replies()
    assert replies.holds(256 << 10)
    assert not replies.holds(1 << 20)


def test_a_read_that_cannot_be_done_becomes_its_error(wire: Wire, tmp_path: Path) -> None:
    """A broken disk, say. Nobody else would catch it, and the mount would be gone."""
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        wire.replies.answer_read(fd, 0, 5000)
        os.write(wire.fd, reply(b""))
        wire.replies.send()
        assert wire.heard() == reply(b"", -errno.EISDIR)
    finally:
        os.close(fd)


def test_a_device_that_is_gone_is_no_caller_that_is_gone(
    wire: Wire, content: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))

    wire.replies.answer_read(content, 0, 5000)
    os.write(wire.fd, reply(b""))
    with monkeypatch.context() as patch:
        patch.setattr("unionfs.replies.os.splice", refuse)
        patch.setattr("unionfs.replies.os.pread", refuse)
        wire.replies.send()
    assert wire.heard() == reply(b"", -errno.EIO)
