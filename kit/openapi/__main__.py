"""Writes the OpenAPI document of an application: `python -m kit.openapi main:app openapi.json`."""

import json
import sys
from pathlib import Path

from kit.applications import load_application


def write(application: str, file: str) -> str:
    """Write the document of the application `module:attribute` to a file. Returns the message to print.

    Raises a ValueError if a check of the routes or of the document fails.
    """
    document = load_application(application).openapi()
    Path(file).write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return f"{file} has {len(document['paths'])} paths."


if __name__ == "__main__":
    try:
        sys.stdout.write(write(*sys.argv[1:]) + "\n")
    except ValueError as failure:  # the message of a check of the routes or of the document
        sys.exit(str(failure))
