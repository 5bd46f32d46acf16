"""A trace replays on every driver, tells the first difference, hides names, and leads nowhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unionfs.errors import UnionError
from unionfs.testing import language as op
from unionfs.testing.bench import Bench, Lab
from unionfs.testing.drivers import find_driver
from unionfs.testing.language import Operation
from unionfs.testing.layers import Layers, directory, file, hardlink, special, symlink, whiteout
from unionfs.testing.replay import Replayed, replay
from unionfs.testing.tracefile import Names, anonymise, read

LAYERS: Layers = (
    (directory("d"), whiteout("d/gone")),
    (
        directory("d"), file("d/a", "in d"), file("d/gone"), directory("pub", mode=0o1777),
        file("f", "lower", xattrs={"user.a": "1"}), file("big", "head", size=20_000),
        file("h", "links"), hardlink("h2", "h"), symlink("s", "d/a"), special("p", "fifo"),
    ),
)  # fmt: skip

WORK: tuple[Operation, ...] = (
    op.ListDir("."), op.ListDir("d"), op.ReadFile("d/a"), op.ReadFile("big"), op.Stat("d/gone"),
    op.WriteFile("f", "more", 1, "append"), op.WriteFile("new", "x", 9000), op.ReadFile("new"),
    op.Create("pub/mine", 0o640, who=2), op.Mkdir("pub/dir", who=3), op.Chmod("pub/dir", 0o700),
    op.Symlink("../f", "pub/link"), op.Readlink("pub/link"), op.Link("h", "pub/h3"),
    op.Rename("d", "e"), op.Rename("e/a", "f"), op.Unlink("h"), op.Mkdir("d"), op.ListDir("d"),
    op.SetXattr("f", "user.b", "2"), op.GetXattr("f", "user.b"), op.ListXattrs("f"),
    op.RemoveXattr("f", "user.b"), op.GetXattr("f", "user.b"), op.Truncate("big", 10),
    op.Mknod("node", "fifo"), op.Rmdir("d"), op.Open(1, "f", "RDWR"), op.Unlink("f"),
    op.Write(1, "gone"), op.Read(1, 10, 0), op.Fchmod(1, 0o600), op.Fstat(1), op.Close(1),
    op.Rename("new", "h2", "exchange"), op.Rmdir("e"), op.Chown("s", 5, 6), op.NameMax("."),
)  # fmt: skip


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trace of a mount on which WORK was done."""
    path = tmp_path_factory.mktemp("trace") / "trace.jsonl"
    with Lab() as lab, Bench(lab, find_driver(f"unionfs:trace={path}"), LAYERS) as bench:
        for operation in WORK:
            bench.step(operation)
    return path


def replayed(path: Path, driver: str, lowers: Sequence[str] = ()) -> Replayed:
    with Lab() as lab:
        return replay(lab, find_driver(driver), read(str(path)), lowers)


@pytest.mark.mounted
@pytest.mark.differential
@pytest.mark.parametrize(
    "driver", ["unionfs", "unionfs:writeback=0", "kernel:redirect_dir=on,index=on", "directory"]
)
def test_it_is_the_same_where_the_semantics_are(traced: Path, driver: str) -> None:
    found = replayed(traced, driver)
    assert found.deviation is None, str(found.deviation)
    assert found.done > 60


@pytest.mark.mounted
@pytest.mark.differential
def test_the_first_difference_is_told(traced: Path) -> None:
    deviation = replayed(traced, "kernel").deviation
    assert deviation is not None
    assert str(deviation.operation).startswith("rename('d', 'e'")
    assert deviation.answered == {"errno": "EXDEV"}
    line = traced.read_text().splitlines()[deviation.line - 1]
    assert json.loads(line)["op"] == "rename"


