"""Fixtures for whole stories."""

from sandboxtest import room

__all__ = ["room"]
