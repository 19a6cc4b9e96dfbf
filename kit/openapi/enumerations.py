"""Names of enumerations: moves inline enumerations to the components, so that client generators use stable names."""

import re
from collections.abc import Iterator
from typing import Any

from kit.openapi.references import Json, add_definitions
from kit.openapi.sharing import operations

Named = tuple[Any, Any, str]
"""The object that contains a schema, the key of the schema in it, and a name for the schema's enumeration."""

WORD = re.compile("[A-Za-z0-9_]+")


def name_enumerations(document: Json) -> None:
    """Move each enumeration in a parameter, a response, or a property of a component to the components."""
    schemas = document["components"]["schemas"]
    for holder, key, name in [*_of_operations(document), *_of_properties(schemas)]:
        schema = holder[key]
        if len(schema.get("enum", ())) > 1 and schema.get("type") in ("string", "integer"):
            about = {part: schema[part] for part in ("default", "examples") if part in schema}
            definition = {part: schema[part] for part in schema if part not in about}
            if not WORD.fullmatch(schema.get("title", "")):  # it does not have the name of a class
                about |= {part: definition.pop(part) for part in ("description",) if part in definition}
                definition["title"] = name
            references = add_definitions({definition["title"]: definition}, schemas)
            holder[key] = {"$ref": references[f"#/$defs/{definition['title']}"]} | about


def _of_operations(document: Json) -> Iterator[Named]:
    for _, operation in operations(document):
        responses = operation.get("responses", {}).values()
        for content in (content for response in responses for content in response.get("content", {}).values()):
            if isinstance(content.get("schema"), dict):
                yield from _inside(content, "schema", f"{_capitalized(operation['operationId'])}Response")
        for parameter in operation.get("parameters", ()):
            if isinstance(parameter.get("schema"), dict):
                yield from _inside(parameter, "schema", _capitalized(parameter["name"]))


def _of_properties(schemas: Json) -> Iterator[Named]:
    for name, schema in list(schemas.items()):
        model = re.sub("-(Input|Output)$", "", name)  # FastAPI adds the suffix if bodies and responses differ
        properties = schema.get("properties", {})
        for key in properties:
            yield from _inside(properties, key, f"{model}{_capitalized(key)}")


def _inside(holder: Json, key: str, name: str) -> Iterator[Named]:
    """Yield the schema `holder[key]`, the schema of its elements, and its alternatives (`anyOf`), all with `name`."""
    schema = holder[key]
    yield holder, key, name
    if isinstance(schema.get("items"), dict):
        yield schema, "items", name
    alternatives = schema.get("anyOf", [])
    yield from ((alternatives, index, name) for index in range(len(alternatives)))


def _capitalized(name: str) -> str:
    """Return a name such as `on_error` in the form of a type's name: `OnError`."""
    return "".join(word[0].upper() + word[1:] for word in re.findall("[A-Za-z0-9]+", name))
