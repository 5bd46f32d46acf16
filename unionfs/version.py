"""The version, apart from everything else so that ``unionfs --version`` imports nothing."""

VERSION = "0.1.0"
