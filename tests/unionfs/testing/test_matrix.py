"""The behaviour matrix: what is right, who answers so, and that docs/semantics.md tells the truth."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from unionfs.testing.bench import Lab
from unionfs.testing.cli import main
from unionfs.testing.commands.matrix import split
from unionfs.testing.drivers import PRESETS, parse_driver
from unionfs.testing.language import Stat
from unionfs.testing.layers import file
from unionfs.testing.matrix import COLUMNS, Matrix, Row, ask_all, deviation
from unionfs.testing.matrixpage import heading, html_page, markdown, markdown_cell
from unionfs.testing.probes import SUBJECTS, find_probes
from unionfs.testing.probes.answers import (
    AtMost,
    Contains,
    Fails,
    Gives,
    Has,
    Marked,
    OneOf,
    Other,
    Same,
    Unordered,
)
from unionfs.testing.probes.probe import Declared, Probe, does
from unionfs.testing.probes.program import first_line, program, questions
from unionfs.testing.probes.run import Cell

DOCS = Path(__file__).parents[3] / "docs"
MUTANTS = Path(__file__).with_name("mutants.py")
REMEDY = "run: unionfs-lab matrix --format markdown --output docs/semantics.md"
RELEASE = "Linux " + ".".join(os.uname().release.split(".")[:2])
PROBES = find_probes()


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


# --- judging an answer -------------------------------------------------------------------------

RECORD = {"type": "file", "size": 2, "dev": 1, "ino": 7}


@pytest.mark.parametrize(
    ("right", "outcome", "wrong"),
    [
        (Gives("x"), {"result": "x"}, None),
        (Gives("x"), {"result": "y"}, "y"),
        (Gives("x"), {"errno": "EIO"}, "EIO"),
        (Gives(None), {"result": RECORD}, "a file"),
        (Gives(None), {"result": {**RECORD, "whiteout": True}}, "a whiteout"),
        (Gives("4:A\n\0\0"), {"result": "4:A\nB\n"}, r"4:A\nB\n"),
        (Gives(Contains("a")), {"result": ["b"]}, "without a"),
        (Gives(Unordered(("a", "b"))), {"result": ["b", "a"]}, None),
        (Gives(Unordered(("a", "b"))), {"result": ["b", "a", "a"]}, '["a", "a", "b"]'),
        (Fails(("EEXIST", "ENOTEMPTY")), {"errno": "ENOTEMPTY"}, None),
        (Fails(("EEXIST",)), {"errno": "EXDEV"}, "EXDEV"),
        (Fails(("EEXIST",)), {"result": None}, "works"),
        (Has({"size": 2}), {"result": RECORD}, None),
        (Has({"size": 3}), {"result": RECORD}, "size 2"),
        (Has({"size": 3}), {"result": None}, "nothing there"),
        (Has({"size": AtMost(1)}), {"result": RECORD}, "size 2"),
        (Has({"size": OneOf((1, 2))}), {"result": RECORD}, None),
        (Has({"ino": Same("known")}), {"result": RECORD}, "ino changed"),
        (Has({"ino": Other("known")}), {"result": RECORD}, None),
        (Has({"ino": Same("new")}), {"result": RECORD}, None),
        (Has({"identity": Same("file")}), {"result": RECORD}, None),
        (Has({"identity": Other("file")}), {"result": RECORD}, "identity the same"),
        (
            Has({"xattrs": Marked("opaque", "1:y")}),
            {"result": {**RECORD, "xattrs": {"user.overlay.opaque": "1:y"}}},
            None,
        ),
        (
            Has({"xattrs": Marked("opaque", "1:y")}),
            {"result": {**RECORD, "xattrs": {"user.opaque": "1:y"}}},
            "xattrs no overlay.opaque",
        ),
    ],
)
def test_an_outcome_is_judged(right: Any, outcome: dict[str, Any], wrong: str | None) -> None:
    assert right.wrong(outcome, {"known": 6, "file": [1, 7]}) == wrong


ASKED = Probe(
    "p", "t", "s", ((file("a"),),), (does(Stat("a")),),
    declared=(Declared("unionfs@*", "stat: EIO", "why", unless="index=on"),),
)  # fmt: skip


@pytest.mark.parametrize(
    ("driver", "cell", "deviates"),
    [
        ("unionfs", Cell("right"), False),
        ("unionfs", Cell("differs", "stat: EIO"), True),
        ("unionfs", Cell("cannot", "no /dev/fuse"), False),
        ("unionfs@userns", Cell("differs", "stat: EIO"), False),
        ("unionfs@userns", Cell("differs", "stat: ENOENT"), True),
        ("unionfs@userns:index=on", Cell("right"), False),
        # What is declared and has gone away must be declared no longer.
        ("unionfs@userns", Cell("right"), True),
    ],
)
def test_ours_must_answer_as_recorded(driver: str, cell: Cell, deviates: bool) -> None:
    assert (deviation(ASKED, parse_driver(driver), cell) is not None) == deviates


# --- the probes --------------------------------------------------------------------------------


def test_names_are_unique() -> None:
    names = [probe.name for probe in PROBES]
    assert len(set(names)) == len(names)


def test_declarations_name_drivers_and_say_why() -> None:
    for probe in PROBES:
        for declared in probe.declared:
            assert declared.why
            assert any(probe.declaration(name) is declared for name in PRESETS), probe.name


@pytest.mark.needs("root")
def test_a_plain_directory_answers_right(lab: Lab) -> None:
    """So what we call right is what a file system does."""
    matrix = ask_all(lab, [parse_driver("directory")], PROBES)
    wrong = {
        row.probe.name: str(row.cells[0]) for row in matrix.rows if row.cells[0].kind == "differs"
    }
    assert not wrong
    assert sum(row.cells[0].kind == "right" for row in matrix.rows) > 90


FUSE_OVERLAYFS_1_10 = {
    "rename-of-new-link-leaves-no-needless-whiteout": "raw_upper: a whiteout",
    "rename-over-emptied-directory": 'raw_upper: names [".wh..opq", ".wh..wh..opq", "a", "b"...',
    "mkdir-leaves-no-litter": 'raw_upper: names [".wh..opq", ".wh..wh..opq"]',
    "mknod-whiteout": "mknod: ENOENT",
    "name-of-255-bytes": "name_max: 251",
    "setgid-directory": "stat: mode 0755",
    "default-acl-and-umask": "stat: mode 0600",
    "number-of-changed-directory-over-remount": "stat: ino changed",
    "two-disks-two-files": "stat: identity the same",
    "hard-link-written-then-remounted": r"read_file: 4:A\n\x00\x00",
    "unlinked-link-count": "fstat: nlink 1",
    "temporary-file": "open: ENOTSUP",
    "sparse-copy-up": "raw_upper: blocks 131072",
    "lower-access-time": "raw_lower: atime changed",
    "fifo-copy-up": "chown: EIO",
    "fifo-stays-fifo": "stat: type file",
    "device-stays-device": "stat: type file",
    "socket-copy-up": "chown: ENXIO",
    "immutable-lower": "chmod: works",
    "setuid-at-write": "stat: mode 4757",
    "parent-time-at-copy-up": "stat: mtime changed",
    "mount-colon": "mount: refused",
    "mount-redirect-in-lower": 'list_dir: ["b file"]',
    "mount-data-only-lower": r"read_file: 4:\x00\x00\x00\x00",
}


@pytest.mark.needs("root", "fuse", "fuse-overlayfs")
def test_the_known_bugs_of_fuse_overlayfs_come_out(lab: Lab) -> None:
    said = subprocess.run(["fuse-overlayfs", "--version"], capture_output=True, text=True).stdout
    if "version 1.10\n" not in said:
        pytest.skip("impossible here: the list is of fuse-overlayfs 1.10")
    probes = [probe for probe in PROBES if probe.name in FUSE_OVERLAYFS_1_10]
    matrix = ask_all(lab, [parse_driver("fuse-overlayfs")], probes)
    assert {row.probe.name: row.cells[0].text for row in matrix.rows} == FUSE_OVERLAYFS_1_10


# --- the document ------------------------------------------------------------------------------


def document_cells() -> dict[tuple[str, str], str]:
    """The cells of docs/semantics.md, by probe and heading of the column."""
    cells = {}
    heads: list[str] = []
    for line in (DOCS / "semantics.md").read_text(encoding="utf-8").splitlines():
        parts = [part.strip() for part in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(parts) > 2 and parts[0] == "":
            heads = parts
        elif name := re.search(r"<br>`([\w-]+)`$", parts[0] if parts else ""):
            cells |= {(name[1], head): cell for head, cell in zip(heads, parts, strict=True)}
    return cells


def test_the_document_has_a_row_for_each_probe_and_a_column_for_each_driver() -> None:
    wanted = {(p.name, heading(parse_driver(name))) for p in PROBES for name in COLUMNS}
    assert wanted <= document_cells().keys(), REMEDY


@pytest.mark.needs("root", "fuse", "overlay", "userns")
@pytest.mark.parametrize(
    "name", [name for name in COLUMNS if name.startswith("unionfs") and "fuse" not in name]
)
def test_ours_answers_as_recorded_and_as_the_document_says(lab: Lab, name: str) -> None:
    assert_column(lab, name)


@pytest.mark.needs("root", "overlay", "userns")
@pytest.mark.parametrize("name", [n for n in COLUMNS if parse_driver(n).family == "kernel"])
def test_the_kernel_answers_as_the_document_says(lab: Lab, name: str) -> None:
    if RELEASE not in (DOCS / "semantics.md").read_text(encoding="utf-8"):
        pytest.skip(f"impossible here: the document is about another kernel than {RELEASE}")
    assert_column(lab, name)


def assert_column(lab: Lab, name: str) -> None:
    """The document's column of a driver is what it answers now, and ours deviates nowhere."""
    driver = parse_driver(name)
    matrix = ask_all(lab, [driver], PROBES)
    assert matrix.deviations() == []
    told = document_cells()
    now = {row.probe.name: markdown_cell(row.probe, row.cells[0]) for row in matrix.rows}
    assert now == {probe.name: told[probe.name, heading(driver)] for probe in PROBES}, REMEDY


