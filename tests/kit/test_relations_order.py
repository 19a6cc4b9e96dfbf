"""Relations: the order of an embedded list, and of the list with the other rows, which continues it."""

from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import and_
from sqlalchemy.orm import foreign, registry
from sqlmodel import Field, Relationship, col, func

from kit import Entity
from kit.query.embedding import list_relation


class OrderedEntity(Entity, registry=registry()):
    """The base class of tables that are declared, but not created in a database."""


class Page(OrderedEntity, table=True):
    __tablename__ = "ordered_page"
    number: int
    chapter_id: int = Field(foreign_key="ordered_chapter.id")


def by(order: Any) -> Any:
    return Relationship(sa_relationship_kwargs={"order_by": order, "viewonly": True})


def joined(condition: Any) -> Any:
    return Relationship(sa_relationship_kwargs={"primaryjoin": condition, "viewonly": True})


def key_of(page: Any) -> Any:
    return foreign(page.chapter_id)


class Chapter(OrderedEntity, table=True):
    __tablename__ = "ordered_chapter"
    plain: list[Page] = Relationship(sa_relationship_kwargs={"viewonly": True})
    rising: list[Page] = by(lambda: Page.number)
    falling: list[Page] = by(lambda: [Page.number.desc(), Page.id])  # type: ignore[attr-defined]
    computed: list[Page] = by(lambda: func.abs(Page.number))
    nulls_first: list[Page] = by(lambda: Page.number.desc().nulls_first())  # type: ignore[attr-defined]
    long: list[Page] = joined(lambda: and_(col(Chapter.id) == key_of(Page), col(Page.number) > 9))
    alike: list[Page] = joined(lambda: func.abs(Chapter.id) == func.abs(key_of(Page)))
    others: list[Page] = joined(lambda: col(Chapter.id) != key_of(Page))
    same: list[Page] = joined(lambda: key_of(Page) == Chapter.id)


@pytest.mark.parametrize(
    ("name", "rest"),
    [
        ("plain", "/v1/pages/?chapter_id=7&cursor="),
        ("rising", "/v1/pages/?chapter_id=7&sort=number&cursor="),
        ("same", "/v1/pages/?chapter_id=7&cursor="),
        *((name, None) for name in ("falling", "computed", "nulls_first", "long", "alike", "others")),
    ],
)
def test_the_rest_follows_where_a_list_has_the_same_rows_in_the_same_order(name: str, rest: str | None) -> None:
    relation = list_relation(Chapter, name)
    lists = {(Page, "chapter_id"): ("/pages/", {"id", "-id", "number"}, "id")}
    runtime: Any = SimpleNamespace(filtered_lists=lists, secrets=[bytes(32)])
    assert relation is not None
    found = relation.rest(runtime, "/v1", 7, {"id": 1, "number": 2})
    assert (found and found[: len(rest or "")]) == rest


def test_without_a_list_nothing_leads_to_the_rest() -> None:
    relation, runtime = list_relation(Chapter, "plain"), SimpleNamespace(filtered_lists={}, secrets=[bytes(32)])
    assert relation is not None
    assert relation.rest(runtime, "", 7, {"id": 1}) is None  # type: ignore[arg-type]
