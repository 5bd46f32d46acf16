"""`build --verify`: build twice without the cache, and say what differs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from layertool.build.builder import Builder
from layertool.build.context import Source
from layertool.build.options import Options
from layertool.build.progress import Reporter
from layertool.errors import LayertoolError
from layertool.oci.digest import Digest
from layertool.oci.names import Reference

if TYPE_CHECKING:
    from layertool.store import Image, Store


def build_twice(
    store: Store,
    source: Source,
    options: Options,
    reporter: Reporter,
    names: Sequence[Reference],
) -> Image:
    """The image when both builds gave it. Raises LayertoolError naming the first difference.

    Without --source-date-epoch the time of this build is used for both, so that only real
    differences show, not that the clock went on.
    """
    epoch = int(time.time()) if options.epoch is None else options.epoch
    options = replace(options, epoch=epoch, no_cache=True)
    first = Builder(store, source, options, reporter).build()
    reporter.note("first build done; building again to compare")
    second = Builder(store, source, options, reporter).build(names)
    if first.id == second.id:
        reporter.note(f"reproducible: both builds gave {second.id}")
        return second
    raise LayertoolError(f"not reproducible: {_difference(store, first, second)}")


def _difference(store: Store, first: Image, second: Image) -> str:
    steps = [entry.created_by for entry in second.config.history if not entry.empty_layer]
    pairs = zip(first.config.rootfs.diff_ids, second.config.rootfs.diff_ids, strict=False)
    for number, (one, other) in enumerate(pairs):
        if one != other:
            step = steps[number] if number < len(steps) else f"layer {number}"
            return f"{step}: {_file_difference(store, Digest(one), Digest(other))}"
    return "the layers are equal, the configs are not"


def _file_difference(store: Store, one: Digest, other: Digest) -> str:
    before = {entry.path: entry for entry in store.layer_index(one)}
    for entry in store.layer_index(other):
        old = before.pop(entry.path, None)
        path = entry.path.decode("utf-8", "replace")
        if old is None:
            return f"/{path} was made only by the second build"
        if old != entry:
            names = [
                name
                for name in entry.__struct_fields__
                if getattr(old, name) != getattr(entry, name)
            ]
            return f"/{path} differs in {', '.join(names)}"
    if before:
        path = min(before).decode("utf-8", "replace")
        return f"/{path} was made only by the first build"
    return "the files are equal, the archives are not"
