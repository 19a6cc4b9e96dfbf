"""Folders of a process: checks that a folder belongs to this user, and that files can be written into it."""

import os
import tempfile
from pathlib import Path


def folder_refusal(folder: Path) -> str | None:
    """Return why this process cannot write its files into a folder; None if it can.

    The folder is created for this user alone, if it does not exist.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except (FileExistsError, NotADirectoryError):
        return f"{folder} is not a folder"
    except OSError as failure:
        return f"The folder {folder} cannot be used: {failure.strerror}"
    return None if folder.stat().st_uid == os.geteuid() else f"The folder {folder} belongs to another user"
