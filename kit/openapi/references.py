"""References (`$ref`) in the OpenAPI document: moves local definitions to the components, and finds dangling ones."""

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
"""The keywords whose values are maps from names to parts of the document: their keys are names, not keywords."""
DATA = frozenset({"example", "examples", "default", "const", "enum", "value"})
"""The keywords whose values are data, in which `$ref` is not a reference."""


def parts(node: Any, *, are_named: bool = False) -> Iterator[Json]:
    """Yield the node and every object below it, except maps of names (`NAMED`) and data (`DATA`)."""
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
    """Yield the targets of the references of an object itself: its `$ref`, and the mapping of its discriminator."""
    if isinstance(node.get("$ref"), str):
        yield node["$ref"]
    discriminator = node.get("discriminator")
    if isinstance(discriminator, dict):
        yield from discriminator.get("mapping", {}).values()


def replace_targets(node: Any, new: Mapping[str, str]) -> None:
    """Replace the targets of all references in a part of a document. `new` has the new target by the old one."""
    for part in parts(node):
        if isinstance(part.get("$ref"), str):
            part["$ref"] = new.get(part["$ref"], part["$ref"])
        if isinstance(part.get("discriminator"), dict) and "mapping" in part["discriminator"]:
            mapping = part["discriminator"]["mapping"]
            part["discriminator"]["mapping"] = {value: new.get(target, target) for value, target in mapping.items()}


def share_definitions(document: Json) -> None:
    """Move the local definitions of schemas (`$defs`), which OpenAPI tools ignore, to the components."""
    components = document.setdefault("components", {}).setdefault("schemas", {})
    defining = [part for part in parts(document) if isinstance(part.get("$defs"), dict)]
    for node in reversed(defining):  # inner definitions first
        replace_targets(node, add_definitions(node.pop("$defs"), components))


def add_definitions(definitions: Mapping[str, Any], components: Json) -> dict[str, str]:
    """Add definitions by name to the components. Returns the new reference by the old one (`#/$defs/…`).

    A definition whose name another component has gets a number.
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
    """Return a name with the next number: `Status2` for `Status`, `Status3` for `Status2`."""
    plain, number = re.fullmatch(r"(.*?)(\d*)", name).groups()  # type: ignore[union-attr]  # it matches everything
    return f"{plain}{int(number or 1) + 1}"


def refuse_dangling(document: Json) -> None:
    """Raise a ValueError for the first reference whose target is not in the document."""
    named = ((name, part) for name, whole in _named_parts(document) for part in parts(whole))
    for name, target in ((name, target) for name, part in named for target in targets(part)):
        if target.startswith("#") and lookup(document, target) is None:
            raise ValueError(
                f"The OpenAPI document refers to {target} in {name}, but there is no such part: give the "
                "route a model in place of a schema of its own, or add the component in `openapi`."
            )


def _named_parts(document: Json) -> Iterator[tuple[str, Any]]:
    for group in ("paths", "webhooks"):
        for path, operations in document.get(group, {}).items():
            yield from ((f"{method.upper()} {path}", operation) for method, operation in operations.items())
    for kind, components in document.get("components", {}).items():
        yield from ((f"components.{kind}.{name}", part) for name, part in components.items())


def lookup(document: Json, target: str) -> Any:
    """Return the target of a local reference in the document; None if it does not exist."""
    node: Any = document
    for step in target.split("/")[1:]:
        node = node.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(node, dict) else None
    return node


def resolved(node: Json, document: Json) -> Json:
    """Return an object with its `$ref` replaced by the members of the target. Its own members take precedence."""
    while "$ref" in node and isinstance(found := lookup(document, node["$ref"]), dict):
        node = found | {key: part for key, part in node.items() if key != "$ref"}
    return node