@pytest.mark.parametrize("subject", SUBJECTS)
def test_the_programs_in_the_document_are_the_probes(subject: str) -> None:
    path = DOCS / "probes" / f"{subject.replace(' ', '-')}.py"
    text = path.read_text(encoding="utf-8")
    assert text.startswith(questions(SUBJECTS[subject])), REMEDY
    links = (DOCS / "semantics.md").read_text(encoding="utf-8")
    for probe in SUBJECTS[subject]:
        assert f"[{probe.name}]: probes/{path.name}#L{first_line(text, probe)}\n" in links, REMEDY


# --- the programs ------------------------------------------------------------------------------


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_subject_prints_as_a_program(subject: str) -> None:
    compile(program(SUBJECTS[subject]), subject, "exec")


@pytest.mark.needs("root", "fuse", "overlay")
@pytest.mark.parametrize(
    ("probe", "ours", "kernel"),
    [
        ("hard-link-written", r"read_file('h2') 4:A", r"read_file('h2') 2:A"),
        ("mount-one-lower", "answers with status 0", "answers with status 32"),
    ],
)
def test_a_program_shows_what_the_matrix_says(
    probe: str, ours: str, kernel: str, tmp_path: Path
) -> None:
    script = tmp_path / "program.py"
    script.write_text(program(find_probes(probe)))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [shutil.which("unshare") or "unshare", "--mount", sys.executable, script, "unionfs", "kernel"],
        env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    _, first, second = re.split(r"^== ", done.stdout, flags=re.MULTILINE)
    assert ours in first
    assert kernel in second


