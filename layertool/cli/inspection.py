"""What `inspect` tells of an image or a container, under docker's keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from layertool.errors import Ambiguous, NotFound

if TYPE_CHECKING:
    from layertool.store import Container, Image, Store

_T = TypeVar("_T")
#: Fields that templates ask for, and that an image may leave out.
_UNSET: dict[str, Any] = {
    "User": "",
    "Env": [],
    "Entrypoint": [],
    "Cmd": [],
    "WorkingDir": "",
    "ExposedPorts": {},
    "Volumes": {},
    "Labels": {},
}


def inspect(store: Store, name: str, kind: str | None) -> dict[str, Any]:
    """All about the one thing of that name or id; `kind` is "image", "container" or None for both.

    A name that both have means the container. Raises `NotFound`, and `Ambiguous` for the beginning
    of several ids.
    """
    if kind == "container":
        return _container(store.container(name))
    if kind == "image":
        return _image(store, store.resolve(name))
    image = _found(store.resolve, name)
    if image is not None and not _is_id_prefix(image, name):
        # A whole name: no beginning of a container's id is meant, only one of that name.
        container = next((each for each in store.containers() if each.name == name), None)
    else:
        container = _found(store.container, name)
    if container is not None and image is not None and container.name != name:
        raise Ambiguous(f"{name} fits an image and a container: give more of the id, or --type")
    if container is not None:
        return _container(container)
    if image is None:
        raise NotFound(f"no such object: {name}: neither an image nor a container")
    return _image(store, image)


def _found(find: Callable[[str], _T], name: str) -> _T | None:
    try:
        return find(name)
    except NotFound:
        return None


def _is_id_prefix(image: Image, name: str) -> bool:
    """Whether the image was found by a part of its id."""
    bare = name.removeprefix("sha256:")
    return image.id.hex != bare and image.id.hex.startswith(bare) and not _is_named(image, name)


def _is_named(image: Image, name: str) -> bool:
    return any(name in (each.familiar, each.familiar_name) for each in image.names)


def _container(container: Container) -> dict[str, Any]:
    from layertool.sandbox import lifecycle
    from layertool.sandbox.spec import ContainerSpec

    summary, state = lifecycle.summary(container), lifecycle.state(container)
    spec = ContainerSpec.from_dict(container.config)
    return {
        "Id": container.id,
        "Name": container.name,
        "Created": summary.created,
        "Path": spec.argv[0] if spec.argv else "",
        "Args": spec.argv[1:],
        "Image": container.image_id or "",
        "ImageName": spec.image,
        "State": {
            "Status": summary.state,
            "Running": summary.state == "running",
            "Pid": summary.pid or 0,
            "ExitCode": summary.exit_code or 0,
            "StartedAt": state.started or "",
            "FinishedAt": state.finished or "",
        },
        "Driver": state.driver or "",
        "Mounts": [
            {"Type": "bind", "Source": source, "Destination": target, "RW": not read_only}
            for source, target, read_only in spec.binds
        ],
        "HostConfig": {
            "NetworkMode": spec.network,
            "ReadonlyRootfs": spec.read_only,
            "AutoRemove": spec.auto_remove,
        },
        "Config": {
            "Hostname": spec.hostname or "",
            "User": spec.user,
            "Tty": spec.tty,
            "OpenStdin": spec.stdin,
            "Env": [f"{name}={value}" for name, value in spec.env.items()],
            "Cmd": spec.argv,
            "Image": spec.image,
            "WorkingDir": spec.cwd,
            "Labels": spec.labels,
            "StopSignal": spec.stop_signal,
        },
        "MountPoint": summary.mountpoint or "",
        "UpperDir": str(container.upper),
    }


def _image(store: Store, image: Image) -> dict[str, Any]:
    import msgspec

    from layertool.store import Sizes

    size = store.sizes().get(image.manifest_digest, Sizes(0, 0, 0, 0, 0))
    config = image.config
    return {
        "Id": image.id,
        "Digest": image.manifest_digest,
        "RepoTags": [name.familiar for name in image.names],
        "RepoDigests": sorted(
            {f"{name.familiar_name}@{image.manifest_digest}" for name in image.names}
        ),
        "Created": image.created,
        "Author": config.author,
        "Os": config.os,
        "Architecture": config.architecture,
        "Variant": config.variant,
        "Size": size.total,
        "UniqueSize": size.unique,
        "SharedSize": size.shared,
        "CompressedSize": size.compressed,
        "Config": _UNSET
        | {key: value for key, value in config.config.items() if value is not None},
        "RootFS": {"Type": "layers", "Layers": image.diff_ids},
        "LayerDirs": [str(path) for path in image.layer_dirs()],
        "Manifest": msgspec.json.decode(image.manifest.raw),
        "History": msgspec.to_builtins(config.history),
    }
