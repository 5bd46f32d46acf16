"""Tars made byte by byte, also those that no packer would make; and trees read back."""
