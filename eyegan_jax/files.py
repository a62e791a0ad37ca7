"""Writing files that are whole or absent, whenever the process is killed."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """``write`` to a draft beside ``path``, which then takes its name; folders are made. What was there is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=path.parent) as folder:
        draft = Path(folder) / path.name
        write(draft)
        os.replace(draft, path)


def write_text(path: Path, text: str) -> None:
    """:func:`write_atomically` of ``text``."""
    write_atomically(path, lambda draft: draft.write_text(text))


def is_hidden(relative: Path) -> bool:
    """Whether a part of the path starts with a dot: drafts of a killed job, a Mac's notes on pictures."""
    return any(part.startswith(".") for part in relative.parts)
