"""The behaviour matrix as a page: for a terminal, as Markdown, as HTML."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from unionfs.testing.drivers import ALL_ON, Driver
from unionfs.testing.matrix import Matrix, Row
from unionfs.testing.probes import SUBJECTS
from unionfs.testing.probes.probe import Probe
from unionfs.testing.probes.program import answers, first_line, program
from unionfs.testing.probes.run import Cell

SIGNS = {"right": "✓", "differs": "✗", "cannot": "-"}
INTRODUCTION = (
    "What a program meets on each union file system, asked of the real ones. Right (✓) is what "
    "POSIX or the manual page says of one file system, for that is what a program takes a union "
    "for; where only unions have the question, it is what the kernel's overlayfs.rst says. ✗ comes "
    "with what the union answered instead, - with why it cannot be asked. Each sign leads to the "
    "program that asks. A plain directory is the reference."
)
DECLARED = "Where ours is not right, the last column says why."


def subject_rows(matrix: Matrix) -> Iterator[tuple[str, list[Row]]]:
    """The rows by subject; subjects without rows are left out."""
    for subject, probes in SUBJECTS.items():
        names = {probe.name for probe in probes}
        rows = [row for row in matrix.rows if row.probe.name in names]
        if rows:
            yield subject, rows


def heading(driver: Driver) -> str:
    """A driver's name for people."""
    if driver.family == "command":
        return driver.name
    name = driver.name.replace(ALL_ON, "all on").replace(":", ", ")
    return name.replace("@userns", " in a user namespace")


def score(matrix: Matrix, position: int) -> str:
    """How many answers of a driver are right."""
    kinds = [row.cells[position].kind for row in matrix.rows]
    return f"{kinds.count('right')} of {len(kinds) - kinds.count('cannot')}"


def reasons(matrix: Matrix, row: Row) -> str:
    """Why ours is not right in this row, for those of its drivers that are not."""
    found = {
        declared.why: None
        for driver, cell in zip(matrix.drivers, row.cells, strict=True)
        if cell.kind == "differs" and "ours" in driver.traits
        if (declared := row.probe.declaration(driver.name)) is not None
    }
    return "; ".join(found)


# --- terminal ----------------------------------------------------------------------------------


def terminal(matrix: Matrix, console: Console) -> None:
    """Print the matrix, one table a subject."""
    for subject, rows in subject_rows(matrix):
        table = Table(title=subject, title_justify="left", box=SIMPLE)
        table.add_column("probe", no_wrap=True)
        for driver in matrix.drivers:
            table.add_column(heading(driver), overflow="fold")
        for row in rows:
            table.add_row(row.probe.name, *(terminal_cell(cell) for cell in row.cells))
        console.print(table)
    totals = [f"{heading(d)} {score(matrix, n)}" for n, d in enumerate(matrix.drivers)]
    console.print("Right: " + ", ".join(totals), markup=False, highlight=False)
    for row in matrix.rows:
        if why := reasons(matrix, row):
            console.print(f"{row.probe.name}: {why}", markup=False, highlight=False)
    console.print("The program of a probe: unionfs-lab matrix --script PROBE", highlight=False)


def terminal_cell(cell: Cell) -> str:
    """Sign and answer; rich takes brackets for markup."""
    colour = {"right": "green", "differs": "red", "cannot": "dim"}[cell.kind]
    text = cell.text.replace("[", r"\[")
    return f"[{colour}]{SIGNS[cell.kind]}[/] {text}".rstrip()


# --- Markdown ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Document:
    """A Markdown page, and the programs that it links to, by path relative to it."""

    text: str
    programs: Mapping[str, str]


def markdown(matrix: Matrix, conditions: str) -> Document:
    """The page; conditions says on what it was asked."""
    programs: dict[str, str] = {}
    lines = [
        "<!-- Made by `unionfs-lab matrix --format markdown --output FILE`; do not edit. -->",
        "# Semantics: what each union answers",
        "",
        INTRODUCTION,
        DECLARED,
        "",
        conditions,
        "",
        *summary_table(matrix),
    ]
    links = []
    for subject, rows in subject_rows(matrix):
        path = f"probes/{subject.replace(' ', '-')}.py"
        # All its probes, whichever were asked: line numbers in it hold for every page.
        programs[path] = program(SUBJECTS[subject])
        lines += ["", f"## {subject.capitalize()}", "", *subject_table(matrix, rows)]
        links += [
            f"[{row.probe.name}]: {path}#L{first_line(programs[path], row.probe)}" for row in rows
        ]
    return Document("\n".join([*lines, "", *links]) + "\n", programs)


