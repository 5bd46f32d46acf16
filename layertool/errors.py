"""The errors of layertool: one line for people, one exit status for scripts.

A message says which path, name or digest, what went wrong, and what to do about it. The command
line prints `layertool: MESSAGE` and exits with `exit_code`; nothing else in layertool calls
`sys.exit`.

Exit codes: 1 the operation failed, 2 the command line was wrong; `run` and `exec` use docker's
numbers (125 layertool itself failed, 126 not executable, 127 not found, 128+n killed by signal n).
"""

from __future__ import annotations

from collections.abc import Sequence


class LayertoolError(Exception):
    """Anything a user can cause or repair. Not for bugs: those stay Python exceptions."""

    exit_code = 1

    def __init__(self, message: str, *, exit_code: int | None = None) -> None:
        super().__init__(message)
        if exit_code is not None:
            self.exit_code = exit_code


class UsageError(LayertoolError):
    """The command line asks for something that makes no sense."""

    exit_code = 2


class NotFound(LayertoolError):
    """No image, container, layer or file of that name."""


class Ambiguous(LayertoolError):
    """A short id fits several things."""


class Conflict(LayertoolError):
    """The thing is in use, or its name is taken."""


class InUse(Conflict):
    """The image is needed by the containers named in `users`."""

    def __init__(self, message: str, users: Sequence[str]) -> None:
        super().__init__(message)
        self.users = users


class BadArchive(LayertoolError):
    """A tar, or its compression, is damaged or hostile. The message names the entry."""


class BadDigest(LayertoolError):
    """Content is not what its digest promised."""

    @classmethod
    def mismatch(cls, what: str, expected: str, actual: str) -> BadDigest:
        """`what` names the content (`"layer"`, `"blob sha256:…"`)."""
        return cls(f"{what}: digest mismatch: expected {expected}, got {actual}")


class BadImage(LayertoolError):
    """A manifest, index, config or reference breaks the image specification."""


class Unsupported(LayertoolError):
    """Valid, but nothing layertool does."""


class RegistryError(LayertoolError):
    """A registry refused, failed, or answered nonsense."""


class StoreError(LayertoolError):
    """The store on disk is damaged or cannot be used."""
