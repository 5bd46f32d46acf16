"""What is mounted where: proc_pid_mountinfo(5). Imports nothing, for those who only look."""

from __future__ import annotations


def mounted_device(path: bytes) -> str | None:
    """``MAJOR:MINOR`` of the topmost mount at *path*, without touching it; None when there is none."""
    device = None
    with open("/proc/self/mountinfo", "rb") as table:
        for line in table:
            fields = line.split(b" ")
            if _unescape(fields[4]) == path:
                device = fields[2].decode()
    return device


def _unescape(field: bytes) -> bytes:
    for code, char in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        field = field.replace(code, char)
    return field
