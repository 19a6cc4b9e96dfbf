"""Loads the application that a command names as `module:attribute`, as uvicorn does."""

import sys
from importlib import import_module
from typing import Any


def load_application(name: str) -> Any:
    """Import `module:attribute`, such as `main:app`, from the current folder. The default attribute is `app`."""
    module, _, attribute = name.partition(":")
    sys.path.insert(0, "")
    return getattr(import_module(module), attribute or "app")
