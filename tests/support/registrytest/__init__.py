"""Registries for tests, all on 127.0.0.1: Debian's docker-registry, and a fake one that misbehaves."""
