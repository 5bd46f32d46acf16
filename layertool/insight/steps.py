"""The steps of an image's history, each with its layer (image-spec config.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from layertool.oci.digest import Digest
from layertool.store import Image


@dataclass(frozen=True, slots=True)
class Step:
    """One line of history. `size`: bytes on disk of its layer, 0 for a step without one."""

    created: str
    created_by: str
    size: int
    comment: str
    empty_layer: bool
    diff_id: str
    """Empty for a step without a layer."""

    def to_dict(self) -> dict[str, Any]:
        """For scripts."""
        return asdict(self)


def steps(image: Image, sizes: Mapping[Digest, int]) -> list[Step]:
    """The history, oldest first, with the layers' `sizes` in bytes.

    Histories that do not match their layers exist (podman refuses them): layers that no entry is
    left for are shown without a description, entries that no layer is left for as empty.
    """
    layers = list(image.diff_ids)
    found = []
    for entry in image.config.history:
        diff_id = layers.pop(0) if layers and not entry.empty_layer else None
        found.append(
            Step(
                created=entry.created,
                created_by=entry.created_by,
                size=sizes.get(diff_id, 0) if diff_id is not None else 0,
                comment=entry.comment,
                empty_layer=diff_id is None,
                diff_id=diff_id or "",
            )
        )
    found += [Step("", "", sizes.get(diff_id, 0), "", False, diff_id) for diff_id in layers]
    return found
