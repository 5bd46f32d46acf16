"""The questions of the behaviour matrix, one module a subject.

A probe is data (`probe.Probe`): layers, operations, and the answers that are right. `run` asks one
driver one probe; `unionfs.testing.matrix` asks all of them.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from unionfs.errors import UnionError
from unionfs.testing.probes import (
    copyup,
    data,
    directories,
    hardlinks,
    identity,
    mounting,
    openfiles,
    readdir,
    rename,
)
from unionfs.testing.probes.probe import Probe

# By the name of the subject, in the order of the document.
SUBJECTS: dict[str, tuple[Probe, ...]] = {
    "rename": rename.PROBES,
    "directories": directories.PROBES,
    "copy-up": copyup.PROBES,
    "identity": identity.PROBES,
    "hard links": hardlinks.PROBES,
    "open files": openfiles.PROBES,
    "data": data.PROBES,
    "listing": readdir.PROBES,
    "mounting": mounting.PROBES,
}


def find_probes(pattern: str = "*") -> list[Probe]:
    """The probes whose names match a pattern, as in fnmatch(3); UnionError when there is none."""
    found = [
        probe
        for probes in SUBJECTS.values()
        for probe in probes
        if fnmatchcase(probe.name, pattern)
    ]
    if not found:
        raise UnionError(f"no probe is called {pattern!r}; docs/semantics.md names them")
    return found
