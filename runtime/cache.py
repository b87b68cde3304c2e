"""Where earkit keeps what it can make or fetch again: corpora, downloaded teachers."""

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """`EARKIT_CACHE`, or the platform's user cache folder; not created here."""
    if override := os.environ.get("EARKIT_CACHE"):
        return Path(override).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "earkit"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "earkit" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "earkit"
