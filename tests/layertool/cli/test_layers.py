"""`layertool pack` and `layertool unpack` as people and scripts use them."""

import gzip
import hashlib
import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from archivetest.craft import directory, member, tar
from backports import zstd

from layertool.cli import main

LAYER = tar(directory(b"d"), member(b"d/f", data=b"data"), member(b".wh.gone"))


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    path = tmp_path / "layer.tar.gz"
    path.write_bytes(gzip.compress(LAYER))
    return path


def _facts(text: str) -> dict[str, str]:
    return dict(line.split(maxsplit=1) for line in text.splitlines())


def test_unpack_makes_the_directory_and_prints_facts(
    layer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new" / "dir"
    assert main(["unpack", str(layer), str(target)]) == 0
    out = capsys.readouterr().out
    diff_id = "sha256:" + hashlib.sha256(LAYER).hexdigest()
    assert _facts(out) == {"diffID": diff_id, "entries": "3", "bytes": "4"}
    assert (target / "d/f").read_bytes() == b"data"


@pytest.mark.needs("root")
@pytest.mark.parametrize(
    ("arguments", "present"),
    [([], "gone"), (["--format", "kernel"], "gone"), (["--format", "aufs"], ".wh.gone")],
)
def test_formats(arguments: list[str], present: str, layer: Path, tmp_path: Path) -> None:
    assert main(["unpack", *arguments, str(layer), str(tmp_path / "out")]) == 0
    info = (tmp_path / "out" / present).lstat()
    assert stat.S_ISCHR(info.st_mode) == (present == "gone")


def test_apply_deletes(layer: Path, tmp_path: Path) -> None:
    target = tmp_path / "rootfs"
    target.mkdir()
    (target / "gone").touch()
    (target / "kept").touch()
    assert main(["unpack", "--apply", str(layer), str(target)]) == 0
    assert sorted(os.listdir(target)) == ["d", "kept"]


def test_a_layer_needs_an_empty_directory(
    layer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "mine").touch()
    assert main(["unpack", str(layer), str(target)]) == 1
    assert "is not empty" in capsys.readouterr().err
    assert os.listdir(target) == ["mine"]


def test_an_existing_empty_directory_is_as_before_after_a_failure(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir(mode=0o711)
    bad = tmp_path / "bad.tar"
    bad.write_bytes(tar(directory(b".", 0o700), member(b"f"), member(b"../evil")))
    assert main(["unpack", str(bad), str(target)]) == 1
    assert os.listdir(target) == []
    assert stat.S_IMODE(target.stat().st_mode) == 0o711


@pytest.mark.parametrize(
    ("suffix", "arguments", "magic"),
    [
        (".tar", [], b"d"),
        (".tar.gz", [], b"\x1f\x8b"),
        (".tgz", [], b"\x1f\x8b"),
        (".tar.zst", [], b"\x28\xb5\x2f\xfd"),
        (".tar", ["--compression", "zstd"], b"\x28\xb5\x2f\xfd"),
        (".tar.gz", ["--compression", "none"], b"d"),
    ],
)
def test_pack_compresses_as_told(
    suffix: str,
    arguments: list[str],
    magic: bytes,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "up/d").mkdir(parents=True)
    (tmp_path / "up/d/f").write_text("data")
    out = tmp_path / f"out{suffix}"
    assert main(["pack", *arguments, str(tmp_path / "up"), str(out)]) == 0
    blob = out.read_bytes()
    assert blob.startswith(magic)
    facts = _facts(capsys.readouterr().out)
    assert facts["digest"] == "sha256:" + hashlib.sha256(blob).hexdigest()
    plain = (
        gzip.decompress(blob) if magic == b"\x1f\x8b"
        else zstd.decompress(blob) if magic.startswith(b"\x28")
        else blob
    )  # fmt: skip
    assert facts["diffID"] == "sha256:" + hashlib.sha256(plain).hexdigest()
    assert (facts["entries"], facts["bytes"]) == ("2", "4")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_json(layer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["unpack", "--json", str(layer), str(tmp_path / "out")]) == 0
    unpacked = json.loads(capsys.readouterr().out)
    assert set(unpacked) == {"diffID", "entries", "bytes"}
    assert main(["pack", "--json", str(tmp_path / "out"), str(tmp_path / "o.tar")]) == 0
    packed = json.loads(capsys.readouterr().out)
    assert set(packed) == {"digest", "diffID", "entries", "bytes", "size"}
    assert (packed["entries"], packed["bytes"]) == (3, 4)


def test_source_date_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    digests = set()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000")
    for time in (2_000_000, 3_000_000):
        up = tmp_path / str(time)
        up.mkdir()
        (up / "f").write_text("x")
        os.utime(up / "f", (time, time))
        assert main(["pack", "--json", str(up), str(tmp_path / "o.tar")]) == 0
        digests.add(json.loads(capsys.readouterr().out)["digest"])
    assert len(digests) == 1
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    assert main(["pack", str(up), str(tmp_path / "o.tar")]) == 2


def test_stdin(layer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(layer.read_bytes())))
    assert main(["unpack", "-", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out/d/f").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["unpack", "missing.tar", "out"], 1, "missing.tar: No such file or directory"),
        (["unpack", "layer.tar.gz"], 2, "Missing argument"),
        (["unpack", "--format", "zip", "layer.tar.gz", "out"], 2, "--format"),
        (["unpack", "--max-entries", "1", "layer.tar.gz", "out"], 1, "more than 1 entries"),
        (["unpack", ".", "out"], 1, "Is a directory"),
        (["pack", "missing", "o.tar"], 1, "missing: is not a directory"),
        (["pack", ".", "o.tar"], 2, "lies inside"),
        (["pack", "up", "nowhere/o.tar"], 1, "nowhere"),
        (["pack", "--compression", "xz", "up", "o.tar"], 2, "--compression"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str],
    status: int,
    message: str,
    layer: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(layer.parent)
    (layer.parent / "up").mkdir()
    assert main(arguments) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = [line for line in captured.err.splitlines() if not line.startswith("Usage:")]
    assert len(lines) == 1
    assert lines[0].startswith("layertool: ") and message in lines[0]
    assert not (layer.parent / "out").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    at = tmp_path / "small"
    at.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "small", at], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", at], check=True)


@pytest.mark.needs("root")
def test_out_of_space(small_disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    big = tmp_path / "big.tar"
    big.write_bytes(tar(member(b"one"), member(b"dir/two", data=os.urandom(3 << 20))))
    assert main(["unpack", str(big), str(small_disk / "out")]) == 1
    assert capsys.readouterr().err == "layertool: dir/two: No space left on device\n"
    assert os.listdir(small_disk) == []
    (tmp_path / "up").mkdir()
    (tmp_path / "up/f").write_bytes(os.urandom(3 << 20))
    assert main(["pack", str(tmp_path / "up"), str(small_disk / "o.tar.gz")]) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert os.listdir(small_disk) == []
