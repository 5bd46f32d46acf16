"""A userspace union file system in the on-disk format of kernel overlayfs."""