@pytest.mark.mounted
@pytest.mark.differential
def test_it_replays_on_directories(traced: Path, tmp_path: Path) -> None:
    from unionfs.testing import layers

    lowers = []
    for number, layer in enumerate(LAYERS):
        lowers.append(str(tmp_path / str(number)))
        layers.build(lowers[-1], layer, "trusted")
    found = replayed(traced, "unionfs", lowers)
    assert found.deviation is None, str(found.deviation)
    (tmp_path / "1" / "d" / "a").write_text("else")
    changed = replayed(traced, "unionfs", lowers).deviation
    assert changed is not None
    assert changed.answered == {"result": "4:else"}


@pytest.mark.mounted
@pytest.mark.differential
def test_an_anonymised_trace_replays_and_tells_no_names(traced: Path, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden.jsonl"
    anonymise(str(traced), str(hidden))
    text = hidden.read_text()
    for word in ("gone", "pub", "mine", "in d", "lower", "links", "more", 'user.b"', "/dev/shm"):
        assert f'"{word}' not in text and f"/{word}" not in text, word
    found = replayed(hidden, "unionfs")
    assert found.deviation is None, str(found.deviation)
    assert found.done == replayed(traced, "unionfs").done


NAMES = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=80)


@given(st.lists(NAMES, min_size=1, max_size=4), NAMES)
def test_equal_names_are_equal_hashes_and_prefixes_stay(parts: list[str], other: str) -> None:
    names = Names(b"key")
    hidden = [names.component(part) for part in parts]
    assert names.path("/".join(parts)) == "/".join(hidden)
    assert (names.component(other) == hidden[0]) == (other == parts[0])
    assert names.component(f".wh.{parts[0]}") == f".wh.{hidden[0]}" or parts[0] in (".", "..")
    assert Names(b"another").component("name") != names.component("name")
    assert all("/" not in part and part for part in hidden)


def test_what_is_hidden_of_a_layer() -> None:
    names = Names(b"key")
    entry = {
        "path": "secret/place",
        "text": "content",
        "xattrs": {
            "user.secret": "abc",
            "security.selinux": "label",
            "trusted.overlay.redirect": "/secret/x",
        },
    }
    assert names.entry(entry) == {
        "path": names.path("secret/place"),
        "size": 7,
        "xattrs": {
            f"user.{names.component('secret')}": "xxx",
            "security.selinux": "label",
            "trusted.overlay.redirect": names.path("/secret/x"),
        },
    }
    request = {"op": "setxattr", "path": "a", "xattr": "system.posix_acl_access", "value": "\2\0"}
    assert names.request(request)["value"] == "\2\0"
    link = {"op": "symlink", "path": "a", "target": "../secret"}
    assert names.request(link)["target"] == f"../{names.component('secret')}"


def write_trace(path: Path, *requests: Any, layers: Any = ()) -> str:
    lines = [{"trace": 1, "layers": [list(layers)]}, *requests, {"end": "unmounted"}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


WHO = {"who": [0, 0, 18]}


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"op": "unlink", "path": "../../etc/passwd", **WHO}, "not a path inside"),
        ({"op": "unlink", "path": "/etc/passwd", **WHO}, "not a path inside"),
        ({"op": "rename", "path": "a", "new path": "d/../../b", "flags": 0}, "not a path inside"),
        ({"op": "write", "id": 1, "path": "a", "offset": 0, "size": 1 << 40}, "bytes"),
        ({"path": "a"}, "it has no op"),
        ([1], "not a JSON object"),
    ],
)
def test_a_hostile_trace_is_refused(tmp_path: Path, request_: Any, reason: str) -> None:
    with pytest.raises(UnionError, match=f"line 2: .*{reason}"):
        read(write_trace(tmp_path / "t", request_))


@pytest.mark.parametrize(
    "layer",
    [
        [{"path": "../x"}],
        [{"path": "/etc/x"}],
        [{"path": "s", "kind": "symlink", "target": "/etc"}, {"path": "s/x"}],
        [{"path": "h", "kind": "hardlink", "target": "/etc/passwd"}],
        [{"path": "a", "text": "x", "times": 10**12}],
        [{"path": "a", "kind": "else"}],
        [{"path": "a"}, {"path": "a"}],
    ],
)
def test_hostile_layers_are_refused(tmp_path: Path, layer: Any) -> None:
    with pytest.raises(UnionError, match="layers"):
        read(write_trace(tmp_path / "t", layers=layer)).layers()


