"""Relationships: the options that a `Relationship` of an entity has where it says nothing else.

- `lazy="raise"`: related rows are loaded where a query asks for them, and never by surprise.
- `passive_deletes`: what becomes of the children of a deleted row is up to the foreign key (`ondelete`), so that nobody
  loads a hundred thousand children to delete their parent. A cascade of the relationship itself stays as it is.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.orm import Mapper, RelationshipProperty

UNSAID = "kit.passive_deletes_unsaid"
"""In the `info` of a relationship: it is left to the database what becomes of children, if it leads to any."""


def complete(relationships: Mapping[str, Any]) -> None:
    """Complete the options of SQLModel's relationships, before it makes SQLAlchemy's of them."""
    for info in relationships.values():
        if info.sa_relationship is None:
            given = dict(info.sa_relationship_kwargs or {})
            info.sa_relationship_kwargs = {"lazy": "raise"} | _deletes(info, given) | given


def _deletes(info: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of `passive_deletes`, where neither the relationship nor its options say anything."""
    said = ("passive_deletes", "cascade", "viewonly", "secondary")
    if info.passive_deletes or info.cascade_delete or not given.keys().isdisjoint(said):
        return {}
    if info.link_model is None:
        return {"info": {UNSAID: True}} if "info" not in given else {}
    keys = inspect(info.link_model).local_table.foreign_keys
    return {"passive_deletes": all(key.ondelete == "CASCADE" for key in keys)}


def leave_children_to_the_database(mapper: Mapper[Any], _: type) -> None:
    """For `after_mapper_constructed`, when it is known which relationships lead to many, and nothing is final."""
    for each in mapper.iterate_properties:
        if isinstance(each, RelationshipProperty) and each.info.get(UNSAID) and each.collection_class:
            each.passive_deletes = each.passive_deletes or "all"
