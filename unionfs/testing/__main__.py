"""``python -m unionfs.testing``."""

from .cli import main

raise SystemExit(main())
