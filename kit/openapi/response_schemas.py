"""Schemas of responses: their properties have no defaults, because a default is for what a client leaves out."""

from typing import Any

from kit.openapi.references import COMPONENTS, Json, parts, targets
from kit.openapi.sharing import operations


def remove_defaults(document: Json) -> None:
    """Remove the defaults of the properties of component schemas that only responses of operations contain."""
    schemas = document["components"]["schemas"]
    asked = [
        {name: part for name, part in operation.items() if name != "responses"} for _, operation in operations(document)
    ]
    requested = _reachable(asked + list(document.get("webhooks", {}).values()), schemas)
    for name in schemas.keys() - requested:
        for part in schemas[name].get("properties", {}).values():
            part.pop("default", None)


def _reachable(roots: list[Any], schemas: Json) -> set[str]:
    """Return the names of the component schemas to which these parts of a document lead."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        for part in parts(waiting.pop()):
            names = {target.removeprefix(COMPONENTS) for target in targets(part)} & schemas.keys() - found
            found |= names
            waiting += [schemas[name] for name in names]
    return found
