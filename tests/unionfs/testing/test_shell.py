"""A case as a shell script: each line ends as the operation does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from unionfs import UnionError
from unionfs.testing import language as op
from unionfs.testing.bench import Bench, Lab
from unionfs.testing.compare import Case
from unionfs.testing.drivers import find_driver
from unionfs.testing.layers import directory, file, hardlink, special, symlink, whiteout
from unionfs.testing.shell import WORDS, escaped, shell_script

LAYERS = (
    (directory("d"), whiteout("d/gone"), directory("opaque", opaque=True)),
    (
        directory("d", mode=0o1777, uid=1000),
        file("d/gone"),
        file("d/it's 100%", "a\\b\n'%s'\0é", times=3, mode=0o4755, uid=1000, gid=1001),
        file("sparse", "x", size=1 << 20, xattrs={"user.a": "it's"}),
        hardlink("link", "sparse"),
        symlink("symlink", "d/gone"),
        special("fifo", "fifo"),
        special("char", "char", (1, 3)),
        special("socket", "socket"),
        directory("opaque"),
        file("opaque/a"),
    ),
)
# Each word of the shell at least once, and each way to fail that its users know.
OPERATIONS: tuple[op.Operation, ...] = (
    op.Stat("d"), op.Stat("d/gone"), op.Access("sparse", "write", who=2), op.NameMax("d"),
    op.ReadFile("d/it's 100%"), op.ReadFile("nothing"), op.ListDir("."), op.ListDir("opaque"),
    op.WriteFile("d/it's 100%", "%d\\n\0", 700, "append"), op.WriteFile("sparse", "y", who=2),
    op.WriteFile("new", "x" * 70, 5000, "inside"), op.Create("d/mine", 0o600, who=2),
    op.Create("d/mine"), op.Truncate("sparse", 5), op.Mkdir("d/dir", 0o700), op.Mkdir("d/dir"),
    op.Mkdir("dir", 0o755, who=3), op.Rmdir("d"), op.Rmdir("d/dir"), op.Unlink("nothing"),
    op.Unlink("d/mine", who=3), op.Rename("d/mine", "d/gone"), op.Rename("d", "e"),
    op.Rename("new", "link", "noreplace"), op.Rename("new", "link", "exchange"),
    op.Link("link", "d/another"), op.Link("link", "d/another"), op.Symlink("x y", "d/s"),
    op.Readlink("d/s"), op.Readlink("d"), op.Mknod("p", "fifo", 0o622),
    op.Mknod("c", "char", 0o600, 1, 5), op.Mknod("f", "file"), op.Mknod("s", "socket"),
    op.Mknod("w", "char"), op.Chmod("sparse", 0o4711), op.Chmod("sparse", 0o777, who=2),
    op.Chown("symlink", 1000, 1000), op.Chown("link", 1, 1, who=2),
    op.Utimens("d/another", 1_500_000_000, 1_000_000_001), op.Umask(0o027), op.Mkdir("masked", 0o777),
    op.SetXattr("link", "user.b", "1 2"), op.SetXattr("link", "user.", ""),
    op.GetXattr("link", "user.b"), op.GetXattr("d", "user.b"), op.RemoveXattr("link", "user.b"),
    op.RemoveXattr("link", "user.b"), op.ListXattrs("sparse"), op.SetDefaultAcl("masked", 7, 5, 0),
    op.Mkdir("masked/inner"), op.GetFlags("sparse"), op.RemoveTree("nothing"), op.Remount(),
    op.RemoveTree("d"), op.ListDir("d"), op.RawUpper("d"), op.RawLower("d/gone", 1),
)  # fmt: skip


@pytest.mark.mounted
@pytest.mark.differential
@pytest.mark.needs("perl", "setpriv", "getfattr", "setfacl", "lsattr")
def test_every_line_ends_as_the_operation_does(tmp_path: Path) -> None:
    kernel = find_driver("kernel")
    with Lab() as lab, Bench(lab, kernel, LAYERS) as bench:
        answers = [(o, bench.step(o)) for o in OPERATIONS]
    script = tmp_path / "script.sh"
    script.write_bytes(os.fsencode(shell_script(Case(LAYERS, OPERATIONS), (kernel,))))
    done = run_alone(["sh", str(script)])
    assert "syntax error" not in done.stderr
    right = [
        (str(operation), answer.get("result", False) is not False)
        for operation, answer in answers
        if type(operation) in WORDS
    ]
    lines = re.findall(
        r"^(\w+\(.*\).*)\n(?:(?!    status).*\n)*    status (\d+)", done.stdout, re.M
    )
    assert [(line, status == "0") for line, status in lines] == right, done.stderr
    shutil.rmtree(done.stdout.split()[-1].rstrip("."))


def run_alone(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run in a mount namespace of its own, so that a failing script leaves nothing mounted."""
    return subprocess.run(
        ["unshare", "-m", *command], capture_output=True, text=True, errors="replace", timeout=120
    )


def test_every_word_is_tried() -> None:
    assert WORDS.keys() <= {type(operation) for operation in OPERATIONS}


@pytest.mark.parametrize("text", ["", "plain", "it's", "100%\n", "\\n\\", "é\0\xff", "$x`y`!"])
def test_text_is_written_as_it_is(text: str) -> None:
    done = subprocess.run(["sh", "-c", f"printf {escaped(text)}"], capture_output=True, check=True)
    assert done.stdout == text.encode("latin-1")


@pytest.mark.parametrize(
    "operation",
    [op.Open(0, "a", "RDWR"), op.Umask(0, who=2), op.SetXattr("a", "user.a", "", "create")],
)
def test_what_the_shell_cannot_do_is_refused(operation: op.Operation) -> None:
    with pytest.raises(UnionError, match="print the case as Python"):
        shell_script(Case((), (operation,)), ())
