"""Declarations of a resource: an error names the field, and says what to write instead."""

import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from sqlalchemy import Index, PrimaryKeyConstraint, UniqueConstraint

from kit import Body
from tests.contract.field import Field
from tests.contract.operations import ITEM_VERBS, WRITING, body_of
from tests.contract.resource import Resource, needs
from tests.engines import Client

pytestmark = pytest.mark.untraced

SECRET = re.compile("(^|_)(password|passwd|passphrase|hash|hashed|token|api_key|secret_key)(_|$)")
"""Names of fields that no response may contain."""
SHOWING = ("list", "create", *ITEM_VERBS[:-1])


def fields_of(resource: Resource) -> Iterator[Field]:
    """Yield the fields of all bodies, each once: as it is created, where it can be."""
    yield from {field.name: field for verb in reversed(WRITING) for field in resource.fields(verb)}.values()


@needs("writable")
async def test_every_text_has_a_maximum_length(client: Client, resource: Resource) -> None:
    for field in fields_of(resource):
        is_bounded = not any(field.fits(letter * 1_000_000) for letter in "aA1")
        assert is_bounded, f"{field.name} has no maximum: write `{field.name}: … = Field(max_length=100)`."


@needs("writable")
async def test_every_required_field_has_an_example(client: Client, resource: Resource) -> None:
    for field in fields_of(resource):
        choices = field.all_of("enum") or field.all_of("const") or field.is_a("boolean")
        remedy = f'write `{field.name}: … = Field(schema_extra={{"examples": […]}})`'
        assert not field.required or field.examples or choices, f"{field.name} has no example for the docs: {remedy}."


@needs("writable")
async def test_every_example_is_a_valid_value(client: Client, resource: Resource) -> None:
    for field in fields_of(resource):
        for example in field.examples if field.parent is None else ():
            assert field.fits(example), f"{example!r}, an example of {field.name}, is refused: write one that is valid."


@needs("list")
async def test_every_field_for_sort_or_filter_is_the_first_of_an_index(client: Client, resource: Resource) -> None:
    kinds = [*resource.table.indexes, *resource.table.constraints]
    indexed = [part for part in kinds if isinstance(part, Index | PrimaryKeyConstraint | UniqueConstraint)]
    leading = {next(iter(part.columns)).key for part in indexed if len(part.columns)}
    for name in (*resource.query.filters, *resource.query.sorts, "id"):
        assert name in leading, f"{name} is for sort or filter, and has no index: write `Field(index=True)`."


async def test_every_body_refuses_what_it_does_not_know(client: Client, resource: Resource) -> None:
    for verb in WRITING:
        kind = body_of(resource.verbs[verb]) if verb in resource.verbs else None
        is_body = kind is None or issubclass(kind, Body)
        assert is_body, f"{name_of(kind)} takes unknown fields: write `class {name_of(kind)}(…, Body)`."


async def test_every_answer_is_a_read_variant(client: Client, resource: Resource) -> None:
    for verb in SHOWING if "list" in resource.verbs else ():
        read = name_of(resource.query.read)
        shown: Any = resource.verbs[verb].response_model if verb in resource.verbs else resource.query.read
        inner = get_args(shown)[0] if verb == "list" else shown
        remedy = f"write `response_model={f'list[{read}]' if verb == 'list' else read}`"
        assert issubclass(inner, resource.query.read), f"{verb} responds with {name_of(inner)}: {remedy}."


@needs("list")
async def test_every_answer_has_the_stamps(client: Client, resource: Resource) -> None:
    read = resource.query.read
    missing = [name for name in ("version", "created_at", "updated_at") if name not in read.model_fields]
    assert not missing, f"{name_of(read)} has no {missing[0]}: write `class {name_of(read)}(Stamped, …, Read)`."


@needs("list")
async def test_no_secret_is_shown(client: Client, resource: Resource) -> None:
    for name in resource.query.read.model_fields:
        own = resource.query.model.model_fields.get(name)
        is_secret = SECRET.search(name) or (own is not None and own.exclude)
        assert not is_secret, f"{name} is a secret that {name_of(resource.query.read)} shows: leave it out there."


@needs("items")
async def test_every_id_of_a_path_is_bounded(client: Client, resource: Resource) -> None:
    for verb in ITEM_VERBS:
        for part in resource.verbs[verb].dependant.path_params if verb in resource.verbs else ():
            is_plain = part.field_info.annotation is int and not part.field_info.metadata
            assert not is_plain, f"{part.name} of {verb} takes any number: write `{part.name}: Id`, from kit."


def name_of(kind: Any) -> str:
    return str(getattr(kind, "__name__", kind))
