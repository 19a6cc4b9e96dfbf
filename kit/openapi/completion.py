"""Completion of FastAPI's OpenAPI document: adds security, problems, examples, and names for client generators."""

import copy
import json
from collections import Counter

from fastapi.openapi import utils
from pydantic import TypeAdapter

from kit.openapi.enumerations import name_enumerations
from kit.openapi.examples import elements, example_of
from kit.openapi.operation_ids import separate_ids
from kit.openapi.operations import HINTS
from kit.openapi.problem_schema import Problem
from kit.openapi.references import (
    Json,
    add_definitions,
    parts,
    refuse_dangling,
    replace_targets,
    resolved,
    share_definitions,
    targets,
)
from kit.openapi.response_schemas import remove_defaults
from kit.openapi.responses import OF_EVERY_RESPONSE, failure, header_objects, responses_of
from kit.openapi.sharing import operations, share
from kit.openapi.simplification import keep_to_version, simplify
from kit.openapi.values import NONE

OAUTH2: Json = {"type": "oauth2", "flows": {"password": {"tokenUrl": "auth/token", "scopes": {}}}}
LOGIN = "/auth/token"
"""The path of the login that Swagger's Authorize button uses, if the service has one."""
SCHEMES: Json = {
    "Token": OAUTH2 | {"description": "Log in with a username and a password."},
    "Bearer": {"type": "http", "scheme": "bearer", "description": "A token that `POST /auth/token` has issued."},
}
WITHOUT_LOGIN: Json = {
    "Bearer": {"type": "http", "scheme": "bearer", "description": "A token of the issuer that this service accepts."}
}
VALIDATION_ERRORS: Json = {
    "ValidationError": utils.validation_error_definition,
    "HTTPValidationError": utils.validation_error_response_definition,
}
INVALID = "#/components/schemas/HTTPValidationError"
THIS_SERVER: Json = {"url": "/", "description": "This service."}
UNTAGGED = "default"
"""The tag of operations without a tag: the name that documentation pages and client generators use for them."""


def complete(document: Json) -> Json:
    """Complete a document of FastAPI in place, and return it. A document without routes of the kit is unchanged.

    Raises a ValueError for a reference without a target.
    """
    hints = {id(operation): operation.pop(HINTS) for _, operation in operations(document) if HINTS in operation}
    if not hints:
        return document
    components = document.setdefault("components", {})
    components.setdefault("schemas", {})
    schemes = SCHEMES if LOGIN in document["paths"] else WITHOUT_LOGIN
    components["securitySchemes"] = components.get("securitySchemes", {}) | schemes
    for _, operation in operations(document):
        operation["tags"] = operation.get("tags") or [UNTAGGED]
    tables = tables_of_tags(document, hints)
    document["tags"] = tags(document, hints)
    document.setdefault("servers", [THIS_SERVER])
    document.setdefault("security", [{name: []} for name in schemes])
    add_problem(document)
    separate_ids(document)
    for method, operation in operations(document):
        complete_operation(document, operation, method, hints.get(id(operation), {}))
        complete_path(operation, tables.get(tag_of(operation)))
    keep_to_version(document)
    for part in parts(document):
        simplify(part)
    share_definitions(document)
    name_enumerations(document)
    keep_used_validation_error(document)
    remove_defaults(document)
    for _, operation in operations(document):
        complete_body(document, operation, is_merge=hints.get(id(operation), {}).get("is_merge", False))
    share(document)
    refuse_dangling(document)
    return document


def tag_of(operation: Json) -> str:
    return next(iter(operation.get("tags", ())), "")


def tags(document: Json, hints: dict[int, Json]) -> list[Json]:
    """Return the Tag Objects, by default described by the docstring of the module with most operations of the tag.

    `hints` are those of the operations, by `id()`.
    """
    given = document.get("tags", [])
    modules: dict[str, Counter[str]] = {}
    for _, operation in operations(document):
        for index, tag in enumerate(operation.get("tags", ())):
            docstring = hints.get(id(operation), {}).get("module", "") if index == 0 else ""
            modules.setdefault(tag, Counter()).update([docstring] if docstring else [])
    others = [tag for tag in modules if tag not in {part["name"] for part in given}]
    described = {tag: modules[tag].most_common(1)[0][0] if modules[tag] else f"{tag.capitalize()}." for tag in others}
    if UNTAGGED in described:
        described[UNTAGGED] = "Operations without a tag."
    return [*given, *({"name": tag, "description": text} for tag, text in described.items())]


def tables_of_tags(document: Json, hints: dict[int, Json]) -> dict[str, str]:
    """Return the table by tag, whose rows the operations of the tag return."""
    found = ((tag_of(operation), hints.get(id(operation), {}).get("table")) for _, operation in operations(document))
    return {tag: table for tag, table in found if table is not None}


