"""A userspace union file system in the on-disk format of kernel overlayfs.

``unionfs.mount(lowers=[...], upper=..., work=..., mountpoint=...)`` mounts from Python; the program
``unionfs`` does it from a shell. Everything is imported on first use, so that ``import unionfs``
costs nothing and needs no FUSE.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import UnionError
from .version import VERSION as __version__

if TYPE_CHECKING:
    from .api import Mount, mount
    from .options import MountOptions, parse_options

_LAZY = {
    "Mount": "api",
    "mount": "api",
    "MountOptions": "options",
    "parse_options": "options",
}

__all__ = ["Mount", "MountOptions", "UnionError", "__version__", "mount", "parse_options"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_LAZY[name]}", __name__), name)
