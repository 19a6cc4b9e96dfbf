"""A field of a request body, read from the JSON schema of the body, with valid values."""

import functools
import operator
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from itertools import count
from typing import Any
from uuid import uuid4

from pydantic import AliasChoices, BaseModel, ValidationError

from kit import Absent

Json = dict[str, Any]
NUMBERS = count(10)
"""Distinct numbers, which make texts unique."""
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Field:
    """`name` is its name in JSON, `attribute` that in Python. `schemas` are the schemas of its non-null values.

    `parent` is the table to which it refers.
    """

    body: type[BaseModel]
    name: str
    attribute: str
    schemas: list[Json]
    examples: list[Any]
    default: Any
    required: bool
    nullable: bool
    parent: str | None
    definitions: Json

    def is_a(self, kind: str) -> bool:
        return any(schema.get("type") == kind for schema in self.schemas)

    @property
    def is_amount(self) -> bool:
        """Whether the field is a decimal with two decimal places, as money is."""
        return self.is_a("number") and self.is_a("string") and self.fits("1.05") and not self.fits("1.005")

    @property
    def is_free_text(self) -> bool:
        """Whether the field takes any text within a length and an optional pattern."""
        return self.is_a("string") and not any({"enum", "const", "format"} & set(schema) for schema in self.schemas)

    def offers(self, text: str) -> bool:
        """Return whether the schema allows this text."""
        fitting = all(re.search(pattern, text) for pattern in self.all_of("pattern"))
        return self.is_free_text and fitting and len(text) <= min(self.all_of("maxLength"), default=len(text))

    @property
    def bounds(self) -> list[int]:
        return [int(bound) for bound in (*self.all_of("minimum"), *self.all_of("maximum"))]

    def all_of(self, keyword: str) -> list[Any]:
        return [schema[keyword] for schema in self.schemas if keyword in schema]

    def fits(self, value: object) -> bool:
        """Return whether the validation of the body accepts this value."""
        try:
            self.body.model_validate({self.name: value})
        except ValidationError as failure:
            return all(part["loc"][:1] != (self.name,) for part in failure.errors())
        return True

    def value(self, turn: int = 0, *, unique: bool = False) -> Any:
        """Return a valid value, distinct for each `turn`. Texts are distinct for each call."""
        number = next(NUMBERS)
        for candidate in self.candidates(10 * number + turn if unique else turn, number):
            if self.fits(candidate):
                return candidate
        raise AssertionError(f"No value is known for {self.name} of {self.body.__name__}: give it an example.")

    def candidates(self, turn: int, number: int) -> Iterator[Any]:
        example = next((example for example in self.examples if example is not None), None)
        for choices in self.all_of("enum"):
            yield choices[turn % len(choices)]
        yield from self.all_of("const")
        if self.is_a("boolean"):
            yield bool(self.default) ^ bool(turn % 2)
        if self.is_a("number"):
            yield from self.numbers(turn, example)
        if self.is_a("integer"):
            yield from self.integers(turn, example)
        if self.is_a("string"):
            yield from self.texts(turn, number, example)
        yield from self.others(turn, example)

    def others(self, turn: int, example: object) -> Iterator[object]:
        """Yield variations of an object or array, and the example itself."""
        if isinstance(example, dict):
            yield example | {"turn": turn}
        if isinstance(example, list):
            yield example * (turn + 1)
        if example is not None:
            yield example
        yield from (sample(schema, self.definitions) for schema in self.schemas)

    def integers(self, turn: int, example: int | None) -> Iterator[int]:
        lowest = int(min(self.all_of("minimum"), default=1))
        start = max(lowest, 1) if example is None else example
        yield from (start + turn, start - turn, lowest + turn, lowest)

    def numbers(self, turn: int, example: object) -> Iterator[Any]:
        """Yield numbers: decimals as strings with as many decimal places as their example, floats as numbers."""
        yield str(Decimal(str(example or "9.99")) + turn)
        yield from (f"{turn + 1}.50", f"{turn + 1}", "1")
        yield from (float(str(example or 1)) + turn, turn + 0.5)

    def texts(self, turn: int, number: int, example: object) -> Iterator[str]:
        moment = NEW_YEAR + timedelta(days=turn, seconds=number)
        for form in self.all_of("format"):
            yield from {
                "date-time": [moment.isoformat().replace("+00:00", "Z")],
                "date": [moment.date().isoformat()],
                "uuid": [str(uuid4())],
                "uri": [f"https://example.com/{number}"],
                "ipv4": [f"10.0.{number % 250}.{turn % 250}"],
                "ipv6": [f"2001:db8::{number}"],
            }.get(form, [])
        if example is not None:
            yield from (f"{number}{example}", f"{example}{number}", f"{example}-{number}", f"{example} {number}")
        clock = (NEW_YEAR + timedelta(minutes=turn)).time().isoformat()
        yield from (f"{number} words", f"w{number}", f"W-{number}", f"w{number}@example.com", str(number), clock)
        yield from (f"PT{number}H", "YWJj", f"10.{number % 250}.0.0/16", "2001:db8::/32")


