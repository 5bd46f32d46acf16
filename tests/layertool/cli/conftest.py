"""Fixtures for tests of whole commands."""

from sandboxtest import room

__all__ = ["room"]
