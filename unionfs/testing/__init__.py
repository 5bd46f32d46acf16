"""The semantics lab: run the same operations on several union file systems and compare.

`operations` is the vocabulary, `tables` what is mounted, `drivers` who mounts it, `oracle` the
comparison, `fuzz` the search for a difference. The program is ``unionfs-lab``.
"""

from .drivers import DRIVERS, Driver, find_driver
from .operations import Operation, run, script
from .oracle import Case, Difference, compare
from .tables import Layer

__all__ = [
    "DRIVERS",
    "Case",
    "Difference",
    "Driver",
    "Layer",
    "Operation",
    "compare",
    "find_driver",
    "run",
    "script",
]