def resolved(document: Json, node: Json) -> Json:
    """Return the component that a part of the document refers to, or the part itself."""
    if "$ref" not in node:
        return node
    meant: Json = functools.reduce(operator.getitem, node["$ref"].split("/")[1:], document)
    return resolved(document, meant) | node


def sample(schema: Json, definitions: Json) -> Any:
    """Return a value for a JSON Schema, in which objects have the required properties only."""
    schema = next(part for part in variants(schema, definitions))
    choices = [*schema.get("examples", ()), *schema.get("enum", ())]
    if choices or "const" in schema:
        return choices[0] if choices else schema["const"]
    if schema.get("type") == "array":
        return [sample(schema["items"], definitions) for _ in range(schema.get("minItems", 0))]
    if schema.get("type") == "object":
        properties = {name: schema["properties"][name] for name in schema.get("required", ())}
        return {name: sample(part, definitions) for name, part in properties.items()}
    plain = {"integer": schema.get("minimum", 1), "number": schema.get("minimum", 1), "boolean": True, "null": None}
    return plain.get(schema.get("type", ""), f"w{next(NUMBERS)}")


@cache
def fields_of(body: type[BaseModel]) -> list[Field]:
    schema = body.model_json_schema()
    return [field_of(body, name, schema) for name in schema.get("properties", ())]


def attribute_of(body: type[BaseModel], name: str) -> str:
    """Return the name in Python of the field with a name in JSON."""
    for attribute, info in body.model_fields.items():
        alias = info.validation_alias or info.alias
        first = alias.choices[0] if isinstance(alias, AliasChoices) else alias
        if name in (first, attribute):
            return attribute
    raise AssertionError(f"{body.__name__} has no field {name}.")


def field_of(body: type[BaseModel], name: str, schema: Json) -> Field:
    described = schema["properties"][name]
    kinds = list(variants(described, schema.get("$defs", {})))
    return Field(
        body=body,
        name=name,
        attribute=(attribute := attribute_of(body, name)),
        schemas=[kind for kind in kinds if kind.get("type") != "null"],
        examples=described.get("examples", []),
        default=described.get("default"),
        required=name in schema.get("required", ()) or is_callers(body, attribute),
        nullable=any(kind.get("type") == "null" for kind in kinds),
        parent=parent_of(body, attribute),
        definitions=schema.get("$defs", {}),
    )


def variants(schema: Json, definitions: Json) -> Iterator[Json]:
    """Yield the alternatives of a schema, or the schema itself."""
    if "$ref" in schema:
        yield from variants(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    elif "anyOf" in schema:
        for inner in schema["anyOf"]:
            yield from variants(inner, definitions)
    else:
        yield schema


def is_callers(body: type[BaseModel], name: str) -> bool:
    """Return whether the field defaults to the id of the caller. Without authentication the field is required."""
    return body.model_fields[name].default_factory is Absent


def parent_of(body: type[BaseModel], name: str) -> str | None:
    info = body.model_fields[name]
    keys = (getattr(part, "foreign_key", None) for part in (info, *info.metadata))
    return next((key.partition(".")[0] for key in keys if isinstance(key, str)), None)
