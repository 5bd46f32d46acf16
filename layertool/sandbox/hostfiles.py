"""resolv.conf, hosts and hostname as a container should see them."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from typing import Final

from layertool.sandbox.process import Network

_SYSTEMD_UPSTREAM: Final = "/run/systemd/resolve/resolv.conf"
_LIMIT: Final = 1 << 16


def contents(hostname: str, network: Network) -> Mapping[str, bytes]:
    """The files to show, by their path inside."""
    return {
        "/etc/hostname": hostname.encode() + b"\n",
        "/etc/hosts": _hosts(hostname, network),
        "/etc/resolv.conf": _resolv_conf(network),
    }


def default_hostname() -> str:
    """The host's own name, for processes that are no container (chroot, build steps)."""
    return socket.gethostname() or "localhost"


def _hosts(hostname: str, network: Network) -> bytes:
    """Ours, and the host's own names when its network is shared: they mean the same there."""
    lines = [
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        f"127.0.1.1\t{hostname}",
    ]
    if network == "host":
        known = {hostname, "localhost"}
        for line in _read("/etc/hosts").decode("utf-8", "replace").splitlines():
            words = line.split("#", 1)[0].split()
            if len(words) > 1 and not known & set(words[1:]):
                lines.append(line)
    return "\n".join(lines).encode() + b"\n"


def _resolv_conf(network: Network) -> bytes:
    """The host's, with its links followed; without a network there is nobody to ask.

    The stub resolver of systemd answers on the host's loopback, which a shared network shares, so
    its address stays right; only if it is gone are the upstream servers taken.
    """
    if network == "none":
        return b"# no network\n"
    content = _read("/etc/resolv.conf")
    if re.search(rb"^\s*nameserver\s", content, re.MULTILINE):
        return content
    return (os.path.exists(_SYSTEMD_UPSTREAM) and _read(_SYSTEMD_UPSTREAM)) or content


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_LIMIT)
    except OSError:
        return b""
