"""Plain selects: recognises the statements that a fast page can execute.

A statement is plain if it selects rows of one entity, with conditions, joins and loader options, and nothing else.
"""

from collections.abc import Collection
from functools import cache
from operator import attrgetter, is_
from typing import Any

from sqlalchemy import Select, inspect, literal
from sqlalchemy.orm import Load
from sqlmodel import select
from sqlmodel.sql.expression import SelectOfScalar

from kit.models.entities import Entity
from kit.query.list_query import ListQuery

KNOWN_PARTS = frozenset(
    {
        "_raw_columns",
        "_from_obj",
        "_where_criteria",
        "_setup_joins",
        "_annotations",
        "_propagate_attrs",
        "_with_options",
        "dialect_options",
    }
)
"""The internal attributes of a `Select` that may be set in a plain select."""
OTHER_PARTS = [name for name, _ in SelectOfScalar._traverse_internals if name not in KNOWN_PARTS]
_other_parts = attrgetter(*OTHER_PARTS, "_execution_options")
_known_parts = attrgetter(*sorted(KNOWN_PARTS - {"_raw_columns", "_propagate_attrs"}))
EMPTY = _other_parts(SelectOfScalar(literal(1)))
"""The values of all other attributes in a plain select."""


def is_plain_select(statement: Any, query: ListQuery) -> bool:
    """Return whether a statement is a plain select of the query's model."""
    if type(statement) is not SelectOfScalar or len(statement._raw_columns) != 1:
        return False
    is_of_model = statement._raw_columns[0]._annotations.get("parententity") is inspect(query.model)
    return is_of_model and has_only_known_parts(statement)


def unified(statement: SelectOfScalar[Any], model: type[Entity]) -> SelectOfScalar[Any]:
    """Return `bare_select` in place of an equal statement, and another statement unchanged.

    SQLAlchemy has already computed the cache key of that object.
    """
    bare = bare_select(model)
    is_bare = statement._raw_columns[0] is bare._raw_columns[0] and not any(_known_parts(statement))
    return bare if is_bare else statement


@cache
def bare_select(model: type[Entity]) -> SelectOfScalar[Any]:
    """Return the SELECT of all rows of a model, the same object for each call."""
    return select(model)


def has_only_known_parts(statement: Select[Any]) -> bool:
    return all(map(is_, _other_parts(statement), EMPTY))


def without_loader_options(statement: SelectOfScalar[Any], nested: Collection[str]) -> SelectOfScalar[Any] | None:
    """Return the statement without its loader options.

    Returns None if it has other options, or if its options do not load every relationship in `nested`.
    """
    options: Any = statement._with_options
    if not options:
        return None if nested else statement
    parts: list[Any] = [part for option in options if isinstance(option, Load) for part in option.context]
    is_loading = all(type(option) is Load for option in options) and all(map(_only_loads, parts))
    if not is_loading or not {part.path[1].key for part in parts}.issuperset(nested):
        return None
    stripped: Any = statement._generate()
    stripped._with_options = ()
    return stripped  # type: ignore[no-any-return]


def _only_loads(part: Any) -> bool:
    """Return whether a loader option is a `selectinload` without criteria, or selects columns (`load_only`)."""
    names = dict(part.strategy)
    return not part._extra_criteria and (names.get("lazy") == "selectin" or "deferred" in names)
