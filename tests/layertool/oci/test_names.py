"""References: the grammar, docker's defaults, and what is no name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertool.errors import BadImage
from layertool.oci.names import Reference

HEX = "a" * 64


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("debian", "docker.io/library/debian:latest", "debian:latest"),
        ("debian:12", "docker.io/library/debian:12", "debian:12"),
        ("docker.io/debian", "docker.io/library/debian:latest", "debian:latest"),
        ("index.docker.io/debian", "docker.io/library/debian:latest", "debian:latest"),
        ("user/app", "docker.io/user/app:latest", "user/app:latest"),
        ("library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
        ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
        ("localhost:5000/app:1", "localhost:5000/app:1", "localhost:5000/app:1"),
        ("ghcr.io/a/b_c/d__e-f", "ghcr.io/a/b_c/d__e-f:latest", "ghcr.io/a/b_c/d__e-f:latest"),
        ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
        ("UPPER/app", "UPPER/app:latest", "UPPER/app:latest"),
        (f"a@sha256:{HEX}", f"docker.io/library/a@sha256:{HEX}", f"a@sha256:{HEX}"),
        (f"a:1@sha256:{HEX}", f"docker.io/library/a:1@sha256:{HEX}", f"a:1@sha256:{HEX}"),
    ],
)
def test_parse(text: str, full: str, familiar: str) -> None:
    reference = Reference.parse(text)
    assert str(reference) == full
    assert reference.familiar == familiar
    assert Reference.parse(familiar) == reference


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "bad repository"),
        ("Debian", "lower case"),
        ("a b", "bad repository"),
        ("a:", "bad tag"),
        ("a:-x", "bad tag"),
        ("a:" + "t" * 129, "bad tag"),
        ("a//b", "bad repository"),
        ("../../etc/passwd", "bad re"),
        ("a/../b", "bad repository"),
        ("-a.b/c", "bad registry"),
        ("http://a/b", "bad registry"),
        ("a/" + "b" * 260, "longer than"),
        ("a@sha256:../../x", "not a digest"),
        ("a@md5:" + "0" * 32, "not a digest"),
        (HEX, "image id"),
        ("a\nb", "bad repository"),
    ],
)
def test_what_is_no_name(text: str, why: str) -> None:
    with pytest.raises(BadImage, match=why):
        Reference.parse(text)


@given(st.text(max_size=40))
def test_any_text_is_a_name_that_reads_back_or_is_refused(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except BadImage as error:
        assert "\n" not in str(error)
        return
    assert Reference.parse(str(reference)) == reference
    assert Reference.parse(reference.familiar) == reference


def test_changing_the_tag_drops_the_digest() -> None:
    pinned = Reference.parse(f"a@sha256:{HEX}")
    assert str(pinned.with_tag("2")) == "docker.io/library/a:2"
    with pytest.raises(BadImage):
        pinned.with_tag("not a tag")
