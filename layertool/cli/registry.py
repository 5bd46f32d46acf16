"""Registries: pull, push, copy, login, logout."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from layertool.errors import UsageError

if TYPE_CHECKING:
    from layertool.oci.platform import Platform
    from layertool.transport import Sink, Source
    from layertool.transport.registry.client import Options
    from layertool.transport.registry.credentials import Credentials

app = typer.Typer()

_DOCKER = "docker://"  # the word for a registry in skopeo's and podman's transports

TlsVerify = Annotated[
    str,
    typer.Option(
        metavar="true|false",
        help="false: take any certificate, and plain HTTP from hosts other than this one.",
    ),
]
Ca = Annotated[Path | None, typer.Option(help="PEM file with one more certificate authority.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress, only the result.")]
PlatformName = Annotated[
    str | None,
    typer.Option("--platform", help="OS/ARCHITECTURE[/VARIANT]; default this machine's."),
]


@app.command()
def pull(
    reference: Annotated[str, typer.Argument(metavar="REF", help="[REGISTRY/]NAME[:TAG|@DIGEST]")],
    platform: PlatformName = None,
    tls_verify: TlsVerify = "true",
    ca: Ca = None,
    quiet: Quiet = False,
) -> None:
    """Download an image, name it REF and print its id.

    Layers are unpacked while they are downloaded. What an interrupted pull has got is kept: the
    same command goes on where it ended.

    Example: layertool pull debian:12
    """
    from layertool.oci.names import Reference
    from layertool.oci.platform import parse_platform
    from layertool.store import Store
    from layertool.transport.registry.display import shown
    from layertool.transport.registry.pull import pull as pull_image

    parsed = Reference.parse(reference)
    wanted = parse_platform(platform) if platform else None
    options = _options(tls_verify, ca)
    with shown(quiet=quiet) as progress:
        image = pull_image(
            Store.open(), parsed, options=options, platform=wanted, progress=progress
        )
    print(image.id)


@app.command()
def push(
    image: Annotated[str, typer.Argument(help="Name or id of an image here.")],
    reference: Annotated[
        str | None, typer.Argument(metavar="[REF]", help="Where to; default the image's own name.")
    ] = None,
    tls_verify: TlsVerify = "true",
    ca: Ca = None,
    quiet: Quiet = False,
) -> None:
    """Upload an image, unchanged to the last byte, and print the digest of its manifest.

    Blobs that the registry has are not sent; those it has in another repository are mounted there.

    Example: layertool push app registry.example/app:1
    """
    from layertool.oci.names import Reference
    from layertool.store import Store
    from layertool.transport.registry.display import shown
    from layertool.transport.registry.push import push as push_image

    store = Store.open()
    target = Reference.parse(reference or image)
    options = _options(tls_verify, ca)
    with shown(quiet=quiet) as progress:
        digest = push_image(store, store.resolve(image), target, options=options, progress=progress)
    print(digest)


@app.command()
def copy(
    source: Annotated[str, typer.Argument(metavar="SRC", help="Where from.")],
    target: Annotated[str, typer.Argument(metavar="DST", help="Where to.")],
    platform: PlatformName = None,
    every: Annotated[
        bool,
        typer.Option("--all", help="Of an index: the index, with the images of all platforms."),
    ] = False,
    tls_verify: TlsVerify = "true",
    src_tls_verify: Annotated[
        str | None, typer.Option(metavar="true|false", help="--tls-verify for SRC alone.")
    ] = None,
    dest_tls_verify: Annotated[
        str | None, typer.Option(metavar="true|false", help="--tls-verify for DST alone.")
    ] = None,
    ca: Ca = None,
    quiet: Quiet = False,
) -> None:
    """Copy an image between registries, archives and layouts; print the digest of its manifest.

    SRC and DST are docker://REF, oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE or a
    path. Nothing goes through the store, and no byte is changed; only a docker-archive cannot keep
    the digest of compressed layers. Of an index one platform is copied, or with --all everything.

    Example: layertool copy --all docker://debian:12 oci:layout:12
    """
    from layertool.oci.platform import parse_platform
    from layertool.transport.copying import copy_images
    from layertool.transport.registry.display import shown

    if every and platform:
        raise UsageError("--all copies every platform: leave out --platform")
    wanted = parse_platform(platform) if platform else None
    options = _options(tls_verify, ca)
    src_options = _options(src_tls_verify, ca, "--src-tls-verify") if src_tls_verify else options
    dest_options = (
        _options(dest_tls_verify, ca, "--dest-tls-verify") if dest_tls_verify else options
    )
    with shown(quiet=quiet) as progress:
        digests = copy_images(
            _source(source, wanted, src_options.telling(progress.note)),
            _sink(target, dest_options.telling(progress.note)),
            one=target.startswith(_DOCKER),
            every=every,
            progress=progress,
        )
    for digest in digests:
        print(digest)


@app.command()
def login(
    registry: Annotated[str, typer.Argument(help="HOST[:PORT].")] = "docker.io",
    username: Annotated[
        str | None, typer.Option("-u", "--username", help="Asked for if absent.")
    ] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    tls_verify: TlsVerify = "true",
    ca: Ca = None,
) -> None:
    """Check a user name and password with a registry and keep them.

    They go into the credential helper that docker's config.json names, else into a file that only
    you can read: the one that has an entry for REGISTRY ($REGISTRY_AUTH_FILE, containers'
    auth.json), else ~/.docker/config.json.

    Example: pass registry | layertool login -u me --password-stdin registry.example
    """
    from dataclasses import replace

    from layertool.transport.registry.client import Client
    from layertool.transport.registry.credentials import store_credentials
    from layertool.transport.registry.endpoint import parse_domain

    domain = parse_domain(registry)
    given = _ask(username, password_stdin)
    options = replace(_options(tls_verify, ca), credentials=lambda domain, repository: given)
    Client(domain, options=options).check_login()
    path = store_credentials(domain, given)
    print(f"credentials kept in {path}", file=sys.stderr)
    print("Login Succeeded")


@app.command()
def logout(
    registry: Annotated[str, typer.Argument(help="HOST[:PORT].")] = "docker.io",
) -> None:
    """Forget the credentials of a registry, in files and helpers.

    Example: layertool logout registry.example
    """
    from layertool.transport.registry.credentials import remove_credentials
    from layertool.transport.registry.endpoint import parse_domain

    domain = parse_domain(registry)
    if remove_credentials(domain):
        print(f"Removed login credentials for {domain}")
    else:
        print(f"Not logged in to {domain}")


def _source(text: str, platform: Platform | None, options: Options) -> Source:
    from layertool.oci.names import Reference
    from layertool.transport import open_source
    from layertool.transport.registry.remote import RegistrySource

    if not text.startswith(_DOCKER):
        return open_source(text, platform)
    reference = Reference.parse(text.removeprefix(_DOCKER))
    return RegistrySource(reference, options=options, platform=platform)


def _sink(text: str, options: Options) -> Sink:
    from layertool.oci.names import Reference
    from layertool.transport import open_sink
    from layertool.transport.registry.remote import RegistrySink

    if not text.startswith(_DOCKER):
        return open_sink(text)
    return RegistrySink(Reference.parse(text.removeprefix(_DOCKER)), options=options)


def _ask(username: str | None, password_stdin: bool) -> Credentials:
    """User name and password from the options, standard input or the terminal."""
    from layertool.transport.registry.credentials import Credentials

    if password_stdin:
        if not username:
            raise UsageError("--password-stdin needs --username")
        # One line end is the shell's, not the password's.
        password = sys.stdin.read(64 << 10).removesuffix("\n").removesuffix("\r")
    elif sys.stdin.isatty():
        from getpass import getpass

        username = username or input("Username: ")
        password = getpass("Password: ")
    else:
        raise UsageError("no terminal to ask for the password; give it with --password-stdin")
    if not username or not password:
        raise UsageError("user name and password must not be empty")
    return Credentials(username, password)


def _options(tls_verify: str, ca: Path | None, flag: str = "--tls-verify") -> Options:
    from layertool.transport.registry.client import Options
    from layertool.transport.registry.endpoint import Trust

    words = {"true": True, "1": True, "false": False, "0": False}
    if tls_verify.lower() not in words:
        raise UsageError(f"{flag}: {tls_verify!r} is neither true nor false")
    return Options(trust=Trust(verify=words[tls_verify.lower()], ca=ca))
