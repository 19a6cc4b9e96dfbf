"""Renders the source of a resource and its test from the templates."""

import ast
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from kit.scaffolding.field_types import FIELD_TYPES
from kit.scaffolding.fields import Field, member_of
from kit.scaffolding.words import article_of, class_of, in_words

RESOURCE_TEMPLATE = Template(Path(__file__).with_name("resource.template").read_text())
TEST_TEMPLATE = Template(Path(__file__).with_name("test.template").read_text())
IMPORTS = """
from datetime import date, datetime, time
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Optional
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import AnyHttpUrl, EmailStr
from sqlmodel import Field, Relationship, SQLModel, select

from kit import Absent, Batch, Body, Changes, Entity, Id, IfMatch, ListQuery, Many, Money, Name, OnError, Owner
from kit import Page, Read, ReadSession, Session, Stamped, Text, Who, allowing, create_many, found, page
"""
"""All imports that a resource may need. The formatter removes the unused ones."""
MAX_LISTED = 50
"""The largest length of a list of fields in the docstring of a file."""


@dataclass(frozen=True)
class Resource:
    """A resource to write: `owner` is the foreign key to a row's user, `parent` to the row that it is a part of."""

    name: str
    plural: str
    package: str
    fields: Sequence[Field]
    owner: Field | None = None
    parent: Field | None = None

    @property
    def path(self) -> str:
        return self.plural.replace("_", "-")

    @property
    def belongs_to(self) -> Field | None:
        """The foreign key to the owner, or to the parent that has an owner."""
        is_owned = self.parent is not None and self.parent.parent is not None and self.parent.parent.owner is not None
        return self.owner or (self.parent if is_owned else None)

    @property
    def source(self) -> str:
        return RESOURCE_TEMPLATE.substitute(
            words_of(self),
            about=about(self),
            imports=IMPORTS + "\n".join(imports_of_parents(self)),
            enums="\n\n".join(enums_of(self)),
            fields="\n".join(f"    {line_of(self, field)}" for field in self.fields),
            table="\n".join(f"    {line}" for line in table_of(self)),
            included=included(self),
            read_only=read_only(self),
            query="\n".join(f"    {line}" for line in query_of(self)),
            permissions=permissions_of(self),
        )

    @property
    def test(self) -> str:
        return TEST_TEMPLATE.substitute(words_of(self))

    @property
    def references(self) -> list[Field]:
        return [field for field in self.fields if field.parent]


def words_of(resource: Resource) -> dict[str, str]:
    one, many = in_words(resource.name), in_words(resource.plural)
    article = article_of(one)
    return {
        "Class": class_of(resource.name),
        "name": resource.name,
        "names": resource.plural,
        "one": one,
        "many": many,
        "Plural": many.capitalize(),
        "a": article,
        "A": article.capitalize(),
        "path": resource.path,
    }


def about(resource: Resource) -> str:
    """Return the end of the first sentence of the file."""
    if (key := resource.owner or resource.parent) and key.parent:
        other = in_words(key.parent.module)
        relation = "belongs to" if key is resource.owner else "is a part of"
        return f"each {relation} {article_of(other)} {other}, and is deleted with it."
    *first, last = [in_words(field.relation if field.parent else field.name) for field in resource.fields]
    listed = ", ".join(first)
    if len(listed) > MAX_LISTED:
        return f"each has {len(resource.fields)} fields."
    return f"each has {listed} and {last}." if first else f"each has a {last}."


def imports_of_parents(resource: Resource) -> Iterator[str]:
    for module in dict.fromkeys(field.parent for field in resource.references if field.parent):
        if module.module != resource.name:
            yield f"from {resource.package}.{module.module} import {module.class_name}"


def enums_of(resource: Resource) -> Iterator[str]:
    for field in resource.fields:
        if field.labels:
            members = "\n".join(f'    {member_of(field.name, label)} = "{label}"' for label in field.labels)
            yield f"class {field.type.annotation}(StrEnum):\n{members}\n\n"


