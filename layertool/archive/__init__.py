"""Layer archives: tar and compression, read and written with limits, never trusted."""

from layertool.archive.compress import Compression, open_compressor, open_decompressor, sniff
from layertool.archive.extract import Extracted, extract_layer
from layertool.archive.index import IndexEntry, IndexWriter, read_index
from layertool.archive.limits import Limits
from layertool.archive.owner import Owner, default_owner
from layertool.archive.pack import Packed, pack_layer

__all__ = [
    "Compression",
    "Extracted",
    "IndexEntry",
    "IndexWriter",
    "Limits",
    "Owner",
    "Packed",
    "default_owner",
    "extract_layer",
    "open_compressor",
    "open_decompressor",
    "pack_layer",
    "read_index",
    "sniff",
]
