"""Default options of the `Relationship`s of entities.

- `lazy="raise"`: related rows are loaded only where a query asks for them, never implicitly.
- `passive_deletes`: the foreign key's `ondelete` decides about the children of a deleted row, so that a hundred
  thousand children are not loaded to delete their parent. A `cascade` of the relationship is kept.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.orm import Mapper, RelationshipProperty

DEFAULT_PASSIVE_DELETES = "kit.default_passive_deletes"
"""Marks, in `info`, a relationship without `passive_deletes`, which becomes true if there are many rows."""


def complete(relationships: Mapping[str, Any]) -> None:
    """Add the defaults to the options of SQLModel's relationships, before it creates those of SQLAlchemy."""
    for info in relationships.values():
        if info.sa_relationship is None:
            given = dict(info.sa_relationship_kwargs or {})
            info.sa_relationship_kwargs = {"lazy": "raise"} | _deletes(info, given) | given


def _deletes(info: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the default of `passive_deletes`; nothing if the relationship or its options set it."""
    said = ("passive_deletes", "cascade", "viewonly", "secondary")
    if info.passive_deletes or info.cascade_delete or not given.keys().isdisjoint(said):
        return {}
    if info.link_model is None:
        return {"info": {DEFAULT_PASSIVE_DELETES: True}} if "info" not in given else {}
    keys = inspect(info.link_model).local_table.foreign_keys
    return {"passive_deletes": all(key.ondelete == "CASCADE" for key in keys)}


def leave_children_to_the_database(mapper: Mapper[Any], _: type) -> None:
    """Listen to `after_mapper_constructed`: relationships to many are known by then, and may still be changed."""
    for each in mapper.iterate_properties:
        if isinstance(each, RelationshipProperty) and each.info.get(DEFAULT_PASSIVE_DELETES) and each.collection_class:
            each.passive_deletes = True
