"""Default options of the `Relationship`s of entities.

- `lazy="raise"`: related rows are only loaded by the options of a statement, never implicitly.
- `passive_deletes=True`: the database changes or deletes the children of a deleted row, by the `ondelete` of the
  foreign key. Otherwise SQLAlchemy would load all of them. It is not set if the relationship has a `cascade`.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.orm import Mapper, RelationshipProperty

DEFAULT_PASSIVE_DELETES = "kit.default_passive_deletes"
"""The key in `info` of a relationship whose `passive_deletes` is to be set if it is a collection."""

WITHOUT_TABLE = (
    "Write `table=True` in it; `registry` belongs into a base class without a table, as in "
    "`class Base(SQLModel, registry=REGISTRY)`, because SQLModel makes a class with `registry` abstract."
)
"""The remedy in messages about a class without a table."""


def complete(relationships: Mapping[str, Any]) -> None:
    """Add the defaults to SQLModel's relationships by name, before it creates SQLAlchemy's."""
    for name, info in relationships.items():
        if info.sa_relationship is None:
            refuse_unmapped_link(name, info.link_model)
            given = dict(info.sa_relationship_kwargs or {})
            info.sa_relationship_kwargs = {"lazy": "raise"} | _deletes(info, given) | given


def refuse_unmapped_link(name: str, link: Any) -> None:
    """Raise a TypeError if the `link_model` of a relationship has no table."""
    if link is not None and inspect(link, raiseerr=False) is None:
        raise TypeError(f"{name}: link_model={link.__name__} has no table. {WITHOUT_TABLE}")


def _deletes(info: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options for `passive_deletes`; none if the relationship sets it, or an option that excludes it."""
    said = ("passive_deletes", "cascade", "viewonly", "secondary")
    if info.passive_deletes or info.cascade_delete or not given.keys().isdisjoint(said):
        return {}
    if info.link_model is None:
        return {"info": {DEFAULT_PASSIVE_DELETES: True}} if "info" not in given else {}
    keys = inspect(info.link_model).local_table.foreign_keys
    return {"passive_deletes": all(key.ondelete == "CASCADE" for key in keys)}


def leave_children_to_the_database(mapper: Mapper[Any], _: type) -> None:
    """Set `passive_deletes` of the marked relationships that are collections. Listens to `after_mapper_constructed`.

    At that time it is known which relationships are collections, and they can still be changed.
    """
    for each in mapper.iterate_properties:
        if isinstance(each, RelationshipProperty) and each.info.get(DEFAULT_PASSIVE_DELETES) and each.collection_class:
            each.passive_deletes = True