# --- pages and the command line ----------------------------------------------------------------

SMALL = Matrix(
    (parse_driver("directory"), parse_driver("unionfs")),
    (
        Row(find_probes("name-of-aufs")[0], (Cell("right"), Cell("differs", "create: EINVAL"))),
        Row(find_probes("mount-colon")[0], (Cell("cannot", "has <no> layers"), Cell("right"))),
    ),
)


def test_markdown_links_each_cell_to_its_program() -> None:
    page = markdown(SMALL, "Asked here.")
    assert "[✗][name-of-aufs] `create: EINVAL` | the name is a deletion" in page.text
    assert "| [-][mount-colon] has \\<no\\> layers | [✓][mount-colon] |" in page.text
    for name, path, line in re.findall(r"^\[([\w-]+)\]: (\S+)#L(\d+)$", page.text, re.MULTILINE):
        shown = page.programs[path].splitlines()[int(line) - 1]
        assert shown == f"def {name.replace('-', '_')}():"
    assert set(page.programs) == {"probes/directories.py", "probes/mounting.py"}


def test_html_holds_the_programs() -> None:
    page = html_page(SMALL, "Asked here.")
    for row in SMALL.rows:
        assert page.count(f'<a href="#{row.probe.name}">') == 2
        assert page.count(f'<details id="{row.probe.name}">') == 1
    assert "has &lt;no&gt; layers" in page


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("kernel,unionfs", ["kernel", "unionfs"]),
        (
            "kernel@userns,unionfs:redirect_dir=off,index=on,directory",
            ["kernel@userns", "unionfs:redirect_dir=off,index=on", "directory"],
        ),
        ("cmd:./u --a=b,c,kernel:index=on", ["cmd:./u --a=b,c", "kernel:index=on"]),
    ],
)
def test_driver_names_with_commas(text: str, names: list[str]) -> None:
    assert split(text) == names


