"""FROM and --from: an image of the store, or one from a registry."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from layertool.build.draft import Draft, Layer
from layertool.build.options import Options
from layertool.build.place import Place
from layertool.build.progress import Reporter
from layertool.errors import LayertoolError, NotFound
from layertool.oci.names import Reference
from layertool.oci.platform import Platform, fitness, host_platform, parse_platform

if TYPE_CHECKING:
    from layertool.store import Image, Store


def platform_args(options: Options) -> dict[str, str]:
    """The predefined arguments: about platforms, and SOURCE_DATE_EPOCH when there is one."""
    host = host_platform()
    target = parse_platform(options.platform) if options.platform else host
    args = {}
    for prefix, platform in (("BUILD", host), ("TARGET", target)):
        args[f"{prefix}PLATFORM"] = str(platform)
        args[f"{prefix}OS"] = platform.os
        args[f"{prefix}ARCH"] = platform.architecture
        args[f"{prefix}VARIANT"] = platform.variant or ""
    if options.epoch is not None:
        args["SOURCE_DATE_EPOCH"] = str(options.epoch)
    return args


class Bases:
    """Finds base images, each once a build. Used by all threads."""

    def __init__(self, store: Store, options: Options, reporter: Reporter) -> None:
        self._store = store
        self._options = options
        self._reporter = reporter
        self._lock = threading.Lock()
        self._turns: dict[tuple[str, str], threading.Lock] = {}
        self._found: dict[tuple[str, str], Draft] = {}
        self._target = parse_platform(options.platform) if options.platform else host_platform()

    def scratch(self, platform: str | None) -> Draft:
        """FROM scratch."""
        wanted = parse_platform(platform) if platform else self._target
        return Draft.scratch(wanted.os, wanted.architecture, wanted.variant)

    def image(self, name: str, place: Place, platform: str | None) -> Draft:
        """The state an image gives, as a draft of the caller's own. Raises DockerfileError."""
        key = (name, platform or "")
        with self._lock:
            turn = self._turns.setdefault(key, threading.Lock())
        with turn:  # two stages on one base must not pull it twice
            if key not in self._found:
                try:
                    wanted = parse_platform(platform) if platform else self._target
                    explicit = bool(platform or self._options.platform)
                    self._found[key] = _draft(name, self._image(name, wanted, explicit))
                except LayertoolError as error:
                    place.fail(str(error))
            return self._found[key].fork()

    def _image(self, name: str, platform: Platform, explicit: bool) -> Image:
        if not self._options.pull:
            try:
                image = self._store.resolve(name)
            except NotFound:
                image = None
            if image is not None and (not explicit or _is_for(image, platform)):
                return image
        return self._pull(name, platform)

    def _pull(self, name: str, platform: Platform) -> Image:
        from layertool.transport.registry.pull import pull  # it brings in an HTTP client

        self._reporter.note(f"pulling {name}")
        return pull(self._store, Reference.parse(name), platform=platform)


def _is_for(image: Image, platform: Platform) -> bool:
    config = image.config
    offered = Platform(os=config.os, architecture=config.architecture, variant=config.variant or "")
    return fitness(offered, platform) is not None


def _draft(name: str, image: Image) -> Draft:
    pairs = zip(image.manifest.layers, image.config.rootfs.diff_ids, strict=True)
    layers = [
        Layer(descriptor.mediaType, descriptor.digest, descriptor.size, diff_id)
        for descriptor, diff_id in pairs
    ]
    base = {"name": name, "digest": image.manifest_digest}
    return Draft.derive(image.config.raw, layers, base)
