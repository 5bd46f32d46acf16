"""Care of the store: df, gc, fsck."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def df(
    as_json: Annotated[
        bool, typer.Option("--json", help="A list with type and size (bytes); the last is total.")
    ] = False,
) -> None:
    """Show what the store takes on disk; the lines add up to what du says.

    Example: layertool df
    """
    from dataclasses import asdict

    from layertool.cli.tables import human, print_json, print_table
    from layertool.store import Store

    store = Store.open()
    usage = store.df()
    rows = [*asdict(usage).items(), ("total", usage.total)]
    if as_json:
        print_json([{"type": kind, "size": size} for kind, size in rows])
        return
    print_table(("TYPE", "SIZE", "BYTES"), [(kind, human(size), str(size)) for kind, size in rows])
    print(f"layertool gc would free {human(store.gc(dry_run=True).bytes)}", file=sys.stderr)


@app.command()
def gc(
    dry_run: Annotated[
        bool, typer.Option("-n", "--dry-run", help="Only say what would be freed.")
    ] = False,
    cache_days: Annotated[
        int, typer.Option(min=0, help="Forget build steps not used for so many days.")
    ] = 30,
    as_json: Annotated[
        bool, typer.Option("--json", help="One object: images, layers, blobs, cache, bytes.")
    ] = False,
) -> None:
    """Remove what nothing needs; prints the bytes that it freed, as du counts them.

    Needed is what a name, a container, a command at work, or a build step of the last --cache-days
    days refers to. Images without a name go.

    Example: layertool gc --dry-run
    """
    from dataclasses import asdict

    from layertool.cli.tables import human, print_json
    from layertool.store import Store

    freed = Store.open().gc(dry_run=dry_run, cache_days=cache_days)
    if as_json:
        print_json(asdict(freed))
        return
    verb = "would remove" if dry_run else "removed"
    for digest in freed.images:
        print(f"{verb} image {digest}", file=sys.stderr)
    print(
        f"{verb} {freed.layers} layers, {freed.blobs} blobs, {freed.cache} build steps",
        file=sys.stderr,
    )
    print(f"{freed.bytes} bytes ({human(freed.bytes)}) {'would be ' if dry_run else ''}freed")


@app.command()
def fsck(
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Unpack damaged layers again, drop what cannot be mended."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="A list with subject, what, repaired.")
    ] = False,
) -> None:
    """Check all content against digests and indexes; exit status 1 if something stays damaged.

    Example: layertool fsck --repair
    """
    from dataclasses import asdict

    from layertool.cli.tables import print_json
    from layertool.store import Store

    problems = Store.open().fsck(repair=repair)
    if as_json:
        print_json([asdict(problem) for problem in problems])
    else:
        for problem in problems:
            print(
                f"{problem.subject}: {problem.what}"
                + (f": {problem.repaired}" if problem.repaired else "")
            )
        print("clean" if not problems else f"{len(problems)} problems", file=sys.stderr)
    if any(not problem.repaired for problem in problems):
        raise typer.Exit(1)
