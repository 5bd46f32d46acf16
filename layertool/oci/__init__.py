"""OCI vocabulary: names, digests, manifests, configurations, platforms. No files, no network."""
