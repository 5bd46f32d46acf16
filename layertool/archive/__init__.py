"""Layer archives: tar and compression, read and written with limits, never trusted.

Everything is imported on first use: commands that only list what the store has need none of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from layertool.archive.compress import Compression, open_compressor, open_decompressor, sniff
    from layertool.archive.extract import Extracted, Placed, extract_layer
    from layertool.archive.index import IndexEntry, IndexWriter, read_index
    from layertool.archive.limits import Limits
    from layertool.archive.owner import Owner, default_owner
    from layertool.archive.pack import Packed, copy_layer, pack_layer

_HOMES = {
    "Compression": "compress",
    "Extracted": "extract",
    "IndexEntry": "index",
    "IndexWriter": "index",
    "Limits": "limits",
    "Owner": "owner",
    "Packed": "pack",
    "Placed": "extract",
    "copy_layer": "pack",
    "default_owner": "owner",
    "extract_layer": "extract",
    "open_compressor": "compress",
    "open_decompressor": "compress",
    "pack_layer": "pack",
    "read_index": "index",
    "sniff": "compress",
}

__all__ = [
    "Compression",
    "Extracted",
    "IndexEntry",
    "IndexWriter",
    "Limits",
    "Owner",
    "Packed",
    "Placed",
    "copy_layer",
    "default_owner",
    "extract_layer",
    "open_compressor",
    "open_decompressor",
    "pack_layer",
    "read_index",
    "sniff",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
