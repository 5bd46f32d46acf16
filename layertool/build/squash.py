"""`--squash`: all layers that the build added as one."""

from __future__ import annotations

import os

from layertool.archive import default_owner, extract_layer
from layertool.build import cache
from layertool.build.cache import Input, Record
from layertool.build.draft import Draft, Layer
from layertool.build.progress import Reporter
from layertool.build.step import Services
from layertool.oci.digest import Digest


def squash(draft: Draft, services: Services, reporter: Reporter) -> Draft:
    """The draft with its new layers merged into one; the base's stay as they are."""
    new = draft.layers[draft.base_layers :]
    if len(new) < 2:
        return draft
    result = draft.fork()
    base = Draft(draft.document, draft.layers[: draft.base_layers])
    inputs = [Input("setting", "squash", str(draft.base_layers))]
    inputs += [Input("state", layer.diff_id, "") for layer in draft.layers]
    found = services.store.cached_step(cache.key(inputs))
    record = Record.decode(found) if found is not None else None
    if record is None or not _is_stored(record, services):
        reporter.note(f"squashing {len(new)} layers into one")
        record = Record(services.now(), _merge(new, base, services))
        services.store.cache_step(
            cache.key(inputs),
            "squash",
            None if record.layer is None else Digest(record.layer.diff_id),
            record.encode(),
            cache.encode_inputs(inputs),
        )
    result.layers = list(base.layers)
    for entry in result.document["history"][-_new_entries(draft) :]:
        entry["empty_layer"] = True
    result.record(f"squashed {len(new)} layers", record.created, record.layer)
    return result


def _is_stored(record: Record, services: Services) -> bool:
    layer = record.layer
    return layer is not None and services.store.has_layer(Digest(layer.diff_id))


def _new_entries(draft: Draft) -> int:
    """How many history entries are the build's own."""
    return len(draft.document["history"]) - draft.base_history


def _merge(new: list[Layer], base: Draft, services: Services) -> Layer:
    """Apply the layers' archives onto the base, and pack what that changed."""
    with services.workspace() as workspace:
        with workspace.root(services.layer_dirs(base)) as root:
            fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                for layer in new:
                    services.cancellation.check()
                    with services.store.open_blob(Digest(layer.digest)) as blob:
                        extract_layer(blob, fd, format="apply", owner=default_owner())
            finally:
                os.close(fd)
        return services.commit(workspace)