@pytest.mark.needs("root", "fuse")
def test_the_command_writes_a_page_and_answers_zero(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "page.md"
    arguments = ["--drivers", "directory,unionfs", "--probes", "rename-noreplace*"]
    assert main(["matrix", *arguments, "--format", "markdown", "--output", str(output)]) == 0
    assert "| unionfs | 2 of 2 |" in output.read_text(encoding="utf-8")
    assert (tmp_path / "probes" / "rename.py").exists()
    assert main(["matrix", *arguments]) == 0
    assert "unionfs 2 of 2" in capsys.readouterr().out


@pytest.mark.needs("root", "fuse")
@pytest.mark.parametrize(
    ("bug", "probe"),
    [
        ("no_opaque_over_whiteout", "mkdir-over-deleted"),
        ("no_whiteout_on_rename", "rename-file-over-file"),
        ("no_setgid", "setgid-directory"),
        ("broken_hard_links", "hard-link-written"),
        ("filled_holes", "sparse-copy-up"),
        ("stale_descriptor", "descriptor-from-before-copy-up"),
        ("touched_parent", "parent-time-at-copy-up"),
        ("files_merge_directories", "file-ends-the-merge"),
    ],
)
def test_a_planted_bug_gives_status_one(
    bug: str, probe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    planted = ["--drivers", "unionfs", "--probes", probe, "--prelude", f"{MUTANTS}:plant,{bug}"]
    assert main(["matrix", *planted]) == 1
    assert f"unionfs-lab: {probe} on unionfs: differs" in capsys.readouterr().err


@pytest.mark.needs("root")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--probes", "no-such"], "no probe is called 'no-such'"),
        (["--drivers", "aufs"], "unknown driver 'aufs'"),
        (["--script", "no-such"], "no probe is called 'no-such'"),
        (["--drivers", "directory", "--output", "/no/such/page"], "/no/such is not a directory"),
    ],
)
def test_what_cannot_be_asked_gives_status_two(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["matrix", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_the_program_of_a_probe_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["matrix", "--script", "rename-noreplace"]) == 0
    assert "def rename_noreplace():" in capsys.readouterr().out
