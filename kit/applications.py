"""Applications that commands name as `module:attribute`, as uvicorn does."""

import sys
from importlib import import_module
from typing import Any


def load_application(name: str) -> Any:
    """Return the application with this name, such as `main:app`, from the current folder."""
    module, _, attribute = name.partition(":")
    sys.path.insert(0, "")
    return getattr(import_module(module), attribute or "app")
