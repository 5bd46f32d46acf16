"""The on-disk vocabulary, without a disk."""

from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unionfs import formats
from unionfs.formats import Handle


@pytest.mark.parametrize(
    ("mode", "rdev", "expected"),
    [
        (stat.S_IFCHR, 0, True),
        (stat.S_IFCHR | 0o666, 0, True),
        (stat.S_IFCHR, 0x103, False),
        (stat.S_IFBLK, 0, False),
        (stat.S_IFREG, 0, False),
    ],
)
def test_whiteout_is_char_device_0_0(mode: int, rdev: int, expected: bool) -> None:
    assert formats.is_whiteout(mode, rdev) is expected


@pytest.mark.parametrize(
    ("name", "target"),
    [
        (b".wh.a", b"a"),
        (b".wh. ", b" "),
        (b".wh.", None),
        (b".wh..wh..opq", None),
        (b".wh..wh.plnk", None),
        (b".wh..opq", b".opq"),
    ],
)
def test_aufs_names(name: bytes, target: bytes | None) -> None:
    assert formats.aufs_target(name) == target


@pytest.mark.parametrize(
    ("shown", "stored"),
    [
        (b"user.a", b"user.a"),
        (b"trusted.overlay.opaque", b"trusted.overlay.overlay.opaque"),
        (b"user.overlay.redirect", b"user.overlay.overlay.redirect"),
        (b"trusted.overlay.overlay.x", b"trusted.overlay.overlay.overlay.x"),
        (b"trusted.overlayx", b"trusted.overlayx"),
    ],
)
def test_escaping_nests(shown: bytes, stored: bytes) -> None:
    assert formats.escape(shown) == stored
    assert formats.unescape(stored) == shown


@pytest.mark.parametrize(
    "raw",
    [
        b"trusted.overlay.opaque",
        b"user.overlay.origin",
        b"user.fuseoverlayfs.opaque",
        b"trusted.overlay.",
    ],
)
def test_our_own_marks_are_private(raw: bytes) -> None:
    assert formats.is_private(raw)
    assert formats.unescape(raw) is None


@given(st.binary(max_size=30))
def test_every_name_survives_escaping(suffix: bytes) -> None:
    for prefix in (b"user.", formats.TRUSTED, formats.USER):
        assert formats.unescape(formats.escape(prefix + suffix)) == prefix + suffix


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"name", True),
        (b"/a/b", True),
        (b"/a", True),
        (b"", False),
        (b"..", False),
        (b".", False),
        (b"a/b", False),
        (b"/", False),
        (b"/a/../../etc", False),
        (b"/a//b", False),
        (b"/a/.", False),
    ],
)
def test_redirects_that_climb_are_refused(value: bytes, expected: bool) -> None:
    assert formats.valid_redirect(value) is expected


def test_origin_has_the_kernels_layout() -> None:
    handle = Handle(1, bytes.fromhex("c1c720003cb7a147"))
    value = formats.encode_origin(handle, bytes(16))
    # As kernel 6.18 wrote it on ext4: version, magic 0xfb, length 29, flags, type, uuid, fid.
    assert value == bytes.fromhex("00fb1d0001" + "00" * 16 + "c1c720003cb7a147")
    assert formats.decode_origin(value) == handle
    assert formats.handle_inode(handle) == 0x20C7C1


@given(st.binary(max_size=40))
def test_any_origin_value_can_be_read(value: bytes) -> None:
    handle = formats.decode_origin(value)
    assert handle is None or formats.encode_origin(handle, value[5:21])[21:] == handle.fid


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"0:0:755", (0, 0, 0o755)),
        (b"1000:100:4755:file", (1000, 100, 0o4755)),
        (b"1000:100", None),
        (b"a:b:c", None),
        (b"1:2:999", None),
    ],
)
def test_override_stat(value: bytes, expected: tuple[int, int, int] | None) -> None:
    assert formats.parse_override(value) == expected
