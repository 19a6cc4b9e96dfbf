"""Shared components of the OpenAPI document: moves repeated parts to the components, and sorts the document."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from kit.openapi.references import Json, parts
from kit.openapi.responses import HEADERS, header_objects, responses_of

METHODS = ("get", "post", "put", "patch", "delete", "head", "options", "trace")
"""The methods of a Path Item (OpenAPI 3.1, section 4.8.9), in their order in the document."""
ORDER = (
    "tags",
    "operationId",
    "summary",
    "description",
    "deprecated",
    "security",
    "parameters",
    "requestBody",
    "responses",
)
"""The first members of an operation, in order; the others follow by name."""


def operations(document: Json) -> Iterator[tuple[str, Json]]:
    """Yield every operation of a document, with its method in upper case."""
    for path in document.get("paths", {}).values():
        yield from ((method.upper(), path[method]) for method in METHODS if method in path)


def share(document: Json) -> None:
    """Move repeated headers, responses and parameters to the components, and sort the document."""
    share_headers(document)
    share_failures(document)
    share_parameters(document)
    schemas = document["components"]["schemas"]
    remove_misleading_titles(schemas)
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    for part in parts(document):
        if isinstance(part.get("type"), str):
            put_in_order(part, ("type",))
    for _, operation in operations(document):
        put_in_order(operation, ORDER)
    document["paths"] = in_order(document["paths"])


def remove_misleading_titles(schemas: Json) -> None:
    """Remove titles that are the name or the title of another component, because generators use them as type names."""
    titles = Counter(schema.get("title") for schema in schemas.values())
    for schema in schemas.values():
        if "title" in schema and (schema["title"] in schemas or titles[schema["title"]] > 1):
            del schema["title"]


def put_in_order(node: Json, first: Sequence[str]) -> None:
    """Sort the members of an object: those in `first` in that order, then the others by name."""
    members = sorted(node.items(), key=lambda item: (first.index(item[0]) if item[0] in first else len(first), item[0]))
    node.clear()
    node.update(members)


def in_order(paths: Json) -> Json:
    """Return the paths grouped by collection, with bulk operations last, and with the methods in order."""
    collections = {path: re.split(r"/\{|/bulk$", path.rstrip("/"))[0] for path in paths}
    first = {collection: index for index, collection in reversed([*enumerate(collections.values())])}
    ordered = sorted(paths.items(), key=lambda item: (first[collections[item[0]]], item[0].endswith("/bulk")))
    return {path: dict(sorted(methods.items(), key=lambda item: METHODS.index(item[0]))) for path, methods in ordered}


def share_headers(document: Json) -> None:
    """Move the response headers of the kit to the components."""
    known = {name: header_objects(name)[name] for name in HEADERS}
    shared: Json = document["components"].setdefault("headers", {})
    for response in responses_of(document):
        for name, header in response.get("headers", {}).items():
            if known.get(name) == header:
                shared[name] = header
                response["headers"][name] = {"$ref": f"#/components/headers/{name}"}


def share_parameters(document: Json) -> None:
    """Move parameters that several operations have to the components."""
    lists = [operation["parameters"] for _, operation in operations(document) if "parameters" in operation]
    counts = Counter(json.dumps(parameter, sort_keys=True) for parameters in lists for parameter in parameters)
    shared: Json = document["components"].setdefault("parameters", {})
    for parameters in lists:
        for index, parameter in enumerate(parameters):
            if counts[json.dumps(parameter, sort_keys=True)] > 1:
                enumeration = parameter.get("schema", {}).get("items", {}).get("$ref", "").rpartition("/")[2]
                name = name_among(shared, enumeration or parameter["name"], parameter)
                parameters[index] = {"$ref": f"#/components/parameters/{name}"}


def share_failures(document: Json) -> None:
    """Move error responses, and those without content, to the components. Most operations have ten of them."""
    shared: Json = document["components"].setdefault("responses", {})
    for _, operation in operations(document):
        for status, response in operation.get("responses", {}).items():
            if (status[0] in "345" or status == "204") and "$ref" not in response:
                name = name_among(shared, f"Error{status}" if status[0] in "45" else response["description"], response)
                operation["responses"][status] = {"$ref": f"#/components/responses/{name}"}


def name_among(shared: Json, plain: str, part: Json) -> str:
    """Return the name of the component that equals `part`, which is added if necessary: `plain`, or with a number."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "", plain) or "Part"
    joint = "-" if plain[-1].isdigit() else ""
    names = [plain, *(f"{plain}{joint}{number}" for number in range(2, len(shared) + 3))]
    return next(name for name in names if shared.setdefault(name, part) == part)
