"""The semantics lab: run the same operations on several union file systems and compare.

`language` is the vocabulary, `layers` what is mounted, `drivers` who mounts it, `bench` one mounted
driver, `compare` the comparison, with what it leaves out in `rules`, `fuzz` the search for a
difference, `script` and `shell` its report as a program, `casefile` how it is kept. Each operation
is done by `calls`, in a process of `crew`, inside `worker`, which `place` can kill. `matrix` asks every
driver the questions of `probes`, whose right answers are known. The program is ``unionfs-lab``.
"""
