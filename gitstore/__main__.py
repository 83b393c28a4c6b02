"""``python -m gitstore`` is ``gitstore``."""

from __future__ import annotations

import sys

from gitstore.cli import main

if __name__ == "__main__":
    sys.exit(main())
