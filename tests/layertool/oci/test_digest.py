"""Digests: nothing malformed ever becomes one."""

import hashlib

import pytest

from layertool.errors import BadDigest
from layertool.oci.digest import Digest, chain_id


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:",
        "sha256:" + "0" * 63,
        "sha256:" + "0" * 65,
        "sha256:" + "A" * 64,
        "sha256:" + "0" * 64 + "\n",
        "sha256:../../../../etc/passwd",
        "sha256:" + "0" * 60 + "/../",
        "md5:" + "0" * 32,
        "sha256-" + "0" * 64,
        "x" * 100_000,
    ],
)
def test_malformed(text: str) -> None:
    with pytest.raises(BadDigest) as caught:
        Digest(text)
    assert len(str(caught.value)) < 300


def test_parts() -> None:
    digest = Digest.of(b"abc")
    assert digest == "sha256:" + hashlib.sha256(b"abc").hexdigest()
    assert (digest.algorithm, digest.hex) == ("sha256", hashlib.sha256(b"abc").hexdigest())
    assert digest.short == digest.hex[:12]


def test_chain_id_is_the_hash_of_the_chain_below_and_the_layer() -> None:
    layers = [Digest.of(bytes((n,))) for n in range(3)]
    assert chain_id(layers[:1]) == layers[0]
    two = Digest.of(f"{layers[0]} {layers[1]}".encode())
    assert chain_id(layers) == Digest.of(f"{two} {layers[2]}".encode())
    with pytest.raises(ValueError, match="no layers"):
        chain_id([])
