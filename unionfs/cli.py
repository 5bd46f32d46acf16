"""The ``unionfs`` program: ``unionfs [SOURCE] MOUNTPOINT -o OPTIONS``, as mount(8) helpers are called.

Exit status: 0 mounted (in the foreground: unmounted again), 1 anything else, said in one line.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

from .errors import UnionError
from .version import VERSION

HELP = """\
usage: unionfs [SOURCE] MOUNTPOINT -o lowerdir=DIR[:DIR...][,upperdir=DIR,workdir=DIR][,OPTION...]

Mount a stack of directories as one: lowerdir read-only, top first, changes in upperdir.

  -o OPTIONS        mount options, comma-separated; may be given several times
  -f, --foreground  stay in the foreground until unmounted
  -d, --debug       foreground, and tell what happens
      --strict      refuse unknown options instead of warning
  -h, --help        this help
  -V, --version     the version

examples:
  unionfs -o lowerdir=top:base,upperdir=up,workdir=wk /mnt     read-write union
  unionfs -o lowerdir=top:base /mnt                            read-only view
  mount -t fuse.unionfs none /mnt -o lowerdir=/top:/base       from fstab or mount(8)
  fusermount3 -u /mnt                                          unmount (or: umount /mnt)

options:
"""


@dataclasses.dataclass(slots=True)
class Arguments:
    """The command line, taken apart."""

    texts: list[str]
    words: list[str]
    foreground: bool = False
    debug: bool = False
    strict: bool = False
    help: bool = False
    version: bool = False


_FLAGS = {
    "-f": "foreground",
    "--foreground": "foreground",
    "-d": "debug",
    "--debug": "debug",
    "--strict": "strict",
    "-h": "help",
    "--help": "help",
    "-V": "version",
    "--version": "version",
}


def parse_arguments(argv: Sequence[str]) -> Arguments:
    """Split *argv* into options and words; raises UnionError for an unknown flag."""
    found = Arguments([], [])
    rest = iter(argv)
    for word in rest:
        if word == "-o":
            text = next(rest, None)
            if text is None:
                raise UnionError("-o needs options after it, as in -o lowerdir=DIR")
            found.texts.append(text)
        elif word.startswith("-o"):
            found.texts.append(word[2:])
        elif word in _FLAGS:
            setattr(found, _FLAGS[word], True)
        elif word == "--stats":
            found.texts.append("stats")
        elif word == "--":
            found.words.extend(rest)
        elif word.startswith("-") and len(word) > 1:
            raise UnionError(f"unknown flag {word}; see unionfs --help")
        else:
            found.words.append(word)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; returns the exit status."""
    try:
        return _run(parse_arguments(sys.argv[1:] if argv is None else argv))
    except UnionError as error:
        print(f"unionfs: {error}", file=sys.stderr)
        return 1


def _run(arguments: Arguments) -> int:
    if arguments.version:
        # The form of fuse-overlayfs, which callers parse.
        print(f"unionfs: version {VERSION}")
        return 0
    if arguments.help:
        print(HELP + _option_help(), end="")
        return 0
    if not arguments.words:
        raise UnionError(
            "no mountpoint; usage: unionfs -o lowerdir=DIR[:DIR…] MOUNTPOINT (see --help)"
        )
    from .options import parse_options

    # The last word is the mountpoint, for mount(8) puts the source before it.
    options = parse_options(
        arguments.texts,
        mountpoint=arguments.words[-1],
        source=arguments.words[-2] if len(arguments.words) > 1 else None,
        strict=arguments.strict,
        warn=lambda message: print(f"unionfs: {message}", file=sys.stderr),
    )
    from . import session

    return session.run(
        options, foreground=arguments.foreground or arguments.debug, debug=arguments.debug
    )


def _option_help() -> str:
    from .options import OPTIONS

    return "".join(f"  {option.name:<20} {option.help}\n" for option in OPTIONS)


if __name__ == "__main__":
    raise SystemExit(main())
