"""The completion of FastAPI's document with what only the kit knows, and with what clients are generated from."""

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
    add_definitions,
    parts,
    refuse_dangling,
    replace_targets,
    resolved,
    share_definitions,
    targets,
)
from kit.openapi.responses import Json, answers_of, failure, headers
from kit.openapi.sharing import operations, share
from kit.openapi.simplification import simplify
from kit.openapi.values import NONE

OAUTH2: Json = {"type": "oauth2", "flows": {"password": {"tokenUrl": "auth/token", "scopes": {}}}}
SCHEMES: Json = {
    "Token": OAUTH2 | {"description": "Log in with a username and a password."},
    "Bearer": {"type": "http", "scheme": "bearer", "description": "A token that `POST /auth/token` has issued."},
}
VALIDATION_ERRORS: Json = {
    "ValidationError": utils.validation_error_definition,
    "HTTPValidationError": utils.validation_error_response_definition,
}
INVALID = "#/components/schemas/HTTPValidationError"
THIS_SERVER: Json = {"url": "/", "description": "This service."}
SECURITY: list[Json] = [{"Token": []}, {"Bearer": []}]


def complete(document: Json) -> Json:
    """The whole document, of one that FastAPI has made of routes with hints; any other is returned as it is."""
    hints = {id(operation): operation.pop(HINTS) for _, operation in operations(document) if HINTS in operation}
    if not hints:
        return document
    components = document.setdefault("components", {})
    components.setdefault("schemas", {})
    components["securitySchemes"] = components.get("securitySchemes", {}) | SCHEMES
    tables = tables_of_tags(document, hints)
    document["tags"] = tags(document, hints)
    document.setdefault("servers", [THIS_SERVER])
    add_problem(document)
    separate_ids(document)
    for method, operation in operations(document):
        complete_operation(document, operation, method, hints.get(id(operation), {}))
        complete_path(operation, tables.get(tag_of(operation)))
    for part in parts(document):
        simplify(part)
    share_definitions(document)
    name_enumerations(document)
    show_validation_error(document)
    for method, operation in operations(document):
        complete_body(document, operation, method)
    share(document)
    refuse_dangling(document)
    return document


def tag_of(operation: Json) -> str:
    return next(iter(operation.get("tags", ())), "")


def tags(document: Json, hints: dict[int, Json]) -> list[Json]:
    """The tags that are described already, and of the others, what the module with most of their operations says."""
    given = document.get("tags", [])
    modules: dict[str, Counter[str]] = {}
    for _, operation in operations(document):
        for place, tag in enumerate(operation.get("tags", ())):
            said = hints.get(id(operation), {}).get("module", "") if place == 0 else ""
            modules.setdefault(tag, Counter()).update([said] if said else [])
    others = [tag for tag in modules if tag not in {part["name"] for part in given}]
    described = {tag: modules[tag].most_common(1)[0][0] if modules[tag] else f"{tag.capitalize()}." for tag in others}
    return [*given, *({"name": tag, "description": text} for tag, text in described.items())]


def tables_of_tags(document: Json, hints: dict[int, Json]) -> dict[str, str]:
    """The table to whose rows the operations with a tag lead."""
    found = ((tag_of(operation), hints.get(id(operation), {}).get("table")) for _, operation in operations(document))
    return {tag: table for tag, table in found if table is not None}


def add_problem(document: Json) -> None:
    """The schema of a problem; under another name, if a model of a resource has that one."""
    schemas = document["components"]["schemas"]
    problem = TypeAdapter(Problem).json_schema()
    definitions = problem.pop("$defs") | {"Problem": problem}
    names = add_definitions(definitions, schemas)
    for answer in answers_of(document):
        content = answer.get("content", {}).get("application/problem+json", {})
        replace_targets(content, {"#/components/schemas/Problem": names["#/$defs/Problem"]})


def show_validation_error(document: Json) -> None:
    """The schema of FastAPI's own 422, only if a callback or a webhook refers to it: FastAPI forgets it there."""
    schemas = document["components"]["schemas"]
    definitions = copy.deepcopy(VALIDATION_ERRORS)
    if INVALID in [target for part in parts(document) for target in targets(part)]:
        document["components"]["schemas"] = definitions | schemas
    else:
        for name in definitions:
            schemas.pop(name, None)


def complete_operation(document: Json, operation: Json, method: str, hints: Json) -> None:
    """Security, a description, an operation id of its own, and the header that every answer has."""
    is_public = method.replace("HEAD", "GET") in hints.get("public", ())
    operation.setdefault("security", [] if is_public else SECURITY)
    operation.setdefault("description", f"{operation.get('summary', '').rstrip('.')}.")
    answers = operation.get("responses", {})
    if INVALID in json.dumps(answers.get("422", {})):  # FastAPI's own, which no route of a service answers
        answers["422"] = failure(422)
    for answer in answers.values():
        if "$ref" not in answer:
            answer["headers"] = answer.get("headers", {}) | headers("X-Request-ID")
    if "embedded" in hints and "200" in answers:
        show_part(document, answers["200"], hints["embedded"])


def show_part(document: Json, answer: Json, embedded: Json) -> None:
    """Let an answer refer to a schema whose properties are all optional: `fields` leaves out, `include` adds."""
    shown = answer.get("content", {}).get("application/json", {}).get("schema", {})
    shown = shown.get("items", shown)
    if "$ref" not in shown:
        return
    schemas, whole = document["components"]["schemas"], shown["$ref"].rpartition("/")[2]
    name, plain = f"{whole}Partial", schemas[whole]
    part = {key: value for key, value in plain.items() if key != "required"}
    text = f"{whole}, as a request asks for it: `fields` leaves properties out, `include` adds some."
    schemas[name] = part | {"title": name, "description": text}
    schemas[name]["properties"] = plain.get("properties", {}) | embedded
    shown["$ref"] = f"#/components/schemas/{name}"


def complete_path(operation: Json, table: str | None) -> None:
    """An example and a description of every id in the path."""
    for parameter in operation.get("parameters", ()):
        if parameter.get("in") != "path":
            continue
        words = parameter["name"].replace("_", " ")
        thing = words.removesuffix(" id")
        parameter.setdefault("description", f"The id of the {thing}." if thing != words else f"The {words}.")
        if table is not None and not {"example", "examples"} & parameter.keys():
            parameter["example"] = f"{{{table}}}"


def complete_body(document: Json, operation: Json, method: str) -> None:
    """An example of every body, and the media type of a JSON merge patch (RFC 7396)."""
    content = operation.get("requestBody", {}).get("content", {})
    for body in content.values():
        if "schema" not in body or {"example", "examples"} & body.keys():
            continue
        item = resolved(body["schema"].get("items", {}), document)
        is_bulk = body["schema"].get("type") == "array" and any("examples" in part for part in properties(item))
        example = elements(item, document) if is_bulk else example_of(body["schema"], document)
        if example is not NONE:
            body["example"] = example
    if "application/json" in content and method == "PATCH":
        content["application/merge-patch+json"] = content["application/json"]


def properties(schema: Json) -> list[Json]:
    return list(schema.get("properties", {}).values())
