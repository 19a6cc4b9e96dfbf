"""Writes the OpenAPI document of an application: `python -m kit.openapi main:app openapi.json`."""

import json
import sys
from pathlib import Path

from kit.applications import load_application


def write(application: str, file: str) -> str:
    """Write the document of the application `module:attribute` to a file. Returns the message to print.

    Raises a ValueError if a check of the routes or of the document fails, or if the file cannot be written.
    """
    document = load_application(application).openapi()
    try:
        Path(file).write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    except OSError as failure:
        raise ValueError(f"{file} cannot be written: {failure.strerror}. Write another FILE=.") from None
    return f"{file} has {len(document['paths'])} paths."


if __name__ == "__main__":
    try:
        sys.stdout.write(write(*sys.argv[1:]) + "\n")
    except ValueError as failure:  # its message is for the developer
        sys.exit(str(failure))
