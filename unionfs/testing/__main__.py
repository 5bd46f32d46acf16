"""``python -m unionfs.testing``."""

from unionfs.testing.cli import main

raise SystemExit(main())