def line_of(resource: Resource, field: Field) -> str:
    """Return the declaration of a field."""
    is_owner = field is resource.owner
    annotation = "Owner" if is_owner else field.type.annotation + (" | None" if field.is_optional else "")
    return f"{field.name}: {annotation} = Field({', '.join(arguments_of(resource, field, is_owner))})"


def arguments_of(resource: Resource, field: Field, is_owner: bool) -> Iterator[str]:
    if is_owner:
        yield "default_factory=Absent"
    elif field.is_optional or field.default is not None:
        yield f"default={field.default}"
    yield from filter(None, [field.type.bounds])
    if field.type.is_indexed:
        yield "unique=True" if field.is_unique else "index=True"
    if field.parent:
        yield f'foreign_key="{field.parent.table}.id"'
        yield from ondelete(resource, field)
    if is_owner and field.parent:
        yield f'description="The id of the {in_words(field.parent.module)}; if left out, of the caller."'
    elif field.is_unique:
        yield 'description="Unique."'
    words = in_words(field.name).capitalize()
    examples = field.type.examples if field.is_unique else field.type.examples[:1]
    yield f'schema_extra={{"examples": [{", ".join(examples).replace("{0}", words)}]}}'


def ondelete(resource: Resource, field: Field) -> Iterator[str]:
    """Yield the `ondelete` of a foreign key; without one, a row that others refer to cannot be deleted."""
    if field in (resource.owner, resource.parent):
        yield 'ondelete="CASCADE"'
    elif field.is_optional:
        yield 'ondelete="SET NULL"'


def table_of(resource: Resource) -> Iterator[str]:
    if "_" not in resource.name and not resource.references:
        yield f'"""The table of {in_words(resource.plural)}."""'
    if "_" in resource.name:
        yield f'__tablename__ = "{resource.name}"'
    if resource.belongs_to:
        yield f'belongs_to = "{resource.belongs_to.name}"'
    yield from relationships_of(resource)


def relationships_of(resource: Resource) -> Iterator[str]:
    """Yield a relationship for each foreign key, with the key if several refer to the same table."""
    times, own = Counter(field.parent for field in resource.references), class_of(resource.name)
    for field in resource.references:
        assert field.parent is not None
        options = {"foreign_keys": f"{own}.{field.name}"} if times[field.parent] > 1 else {}
        annotation = field.parent.class_name + (" | None" if field.is_optional else "")
        if field.parent.module == resource.name:
            options["remote_side"], annotation = f"{own}.id", f'Optional["{own}"]'
        chosen = f"sa_relationship_kwargs={options}" if options else ""
        yield f"{field.relation}: {annotation} = Relationship({chosen})"


def included(resource: Resource) -> str:
    """Return the end of the read variant's description."""
    names = [field.relation for field in resource.references]
    added = " and ".join(f"the {in_words(name)}" for name in names)
    return f". `include={','.join(names)}` adds {added}" if names else ""


def read_only(resource: Resource) -> str:
    names = quoted(field.relation for field in resource.references)
    return f"\n    read_only = Body.read_only | {{{names}}}\n" if names else ""


def query_of(resource: Resource) -> Iterator[str]:
    if searched := tuple(field.name for field in resource.fields if field.type.is_searched):
        yield f"search = {searched}"
    if variants := {field.relation: field.parent.read_variant for field in resource.references if field.parent}:
        yield f"includes = {variants}"


def permissions_of(resource: Resource) -> str:
    """Return the permissions: members read rows without owners; only the owner reads the others."""
    if resource.belongs_to is None:
        return "read=Who.MEMBERS"
    parent = resource.parent.parent if resource.parent else None
    reading = "OWNERS" if resource.owner or (parent and parent.is_private) else "MEMBERS"
    return f"read=Who.{reading}, create=Who.OWNERS, bulk=Who.OWNERS, change=Who.OWNERS"


def quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def names_in_use() -> frozenset[str]:
    """Return the names that the template uses, which the classes and variables of a resource may not have."""
    neutral = Resource("zzz", "zzzs", "zzz", [Field("zzz_name", FIELD_TYPES["str"])])
    tree = ast.parse(neutral.source)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    return frozenset(name for name in names if "zzz" not in name.lower())