def summary_table(matrix: Matrix) -> list[str]:
    """How many right answers each driver gave."""
    lines = ["| | right |", "|---|---|"]
    lines += [f"| {heading(d)} | {score(matrix, n)} |" for n, d in enumerate(matrix.drivers)]
    return lines


def subject_table(matrix: Matrix, rows: list[Row]) -> list[str]:
    """One table."""
    heads = ["", *(heading(driver) for driver in matrix.drivers), "why ours is not right"]
    lines = [table_line(heads), "|---" * len(heads) + "|"]
    for row in rows:
        cells = [markdown_cell(row.probe, cell) for cell in row.cells]
        title = f"{escaped(row.probe.title)}<br>`{row.probe.name}`"
        lines.append(table_line([title, *cells, escaped(reasons(matrix, row))]))
    return lines


def table_line(cells: list[str]) -> str:
    """A row in Markdown."""
    return f"| {' | '.join(cells)} |"


def markdown_cell(probe: Probe, cell: Cell) -> str:
    """The sign as a link, and the answer."""
    sign = f"[{SIGNS[cell.kind]}][{probe.name}]"
    if cell.kind == "differs":
        return f"{sign} `{cell.text.replace('|', chr(92) + '|')}`"
    return f"{sign} {escaped(cell.text)}".rstrip()


def escaped(text: str) -> str:
    """Text in which nothing is Markdown."""
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", text)


# --- HTML --------------------------------------------------------------------------------------

STYLE = """\
body { font: 15px/1.4 sans-serif; margin: 2em; }
table { border-collapse: collapse; margin: 1em 0; }
th, td { border: 1px solid #ccc; padding: .2em .5em; text-align: left; vertical-align: top; }
.right a { color: #070; } .differs { background: #fee; } .cannot { color: #888; }
pre { background: #f6f6f6; padding: 1em; overflow-x: auto; }
"""


def html_page(matrix: Matrix, conditions: str) -> str:
    """One self-contained page; the programs lie in it, folded."""
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f"<title>What each union answers</title><style>{STYLE}</style></head><body>",
        "<h1>What each union answers</h1>",
        f"<p>{html.escape(INTRODUCTION)} {DECLARED}</p><p>{html.escape(conditions)}</p>",
    ]
    for subject, rows in subject_rows(matrix):
        parts += [f"<h2>{subject.capitalize()}</h2>", html_table(matrix, rows)]
    parts.append("<h2>Programs</h2>")
    parts += [html_details(row.probe) for row in matrix.rows]
    return "\n".join([*parts, "</body></html>"]) + "\n"


def html_table(matrix: Matrix, rows: list[Row]) -> str:
    """One table."""
    heads = ["", *(heading(driver) for driver in matrix.drivers), "why ours is not right"]
    lines = ["<table><tr>", *(f"<th>{html.escape(head)}</th>" for head in heads), "</tr>"]
    for row in rows:
        cells = "".join(html_cell(row.probe, cell) for cell in row.cells)
        why = html.escape(reasons(matrix, row))
        title = f"{html.escape(row.probe.title)}<br><code>{row.probe.name}</code>"
        lines.append(f"<tr><td>{title}</td>{cells}<td>{why}</td></tr>")
    return "\n".join([*lines, "</table>"])


def html_cell(probe: Probe, cell: Cell) -> str:
    """The sign as a link, and the answer."""
    link = f'<a href="#{probe.name}">{SIGNS[cell.kind]}</a>'
    return f'<td class="{cell.kind}">{link} {html.escape(cell.text)}</td>'


def html_details(probe: Probe) -> str:
    """A probe with its program, folded."""
    steps = "".join(f"<li>{html.escape(text)}</li>" for text in answers(probe))
    return (
        f'<details id="{probe.name}"><summary>{probe.name}: {html.escape(probe.title)}</summary>'
        f"<p>{html.escape(probe.source)}</p><ol>{steps}</ol>"
        f"<pre>{html.escape(program([probe]))}</pre></details>"
    )
