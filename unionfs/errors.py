"""The one error that unionfs shows to people, and how names are written in it."""


class UnionError(Exception):
    """A mount cannot be made or kept; the message is one line that says what to do next.

    The program prints it as ``unionfs: MESSAGE`` and exits with status 1.
    """


def printable(name: bytes) -> str:
    """Return a file name as one line of text, whatever bytes it holds.

    Names come from layers and command lines, so they may hold newlines, terminal escapes or bytes
    that are not UTF-8. Those are written as backslash escapes, and nothing else is changed.
    """
    text = name.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
