"""Run, build and move OCI images without a daemon."""