@pytest.mark.mounted
@pytest.mark.differential
@pytest.mark.parametrize(
    "request_",
    [
        {"op": "unlink", "path": "s/victim"},
        {"op": "open", "path": "s/victim", "id": 5, "flags": os.O_RDWR},
        {"op": "open", "path": "link", "id": 5, "flags": os.O_RDWR | os.O_TRUNC},
        {"op": "setattr", "path": "link", "id": 5, "set": {"mode": 0o777}},
        {"op": "setattr", "path": "link", "id": 5, "set": {"size": 0}},
        {"op": "open", "path": "disk", "id": 5, "flags": os.O_RDWR},
        {"op": "rename", "path": "s/victim", "new path": "mine", "flags": 0},
        {"op": "link", "path": "s/victim", "new path": "mine"},
        {"op": "setxattr", "path": "s/victim", "xattr": "user.x", "value": "y"},
        {"op": "create", "path": "s/new", "id": 5, "flags": 0, "mode": 0o100644},
    ],
)
def test_a_trace_does_not_get_out_of_the_mount(tmp_path: Path, request_: dict[str, Any]) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    victim.chmod(0o600)
    path = write_trace(
        tmp_path / "t",
        {**WHO, **request_},
        layers=[
            {"path": "s", "kind": "symlink", "target": str(tmp_path)},
            {"path": "link", "kind": "symlink", "target": str(victim)},
            {"path": "disk", "kind": "block", "rdev": [7, 0]},
        ],
    )
    with Lab() as lab:
        trace = read(path)
        with pytest.raises(UnionError, match=r"line 2: .* our traces do not do that"):
            replay(lab, find_driver("unionfs"), trace)
    assert victim.read_text() == "untouched"
    assert victim.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path).count("new") == 0


Edit = Callable[[list[str]], list[str]]


@pytest.mark.mounted
@pytest.mark.differential
@pytest.mark.parametrize(
    ("arguments", "edit", "status", "says"),
    [
        ([], lambda lines: lines, 0, "every answer is the same"),
        (["--on", "kernel"], lambda lines: lines, 1, "answered: {'errno': 'EXDEV'}"),
        ([], lambda lines: lines[:5], 0, "the daemon was killed"),
        ([], lambda lines: [*lines[:5], "{cut"], 0, "4 requests"),
        ([], lambda lines: [lines[0].replace('"trace":1', '"trace":9')], 2, "no trace of this"),
        ([], lambda lines: ["hello\n"], 2, "line 1: not JSON"),
        ([], lambda lines: ['{"trace":1,"layers":null}\n'], 2, "give --lower DIR"),
        ([], lambda lines: [lines[0], '{"op":"mkdir","path":"x"}\n'], 2, "not a request"),
        (["--lower", "/absent"], lambda lines: lines, 2, "no such directory"),
        (["--on", "directory", "--lower", "/"], lambda lines: lines, 2, "has no lower layers"),
        (["out"], lambda lines: lines, 2, "takes one file"),
        (["--anonymise"], lambda lines: lines, 2, "name the file to write"),
    ],
)
def test_the_program_says_how_it_went(
    traced: Path, tmp_path: Path, arguments: list[str], edit: Edit, status: int, says: str
) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text("".join(edit(traced.read_text().splitlines(keepends=True))))
    done = subprocess.run(
        [sys.executable, "-m", "unionfs.testing", "replay", str(path), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )
    assert (done.returncode, says in done.stdout + done.stderr) == (status, True), (
        done.stdout + done.stderr
    )
    assert "Traceback" not in done.stderr
    assert sorted(os.listdir(tmp_path)) == ["trace.jsonl"]
