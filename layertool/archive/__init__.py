"""Layer archives: tar and compression, read and written with limits, never trusted."""

from layertool.archive.compress import Compression, open_compressor, open_decompressor, sniff
from layertool.archive.extract import Extracted, extract_layer
from layertool.archive.index import IndexEntry, IndexWriter, read_index
from layertool.archive.limits import Limits
from layertool.archive.owner import Owner, default_owner

__all__ = [
    "Compression",
    "Extracted",
    "IndexEntry",
    "IndexWriter",
    "Limits",
    "Owner",
    "default_owner",
    "extract_layer",
    "open_compressor",
    "open_decompressor",
    "read_index",
    "sniff",
]
