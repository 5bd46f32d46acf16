"""The life of a mount: daemonise, mount, serve, unmount."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

import pyfuse3
import trio

from . import checks, diagnose, eventloop, faults, passthrough, syscalls
from .awake import DEVICE, Awake
from .encoder import Encoder
from .errors import UnionError, printable
from .ids import IdMap
from .mounttable import mounted_device
from .operations import Operations
from .options import FOREVER, libfuse_options
from .replies import Replies
from .stack import Opened, open_union
from .stats import Stats

if TYPE_CHECKING:
    from .options import MountOptions
    from .trace import Trace

log = logging.getLogger(__name__)

_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_NOATIME = 1, 2, 4, 8, 1024
READAHEAD_KIB = 256
SYSLOG = "/dev/log"
TASKS = 99
"""How many requests are under way at most: pyfuse3's own limit."""


def run(options: MountOptions, *, foreground: bool, debug: bool) -> int:
    """Mount and serve until unmounted; returns the exit status.

    In the background this process ends with 0 once the mount answers, and a child goes on.
    Raises UnionError when the mount cannot be made.
    """
    checks.check(options)
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.WARNING, format="unionfs: %(message)s"
    )
    if not foreground:
        _in_background(options)
    return _serve(options, started=lambda: None)


def _in_background(options: MountOptions) -> NoReturn:
    """Fork before trio and libfuse start threads; the child tells over a pipe how it went."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reader)
        _child(options, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        message = pipe.read()
    if message != b"ok":
        os.waitpid(pid, 0)
        raise UnionError(message.decode("utf-8", "replace") or "the daemon died while mounting")
    # The kernel answers this only after the daemon has answered INIT.
    os.statvfs(options.mountpoint)
    # As daemon(3) does: tearing down what was imported takes a fifth of the time to mount.
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(0)


def _child(options: MountOptions, writer: int) -> None:
    def started() -> None:
        os.setsid()
        os.chdir("/")
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        os.close(null)
        _log_to_syslog()
        os.write(writer, b"ok")
        os.close(writer)

    status = 1
    try:
        status = _serve(options, started=started)
    except UnionError as error:
        os.write(writer, str(error).encode())
    except BaseException as error:
        try:
            os.write(writer, f"unexpected {type(error).__name__}: {error}".encode())
        except OSError:
            log.exception("the daemon failed")
    os._exit(status)


def _log_to_syslog() -> None:
    """A daemon has no terminal: where there is a system log, what goes wrong is found there."""
    if not os.path.exists(SYSLOG):
        return
    from logging.handlers import SysLogHandler  # not before the mount answers: it is not small

    handler = SysLogHandler(SYSLOG)
    handler.setFormatter(logging.Formatter("unionfs[%(process)d]: %(message)s"))
    logging.getLogger().handlers = [handler]


def _serve(options: MountOptions, *, started: Callable[[], None]) -> int:
    ids = (
        IdMap(options.uid_mapping, 0 if options.squash_to_root else options.squash_to_uid),
        IdMap(options.gid_mapping, 0 if options.squash_to_root else options.squash_to_gid),
    )
    encoder = Encoder(
        timeout=options.timeout, static_nlink=options.static_nlink, uids=ids[0], gids=ids[1]
    )
    os.umask(0)
    opened = open_union(options, encoder)
    try:
        replies = Replies()
        operations = Operations(
            opened.union,
            timeout=options.timeout,
            writeback=options.writeback,
            acls=options.acl,
            sync=options.fsync != "volatile",
            ids=ids,
            replies=replies,
            ahead=_goes_ahead(options),
        )
        if options.faults:
            opened.warnings.append(faults.install(options.faults, opened.union.upper))
        if options.awake and not os.access(DEVICE, os.W_OK):
            opened.warnings.append(f"option awake has no effect: {DEVICE} is for root only")
        stats = Stats() if options.stats else None
        if stats is not None:
            stats.install(operations)
        trace = _start_trace(options, operations, opened) if options.trace else None
        for warning in opened.warnings:
            print(f"unionfs: warning: {warning}", file=sys.stderr, flush=True)
        mount = Mountpoint(options, replies)
        mount.mount(operations)
        started()
        try:
            _loop(mount, stats)
        finally:
            if trace is not None:
                trace.end()
        return 0
    finally:
        opened.close()


def _is_watched(options: MountOptions) -> bool:
    """Whether each request and each system call counts."""
    return bool(options.trace or options.faults)


def _goes_ahead(options: MountOptions) -> bool:
    """Whether more may be done than what is asked for: not where layers are said to change."""
    return options.timeout >= FOREVER and not _is_watched(options)


def _start_trace(options: MountOptions, operations: Operations, opened: Opened) -> Trace:
    from .trace import Trace, describe

    assert options.trace is not None
    tree = opened.union.tree
    trace = Trace(options.trace, tree, describe(options, tree))
    trace.install(operations)
    return trace


def _loop(mount: Mountpoint, stats: Stats | None) -> None:
    # What exists now lives as long as the daemon: the collector need not look at it again. What
    # is garbage among it is little, and looking for it would take a tenth of the time to mount.
    gc.freeze()
    try:
        trio.run(_main, mount, stats)
    finally:
        mount.close()
        if stats is not None:
            log.warning("requests:\n%s", stats.report())


async def _main(mount: Mountpoint, stats: Stats | None) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch_signals, mount, stats)
        # No idle task is ended: an amended reply goes out when its task waits again (`replies`).
        await pyfuse3.main(min_tasks=TASKS, max_tasks=TASKS)
        nursery.cancel_scope.cancel()


async def _watch_signals(mount: Mountpoint, stats: Stats | None) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGUSR1) as signals:
        async for number in signals:
            if number != signal.SIGUSR1:
                # In a thread: the unmount waits for answers to its last requests.
                await trio.to_thread.run_sync(mount.unmount)
            elif stats is not None:
                log.warning("requests:\n%s", stats.report())


class Mountpoint:
    """Where the union is mounted, directly by mount(2) or through fusermount3."""

    def __init__(self, options: MountOptions, replies: Replies) -> None:
        self.options = options
        self._replies = replies
        self.path = os.path.abspath(options.mountpoint)
        self._direct = False

    def mount(self, operations: Operations) -> None:
        """Mount; raises UnionError saying what is missing on this machine."""
        awake = Awake() if self.options.awake else None
        eventloop.install(self._replies, self._ready, operations.foresight.step, awake)
        try:
            where = self._mount_directly(operations)
            arguments: set[str] = set()
        except OSError as error:
            if os.geteuid() == 0 and not isinstance(error, PermissionError):
                raise UnionError(diagnose.explain_mount_failure(error, self.options)) from None
            where, arguments = os.fsdecode(self.path), self._libfuse_options()
        try:
            pyfuse3.init(operations, where, arguments)
        except (RuntimeError, OSError) as error:
            raise UnionError(diagnose.explain_mount_failure(error, self.options)) from None

    def _mount_directly(self, operations: Operations) -> str:
        """mount(2) by ourselves, which needs CAP_SYS_ADMIN in the mount namespace.

        MS_POSIXACL makes the kernel leave the umask to us: below a default ACL it must not count,
        and only we know whether there is one.
        """
        options = self.options
        fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        data = [
            f"fd={fd}",
            "rootmode=40000",
            f"user_id={os.geteuid()}",
            f"group_id={os.getegid()}",
            "default_permissions",
        ]
        if options.allow_other is not False and not options.allow_root:
            data.append("allow_other")
        if options.context is not None:
            data.append(f'context="{options.context}"')
        flags = self._flags() | (syscalls.MS_POSIXACL if options.acl else 0)
        try:
            syscalls.mount(
                self._source(), self.path, b"fuse.unionfs", flags, ",".join(data).encode()
            )
        except OSError:
            os.close(fd)
            raise
        self._direct = True
        if self._passes() and passthrough.supported(fd):
            # Where nothing can change, reading lower files so has no price.
            fixed = options.upper is None
            operations.pass_through(fd, lower=fixed or options.passthrough == "all")
        return f"/dev/fd/{fd}"

    def _passes(self) -> bool:
        """Whether the kernel may read and write by itself.

        Not with noatime, for it keeps access times, and not where each request is to be seen.
        """
        options = self.options
        return options.passthrough != "off" and not (options.noatime or _is_watched(options))

    def _flags(self) -> int:
        options = self.options
        flags = 0
        if options.read_only or options.upper is None:
            flags |= _MS_RDONLY
        if options.suid is False:
            flags |= _MS_NOSUID
        if options.dev is False:
            flags |= _MS_NODEV
        if options.exec is False:
            flags |= _MS_NOEXEC
        if options.noatime:
            flags |= _MS_NOATIME
        return flags

    def _libfuse_options(self) -> set[str]:
        return {"default_permissions", "subtype=unionfs", *libfuse_options(self.options)}

    def _source(self) -> bytes:
        """What /proc/mounts shows: the name asked for, else where the changes go or the top layer."""
        options = self.options
        return options.fsname or b"unionfs:" + (options.upper or options.lowers[0])

    def _ready(self) -> None:
        """INIT was answered: with privilege, let the kernel read ahead by more than 128 KiB."""
        device = mounted_device(self.path)
        if device is None:
            return
        try:
            with open(f"/sys/class/bdi/{device}/read_ahead_kb", "w", encoding="ascii") as setting:
                setting.write(str(READAHEAD_KIB))
        except OSError:
            pass  # not ours to set without privilege

    def unmount(self) -> None:
        """Unmount, lazily when something still uses the mount."""
        if self._direct:
            try:
                syscalls.umount(self.path)
            except OSError:
                try:
                    syscalls.umount(self.path, syscalls.MNT_DETACH)
                except OSError as error:
                    log.warning("cannot unmount %s: %s", printable(self.path), error.strerror)
        else:
            pyfuse3.terminate()

    def close(self) -> None:
        """End the session; unmounts what fusermount3 mounted if it still is."""
        pyfuse3.close(unmount=not self._direct)
