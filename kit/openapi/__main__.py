"""Writes the OpenAPI document of an application: `python -m kit.openapi main:app openapi.json`."""

import json
import sys
from importlib import import_module
from pathlib import Path


def write(application: str, file: str) -> str:
    """Write the document of `module:attribute` to a file. Returns the message to print."""
    module, _, attribute = application.partition(":")
    document = getattr(import_module(module), attribute or "app").openapi()
    Path(file).write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return f"{file} has {len(document['paths'])} paths."


if __name__ == "__main__":
    sys.path.insert(0, "")
    try:
        sys.stdout.write(write(*sys.argv[1:]) + "\n")
    except ValueError as failure:  # the message of a check of the routes or of the document
        sys.exit(str(failure))