def add_problem(document: Json) -> None:
    """Add the schema of a problem to the components, under another name if a model of a resource has that name."""
    schemas = document["components"]["schemas"]
    problem = TypeAdapter(Problem).json_schema()
    definitions = problem.pop("$defs") | {"Problem": problem}
    names = add_definitions(definitions, schemas)
    for response in responses_of(document):
        content = response.get("content", {}).get("application/problem+json", {})
        replace_targets(content, {"#/components/schemas/Problem": names["#/$defs/Problem"]})


def keep_used_validation_error(document: Json) -> None:
    """Add the schema of FastAPI's own 422 if a callback or a webhook refers to it; otherwise remove it.

    FastAPI does not add it for callbacks and webhooks.
    """
    schemas = document["components"]["schemas"]
    definitions = copy.deepcopy(VALIDATION_ERRORS)
    if INVALID in [target for part in parts(document) for target in targets(part)]:
        document["components"]["schemas"] = definitions | schemas
    else:
        for name in definitions:
            schemas.pop(name, None)


def complete_operation(document: Json, operation: Json, method: str, hints: Json) -> None:
    """Add the security, a description, the 401, 403 and 422, and the headers of all responses to an operation."""
    is_public = method.replace("HEAD", "GET") in hints.get("public", ())
    if is_public:
        operation.setdefault("security", [])
    operation.setdefault("description", f"{operation.get('summary', '').rstrip('.')}.")
    responses = operation.get("responses", {})
    if "public" in hints and not is_public:
        responses |= {status: failure(int(status)) for status in ("401", "403") if status not in responses}
    if INVALID in json.dumps(responses.get("422", {})):  # FastAPI's own schema: the service responds with problems
        responses["422"] = failure(422)
    for response in responses.values():
        if "$ref" not in response:
            response["headers"] = response.get("headers", {}) | header_objects(*OF_EVERY_RESPONSE)
    if "embedded" in hints and "200" in responses:
        refer_to_partial_schema(document, responses["200"], hints["embedded"])


def refer_to_partial_schema(document: Json, response: Json, embedded_schemas: Json) -> None:
    """Replace the schema of a response by one in which no property is required, because `fields` omits some.

    It also has the properties that `include` adds.
    """
    schema = response.get("content", {}).get("application/json", {}).get("schema", {})
    schema = schema.get("items", schema)
    if "$ref" not in schema:
        return
    schemas, whole = document["components"]["schemas"], schema["$ref"].rpartition("/")[2]
    name, plain = f"{whole}Partial", schemas[whole]
    part = {key: value for key, value in plain.items() if key != "required"}
    text = f"{whole} without what `fields` omits, with what `include` adds."
    schemas[name] = part | {"title": name, "description": text}
    schemas[name]["properties"] = plain.get("properties", {}) | embedded_schemas
    schema["$ref"] = f"#/components/schemas/{name}"


def complete_path(operation: Json, table: str | None) -> None:
    """Add a description and an example to every parameter in the path. The example is a placeholder for `table`."""
    for parameter in operation.get("parameters", ()):
        if parameter.get("in") != "path":
            continue
        words = parameter["name"].replace("_", " ")
        noun = words.removesuffix(" id")
        parameter.setdefault("description", f"The id of the {noun}." if noun != words else f"The {words}.")
        if table is not None and not {"example", "examples"} & parameter.keys():
            parameter["example"] = f"{{{table}}}"


def complete_body(document: Json, operation: Json, *, is_merge: bool) -> None:
    """Add an example to every body, and to changes of a resource the media type of JSON Merge Patch (RFC 7396).

    It is left out if the operation has no optional parameter: of two media types, openapi-python-client would make a
    module that cannot be imported, because it imports the name `Unset` only for such parameters.
    """
    content = operation.get("requestBody", {}).get("content", {})
    for body in content.values():
        if "schema" not in body or {"example", "examples"} & body.keys():
            continue
        item = resolved(body["schema"].get("items", {}), document)
        is_bulk = body["schema"].get("type") == "array" and any("examples" in part for part in properties(item))
        example = elements(item, document) if is_bulk else example_of(body["schema"], document)
        if example is not NONE:
            body["example"] = example
    parameters = (resolved(parameter, document) for parameter in operation.get("parameters", ()))
    if is_merge and "application/json" in content and not all(part.get("required") for part in parameters):
        content["application/merge-patch+json"] = content["application/json"]


def properties(schema: Json) -> list[Json]:
    return list(schema.get("properties", {}).values())
