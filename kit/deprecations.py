"""Deprecations: names of the public API that still work for one minor version, with a warning."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Deprecated:
    """A deprecated name: the path of its value, the name to use instead, and the version that deprecated it."""

    value: str
    instead: str
    since: str


NAMES: Mapping[str, Deprecated] = {}
"""The deprecated names, as in `"fetched": Deprecated("kit.http.problems.found", "found", since="1.1")`."""


def deprecated_name(name: str) -> Any:
    """Return the value of a deprecated name, with a DeprecationWarning. Raises an AttributeError for other names."""
    old = NAMES.get(name)
    if old is None:
        raise AttributeError(f"module 'kit' has no attribute {name!r}")
    message = f"kit.{name} is deprecated since version {old.since}: write kit.{old.instead} instead."
    warnings.warn(message, DeprecationWarning, stacklevel=3)
    module, _, attribute = old.value.rpartition(".")
    return getattr(import_module(module), attribute)
