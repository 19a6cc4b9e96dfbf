"""References of the OpenAPI document: what schemas define for themselves becomes a component, and none dangles."""

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any

Json = dict[str, Any]
LOCAL, COMPONENTS = "#/$defs/", "#/components/schemas/"
NAMED = frozenset(
    {"properties", "patternProperties", "dependentSchemas", "$defs", "paths", "webhooks", "callbacks", "content"}
    | {"schemas", "responses", "parameters", "headers", "requestBodies", "securitySchemes", "links", "encoding"}
    | {"pathItems", "variables"}
)
"""Objects of a document whose keys are names, so that none of them is a keyword."""
DATA = frozenset({"example", "examples", "default", "const", "enum", "value"})
"""Keywords whose values are data of users, in which `$ref` means nothing."""


def parts(node: Any, *, are_named: bool = False) -> Iterator[Json]:
    """Yield the node and every object of the document below it, but for maps of names, and for data."""
    if isinstance(node, list):
        for part in node:
            yield from parts(part)
    if not isinstance(node, dict):
        return
    if not are_named:
        yield node
    for key, part in node.items():
        if are_named or key not in DATA:
            yield from parts(part, are_named=not are_named and key in NAMED)


def targets(node: Json) -> Iterator[str]:
    """What an object refers to: by `$ref`, and by the mapping of a discriminator."""
    if isinstance(node.get("$ref"), str):
        yield node["$ref"]
    discriminator = node.get("discriminator")
    if isinstance(discriminator, dict):
        yield from discriminator.get("mapping", {}).values()


def replace_targets(node: Any, new: Mapping[str, str]) -> None:
    """Let every object of this part refer to something else, where `new` says so."""
    for part in parts(node):
        if isinstance(part.get("$ref"), str):
            part["$ref"] = new.get(part["$ref"], part["$ref"])
        if isinstance(part.get("discriminator"), dict) and "mapping" in part["discriminator"]:
            mapping = part["discriminator"]["mapping"]
            part["discriminator"]["mapping"] = {value: new.get(target, target) for value, target in mapping.items()}


def share_definitions(document: Json) -> None:
    """Move what a schema defines for itself (`$defs`) to the components, which alone tools for OpenAPI look at."""
    components = document.setdefault("components", {}).setdefault("schemas", {})
    defining = [part for part in parts(document) if isinstance(part.get("$defs"), dict)]
    for node in reversed(defining):  # those inside of others first
        replace_targets(node, add_definitions(node.pop("$defs"), components))


def add_definitions(definitions: Mapping[str, Any], components: Json) -> dict[str, str]:
    """Add these to the components; returns for each old reference the new one.

    One that has the name of another component, but is different, gets a number.
    """
    names = {name: name for name in definitions}
    while True:
        references = {f"{LOCAL}{name}": f"{COMPONENTS}{new}" for name, new in names.items()}
        renamed = copy.deepcopy(dict(definitions))
        for definition in renamed.values():
            replace_targets(definition, references)
        clashes = [name for name, new in names.items() if components.get(new, renamed[name]) != renamed[name]]
        if not clashes:
            components |= {names[name]: definition for name, definition in renamed.items()}
            return references
        names |= {name: _numbered(names[name]) for name in clashes}


def _numbered(name: str) -> str:
    """Return the next name: `Status2` after `Status`."""
    plain, number = re.fullmatch(r"(.*?)(\d*)", name).groups()  # type: ignore[union-attr]  # it matches everything
    return f"{plain}{int(number or 1) + 1}"


def refuse_dangling(document: Json) -> None:
    """Return a ValueError that names a reference to something that is not in the document."""
    for place, operation in _places(document):
        for part in parts(operation):
            for target in targets(part):
                if target.startswith("#") and looked_up(document, target) is None:
                    raise ValueError(
                        f"The OpenAPI document refers to {target} in {place}, but there is no such part: give the "
                        "route a model in place of a schema of its own, or add the component in `openapi`."
                    )


def _places(document: Json) -> Iterator[tuple[str, Any]]:
    for group in ("paths", "webhooks"):
        for path, operations in document.get(group, {}).items():
            yield from ((f"{method.upper()} {path}", operation) for method, operation in operations.items())
    for kind, components in document.get("components", {}).items():
        yield from ((f"components.{kind}.{name}", part) for name, part in components.items())


def looked_up(document: Json, target: str) -> Any:
    """Return the part of the document that a reference leads to; None if there is none."""
    node: Any = document
    for step in target.split("/")[1:]:
        node = node.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(node, dict) else None
    return node


def resolved(node: Json, document: Json) -> Json:
    """The component that an object refers to, with what it says beside; the object itself if it refers to none."""
    while "$ref" in node and isinstance(found := looked_up(document, node["$ref"]), dict):
        node = found | {key: part for key, part in node.items() if key != "$ref"}
    return node
