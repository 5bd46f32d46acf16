"""Platforms, and the choice of the manifest in an index that fits one."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from layertool.errors import BadImage, NotFound

if TYPE_CHECKING:
    from layertool.oci.model import Descriptor

# What uname calls the machine, and what OCI (after Go) calls it.
_MACHINES = {
    "x86_64": ("amd64", ""),
    "amd64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "arm64": ("arm64", ""),
    "armv8l": ("arm", "v8"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "armv5tel": ("arm", "v5"),
    "i386": ("386", ""),
    "i686": ("386", ""),
    "ppc64le": ("ppc64le", ""),
    "riscv64": ("riscv64", ""),
    "s390x": ("s390x", ""),
    "loongarch64": ("loong64", ""),
}
# The variant that an absent one stands for.
_DEFAULT_VARIANT = {"arm": "v7", "arm64": "v8", "amd64": "v1"}
_WORD = re.compile(r"[A-Za-z0-9_.-]+")


class Platform(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`platform` of a descriptor. `unknown/unknown` marks what is no image (attestations)."""

    architecture: str = ""
    os: str = ""
    variant: str = ""
    os_version: str = msgspec.field(default="", name="os.version")
    os_features: list[str] = msgspec.field(default_factory=list, name="os.features")

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    @property
    def is_image(self) -> bool:
        return self.os != "unknown" and self.architecture != "unknown"


def host_platform() -> Platform:
    """The platform of this machine."""
    machine = os.uname().machine
    architecture, variant = _MACHINES.get(machine, (machine, ""))
    return Platform(os="linux", architecture=architecture, variant=variant)


def parse_platform(text: str) -> Platform:
    """`linux/arm64/v8`, `linux/amd64` or `arm64`. Raises `BadImage`."""
    parts = text.lower().split("/")
    if not 1 <= len(parts) <= 3 or not all(_WORD.fullmatch(part) for part in parts):
        raise BadImage(f"{text!r}: not a platform; write OS/ARCHITECTURE[/VARIANT]")
    if len(parts) == 1:
        parts.insert(0, "linux")
    architecture, variant = _MACHINES.get(parts[1], (parts[1], ""))
    if len(parts) == 3:
        variant = parts[2]
    return Platform(os=parts[0], architecture=architecture, variant=variant)


def fitness(offered: Platform, wanted: Platform) -> int | None:
    """How well `offered` runs where `wanted` runs: 0 is exact, more is worse, None is not at all.

    Variants are ordered: a v7 machine runs v6 and v5, a v8 one v7; an amd64 v3 machine v2 and v1.
    """
    if (offered.os, offered.architecture) != (wanted.os, wanted.architecture):
        return None
    offered_variant = _variant_number(offered)
    wanted_variant = _variant_number(wanted)
    if offered_variant is None or wanted_variant is None:
        return 0 if offered.variant == wanted.variant else None
    return wanted_variant - offered_variant if offered_variant <= wanted_variant else None


def choose(
    manifests: Sequence[Descriptor],
    wanted: Platform,
    *,
    inspect: Callable[[Descriptor], Platform] | None = None,
) -> Descriptor:
    """The manifest of an index that fits `wanted` best; the first of equals.

    `inspect` finds the platform of an entry that states none (from its configuration). Without it
    such an entry is taken only when it is the only one. Raises `NotFound`, listing what exists.
    """
    best: tuple[int, Descriptor] | None = None
    offered: list[Platform] = []
    for descriptor in _images(manifests):
        platform = descriptor.platform
        if platform is None and inspect is not None:
            platform = inspect(descriptor)
        if platform is None:
            if len(manifests) == 1:
                return descriptor
            continue
        offered.append(platform)
        rank = fitness(platform, wanted)
        if rank is not None and (best is None or rank < best[0]):
            best = (rank, descriptor)
    if best is None:
        available = ", ".join(sorted({str(platform) for platform in offered})) or "none"
        raise NotFound(f"no image for {wanted} in the index; it has: {available}")
    return best[1]


def _images(manifests: Sequence[Descriptor]) -> list[Descriptor]:
    """The entries that are images: BuildKit lists attestations as unknown/unknown beside them."""
    return [
        descriptor
        for descriptor in manifests
        if (descriptor.platform is None or descriptor.platform.is_image)
        and "vnd.docker.reference.type" not in (descriptor.annotations or {})
    ]


def _variant_number(platform: Platform) -> int | None:
    variant = platform.variant or _DEFAULT_VARIANT.get(platform.architecture, "")
    digits = variant.removeprefix("v")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 4 else None
