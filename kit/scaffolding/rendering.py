"""Rendering: the source of a resource and of its test, from the templates."""

import ast
from pathlib import Path
from string import Template

from kit.scaffolding.declarations import (
    enums_of,
    imports_of_parents,
    line_of,
    permissions_of,
    query_of,
    read_only,
    table_of,
)
from kit.scaffolding.field_types import FIELD_TYPES
from kit.scaffolding.fields import Field
from kit.scaffolding.resources import Resource
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
"""The maximum length of a list of fields in the module docstring. Longer ones are replaced by a number."""


def source_of(resource: Resource) -> str:
    """Return the source of the module of a resource, not formatted yet."""
    return RESOURCE_TEMPLATE.substitute(
        words_of(resource),
        about=about(resource),
        imports=IMPORTS + "\n".join(imports_of_parents(resource)),
        enums="\n\n".join(enums_of(resource)),
        fields="\n".join(f"    {line_of(resource, field)}" for field in resource.fields),
        table="\n".join(f"    {line}" for line in table_of(resource)),
        included=included(resource),
        read_only=read_only(resource),
        query="\n".join(f"    {line}" for line in query_of(resource)),
        permissions=permissions_of(resource),
    )


def source_of_test(resource: Resource) -> str:
    """Return the source of the test module of a resource, not formatted yet."""
    return TEST_TEMPLATE.substitute(words_of(resource))


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
    """Return the end of the first sentence in the module docstring."""
    if (key := resource.owner or resource.parent) and key.parent:
        other = in_words(key.parent.module)
        relation = "belongs to" if key is resource.owner else "is a part of"
        return f"each {relation} {article_of(other)} {other}, and is deleted with it."
    *first, last = [in_words(field.relation if field.parent else field.name) for field in resource.fields]
    listed = ", ".join(first)
    if len(listed) > MAX_LISTED:
        return f"each has {len(resource.fields)} fields."
    return f"each has {listed} and {last}." if first else f"each has a {last}."


def included(resource: Resource) -> str:
    """Return the end of the description of the read variant: which related rows `include` adds."""
    names = [field.relation for field in resource.references]
    added = " and ".join(f"the {in_words(name)}" for name in names)
    return f". `include={','.join(names)}` adds {added}" if names else ""


def names_in_use() -> frozenset[str]:
    """Return the names that the template uses, which a resource cannot use for its class and variables."""
    neutral = Resource("zzz", "zzzs", "zzz", [Field("zzz_name", FIELD_TYPES["str"])])
    tree = ast.parse(source_of(neutral))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    return frozenset(name for name in names if "zzz" not in name.lower())
