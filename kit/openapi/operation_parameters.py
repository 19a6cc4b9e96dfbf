"""Parameters of operations in the OpenAPI document: those of a `ListQuery`, and the headers that the kit reads."""

from collections.abc import Iterator, Mapping
from inspect import ismethod
from typing import Any

from kit.openapi.operation_kinds import has_etag, has_precondition, is_conditional_creation, is_read, takes_key
from kit.openapi.references import Json
from kit.openapi.responses import TAG, TEXT
from kit.operations.dependants import dependencies_of, query_variant
from kit.operations.route import Operation
from kit.query.list_query import ListQuery

ORDER = ("limit", "sort", "q", "include", "include_limit", "fields", "count", "cursor", "offset")  # then the filters
IF_NONE_MATCH = "Respond with a 304 if the ETag is one of these."
NOT_EXISTING = "`*`: respond with a 412, and store nothing, if another row has a unique value of the new row."
OTHER_VERSION = "Respond with a 412, and change nothing, if the row has this version, or if it exists (`*`)."
IF_MATCH = 'Change the row only if it has this version, as in `"3"`, or any version (`*`); otherwise a 412.'
TAGS = TEXT | {"pattern": f"^(\\*|{TAG}(, *{TAG})*)$", "examples": ['"3"']}
"""The schema of preconditions. It is not used for a read, where a malformed `If-None-Match` is not an error."""
KEY = "A key that makes the request safe to repeat: for a day, the same key gets the same response and no new effect."


def parameters(route: Operation) -> Iterator[Json]:
    """Yield the query parameters of a `ListQuery`, and the headers of conditional and idempotent requests."""
    for dependant in dependencies_of(route.dependant):
        if variant := query_variant(dependant):
            known = variant.shaping if ismethod(dependant.call) else variant.parameters
            ordered = {name: known[name] for name in ORDER if name in known} | dict(known)
            yield from (client_parameter(parameter.openapi(), variant) for parameter in ordered.values())
    if is_read(route) and has_etag(route):
        yield {"name": "If-None-Match", "in": "header", "description": IF_NONE_MATCH, "schema": TEXT}
    if has_precondition(route):
        yield {"name": "If-Match", "in": "header", "description": IF_MATCH, "schema": TAGS}
        yield {"name": "If-None-Match", "in": "header", "description": OTHER_VERSION, "schema": TAGS}
    if is_conditional_creation(route):
        yield {"name": "If-None-Match", "in": "header", "description": NOT_EXISTING, "schema": TAGS}
    if takes_key(route):
        schema = TEXT | {"minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}
        yield {"name": "Idempotency-Key", "in": "header", "description": KEY, "schema": schema}


def client_parameter(parameter: Mapping[str, Any], query: type[ListQuery]) -> Json:
    """Return a parameter in a form for client generators: with named enumerations, and `sort` as a text."""
    name, schema = parameter["name"], parameter["schema"]
    choice = schema.get("items", {}).get("enum") or [schema.get("items", {}).get("const")]
    if name == "sort":
        return sort_as_text(dict(parameter), [term for term in choice if not term.startswith("-")])
    if name in ("fields", "include"):
        kind = f"{query.read.__name__.removesuffix('Read')}{name.removesuffix('s').title()}"
        definition = {"type": "string", "enum": choice, "title": kind}
        return {**parameter, "schema": schema | {"items": {"$ref": f"#/$defs/{kind}"}, "$defs": {kind: definition}}}
    return dict(parameter)


def sort_as_text(parameter: Json, fields: list[str]) -> Json:
    """Return `sort` as a text parameter with a pattern, because a list of choices would lose the order of its terms."""
    term = f"-?({'|'.join(fields)})"
    example = f"-{fields[-1]},{fields[0]}" if len(fields) > 1 else f"-{fields[0]}"
    more = 2 * len(fields) - 1  # no pattern can express that a repeated field is refused
    schema = TEXT | {"pattern": f"^{term}(,{term}){{0,{more}}}$", "examples": [example]}
    plain = {key: part for key, part in parameter.items() if key != "explode"}
    return plain | {"description": f"The order, as in `{example}`: {parameter['description']}", "schema": schema}
