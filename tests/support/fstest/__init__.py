"""What the tests share: layers built from a table, mounts by driver, trees compared by value."""
