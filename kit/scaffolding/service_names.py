"""Names of a new service: of its package, its title, and its first resource."""

import re
import sys
from importlib.metadata import packages_distributions
from keyword import iskeyword, issoftkeyword
from pathlib import Path

from kit.scaffolding.errors import NotWrittenError
from kit.scaffolding.words import LONGEST, singular_of, snake_of

PACKAGE = re.compile(r"[a-z](?:[a-z0-9_]*[a-z0-9])?")
"""The name of a package, which is also valid as name of a distribution, and of a database in PostgreSQL."""
NEUTRAL = "note"
"""The name of the first resource if the name of the service is not a plural."""


def package_of(name: str, source: Path, package: str) -> str:
    """Return the package name for a service: its name, with underscores for dashes.

    Raises a NotWrittenError for an invalid name, and for one that a file of the project, a module of Python or an
    installed library has.
    """
    chosen = name.replace("-", "_")
    if not PACKAGE.fullmatch(chosen):
        hint = snake_of(name)
        write = f"write {hint}" if PACKAGE.fullmatch(hint) else "write a name such as orders"
        raise NotWrittenError(f"{name!r} cannot be the name of a package, which has small letters and digits: {write}.")
    if len(chosen) > LONGEST:
        raise NotWrittenError(f"{name!r} is too long: write a name of at most {LONGEST} characters.")
    if iskeyword(chosen) or issoftkeyword(chosen):
        raise NotWrittenError(f"{name!r} cannot be the name of a package: it is a keyword of Python.")
    neighbours = {path.stem for path in source.iterdir() if not path.name.startswith(".")} | {"kit", "tests"}
    if chosen in neighbours - {package}:
        raise NotWrittenError(f"{name!r} cannot be the name of the package: the project already has {chosen}.")
    if chosen in sys.stdlib_module_names:
        raise NotWrittenError(f"{name!r} cannot be the name of the package: Python has a module {chosen}.")
    if chosen in packages_distributions():
        raise NotWrittenError(f"{name!r} cannot be the name of the package: an installed library has it.")
    return chosen


def title_of(package: str) -> str:
    """Return the title of a service: `Order desk` for the package `order_desk`."""
    return " ".join(filter(None, package.split("_"))).capitalize()


def first_resource(package: str) -> str:
    """Return the default name of the first resource: `order` for `orders`."""
    return singular_of(package) or NEUTRAL
