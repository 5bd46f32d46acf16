"""Actors as processes: each one forked, with its identity, answering one call at a time."""

import contextlib
import errno
import json
import os
import socket
from typing import Any

from unionfs.testing.calls import Actor

Member = tuple[int, int, int]  # the number of an actor, its uid and its gid
Outcome = dict[str, Any]  # {"result": …} or {"errno": "ENOENT"}


def perform(actor: Actor, verb: str, arguments: dict[str, Any]) -> Outcome:
    """Do one call and say what came of it."""
    try:
        return {"result": getattr(actor, verb)(**arguments)}
    except OSError as error:
        return {"errno": errno.errorcode.get(error.errno or 0, str(error.errno))}
    except KeyError as error:
        # The descriptor was never opened, or its open failed.
        return {"errno": f"NO SLOT {error}"}
    except (ValueError, BufferError) as error:
        return {"errno": type(error).__name__}


class Crew:
    """The actors of one sequence, forked on their first call inside the root of the mount."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.members: dict[Member, tuple[int, socket.socket]] = {}

    def call(self, who: Member, verb: str, arguments: dict[str, Any]) -> Outcome:
        """Let one actor do one call."""
        if who not in self.members:
            self.members[who] = self.hire(who)
        channel = self.members[who][1]
        answer = b""
        with contextlib.suppress(ConnectionError):
            channel.send(json.dumps([verb, arguments]).encode())
            answer = channel.recv(1 << 20)
        if not answer:
            # SIGBUS, as from a mapping beyond the end of a file that was truncated.
            return {"errno": "ACTOR DIED"}
        outcome: Outcome = json.loads(answer)
        return outcome

    def hire(self, who: Member) -> tuple[int, socket.socket]:
        """Fork an actor; answers its pid and the channel to it."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid:
            theirs.close()
            return pid, ours
        try:
            ours.close()
            for _, channel in self.members.values():
                channel.close()
            os.chdir(self.root)
            _, uid, gid = who
            if uid or gid:
                os.setgroups([])
                os.setresgid(gid, gid, gid)
                os.setresuid(uid, uid, uid)
            os.umask(0o022)
            act(theirs)
        finally:
            os._exit(0)

    def dismiss(self) -> None:
        """End every actor, and wait: a living one would keep the mount busy."""
        for pid, channel in self.members.values():
            # An empty message and not only a close: a later fork may hold a copy of the channel.
            with contextlib.suppress(ConnectionError):
                channel.send(b"")
            channel.close()
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        self.members.clear()


def act(channel: socket.socket) -> None:
    """The life of an actor: answer calls until the channel closes."""
    actor = Actor()
    while message := channel.recv(1 << 20):
        verb, arguments = json.loads(message)
        channel.send(json.dumps(perform(actor, verb, arguments)).encode())
    for child in actor.children.values():
        child.kill()
        child.wait()
