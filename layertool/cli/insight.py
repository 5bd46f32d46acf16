"""Questions about images: layers, compare, blame, wasted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from layertool.insight.content import Content, Difference
    from layertool.store import Image, Store

app = typer.Typer()

_BAR = 30
_STEP = 60
_ImageName = Annotated[str, typer.Argument(metavar="IMAGE", help="Name, id or digest.")]


@app.command()
def layers(
    image: _ImageName,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="A list, base first, with layer, diff_id, files, bytes, hidden, copied,"
            " created_by.",
        ),
    ] = False,
) -> None:
    """Show what each layer adds, and how much of it higher layers hide.

    In the bar `#` is content that a container sees, `-` what a higher layer deletes or replaces.
    COPIED is content that the layer below has already: a change of mode or owner copies the file.

    Example: layertool layers debian-with-vi
    """
    from layertool.cli.tables import human, one_line, print_json, print_table
    from layertool.store import Store

    store = Store.open()
    found = store.resolve(image)
    content = _content(store, found)
    rows: list[dict[str, Any]] = [
        {
            "layer": number,
            "diff_id": diff_id,
            "files": layer.files,
            "bytes": layer.bytes,
            "hidden": layer.hidden,
            "copied": layer.copied,
            "created_by": step,
        }
        for number, (diff_id, layer, step) in enumerate(
            zip(found.diff_ids, content.layers, _steps(found), strict=True)
        )
    ]
    if as_json:
        print_json(rows)
        return
    most = max((layer.bytes for layer in content.layers), default=0)
    print_table(
        ("LAYER", "FILES", "BYTES", "HIDDEN", "COPIED", "", "CREATED BY"),
        [
            (
                str(row["layer"]),
                str(row["files"]),
                *(human(row[key]) for key in ("bytes", "hidden", "copied")),
                _bar(row["bytes"], row["hidden"], most),
                one_line(row["created_by"], _STEP),
            )
            for row in rows
        ],
    )


@app.command()
def compare(
    left: Annotated[str, typer.Argument(metavar="A", help="Image.")],
    right: Annotated[str, typer.Argument(metavar="B", help="Image.")],
    times: Annotated[
        bool, typer.Option("--times", help="Times of modification count as well.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="A list with change, path, left, right (type, mode, uid,…)."),
    ] = False,
) -> None:
    """Show the files in which two images differ, as a container of each would see them.

    A is only in B, D only in A; C has another content or type, M only another mode, owner or
    attribute. The number is how many bytes B has more. Exit status 1 when they differ.

    Example: layertool compare debian debian-with-vi
    """
    from layertool.cli.tables import print_json
    from layertool.insight.content import compare as differences
    from layertool.store import Store

    store = Store.open()
    contents = [_content(store, store.resolve(name)) for name in (left, right)]
    found = differences(*contents, times=times)
    if as_json:
        print_json([_difference(each) for each in found])
    else:
        for each in found:
            growth = (each.right.size if each.right else 0) - (each.left.size if each.left else 0)
            print(f"{each.kind} /{_path(each.path)}" + (f"  {growth:+d}" if growth else ""))
    if found:
        raise typer.Exit(1)


@app.command()
def blame(
    image: _ImageName,
    path: Annotated[str, typer.Argument(help="As a container sees it; symlinks not followed.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="A list with layer, change, size, mode, created_by.")
    ] = False,
) -> None:
    """Show which layers added, changed or deleted a path, base first.

    Example: layertool blame debian-with-vi /etc/alternatives/vi
    """
    from layertool.cli.tables import human, one_line, print_json, print_table
    from layertool.errors import NotFound
    from layertool.insight.content import blame as touches_of
    from layertool.store import Store

    store = Store.open()
    found = store.resolve(image)
    wanted = os.fsencode(os.path.normpath(f"/{path}").lstrip("/"))
    touches = touches_of(_indexes(store, found), wanted)
    if not touches:
        raise NotFound(f"/{_path(wanted)}: in no layer of {image}")
    steps = _steps(found)
    rows: list[dict[str, Any]] = [
        {
            "layer": touch.layer,
            "change": touch.change.value,
            "size": touch.entry.size if touch.entry else 0,
            "mode": f"{touch.entry.mode:04o}" if touch.entry else "",
            "created_by": steps[touch.layer],
        }
        for touch in touches
    ]
    if as_json:
        print_json(rows)
        return
    print_table(
        ("LAYER", "CHANGE", "SIZE", "MODE", "CREATED BY"),
        [
            (
                str(row["layer"]),
                row["change"],
                human(row["size"]),
                row["mode"],
                one_line(row["created_by"], _STEP),
            )
            for row in rows
        ],
    )


@app.command()
def wasted(
    image: _ImageName,
    limit: Annotated[
        int, typer.Option("-n", "--limit", min=0, help="So many files; 0 for all.")
    ] = 20,
    fail_above: Annotated[
        int | None,
        typer.Option(min=0, help="Exit status 1 when more bytes than this are wasted, for CI."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="A list with path, bytes, layer, by, fate.")
    ] = False,
) -> None:
    """Show the bytes of an image that no container can see, largest first.

    `deleted` and `replaced` files go away when the step that made them removes them itself;
    `copied` ones when mode and owner are set where the file is made (COPY --chown --chmod).

    Example: layertool wasted debian-with-vi
    """
    from layertool.cli.tables import human, print_json, print_table
    from layertool.store import Store

    store = Store.open()
    content = _content(store, store.resolve(image))
    found = sorted(content.wasted, key=lambda waste: (-waste.bytes, waste.path))
    total = sum(waste.bytes for waste in found)
    shown = found[:limit] if limit else found
    if as_json:
        print_json(
            [
                {
                    "path": f"/{_path(waste.path)}",
                    "bytes": waste.bytes,
                    "layer": waste.layer,
                    "by": waste.by,
                    "fate": waste.fate.value,
                }
                for waste in shown
            ]
        )
    else:
        print_table(
            ("BYTES", "LAYER", "BY", "FATE", "PATH"),
            [
                (
                    human(waste.bytes),
                    str(waste.layer),
                    str(waste.by),
                    waste.fate.value,
                    f"/{_path(waste.path)}",
                )
                for waste in shown
            ],
        )
        rest = f", {len(found) - len(shown)} files not shown" if len(shown) < len(found) else ""
        print(f"{human(total)} wasted{rest}; efficiency {content.efficiency:.1%}")
    if fail_above is not None and total > fail_above:
        raise typer.Exit(1)


def _indexes(store: Store, image: Image) -> list[Any]:
    return [store.layer_index(diff_id) for diff_id in image.diff_ids]


def _content(store: Store, image: Image) -> Content:
    from layertool.insight.content import stack

    return stack(_indexes(store, image))


def _steps(image: Image) -> Sequence[str]:
    """What made each layer, base first."""
    from layertool.insight.steps import steps

    return [step.created_by for step in steps(image, {}) if step.diff_id]


def _bar(size: int, hidden: int, most: int) -> str:
    """As long as the layer is large beside the largest; some of it hidden."""
    length = -(-size * _BAR // most) if most else 0
    dashes = min(length, -(-hidden * _BAR // most)) if most else 0
    return "#" * (length - dashes) + "-" * dashes


def _path(path: bytes) -> str:
    """A hostile name on a terminal."""
    from layertool.archive.headers import shown

    return shown(path)


def _difference(difference: Difference) -> dict[str, Any]:
    sides = {"left": difference.left, "right": difference.right}
    return {
        "change": difference.kind,
        "path": f"/{_path(difference.path)}",
        **{
            side: None
            if entry is None
            else {
                "type": entry.type,
                "mode": f"{entry.mode:04o}",
                "uid": entry.uid,
                "gid": entry.gid,
                "size": entry.size,
                "sha256": entry.sha256.hex(),
            }
            for side, entry in sides.items()
        },
    }
