"""Plain selects: recognises the statements that a fast page can execute.

A statement is plain if it selects rows of one entity, with conditions, joins and loader options, and nothing else.
"""

from functools import cache
from operator import attrgetter, is_
from typing import Any

from sqlalchemy import FromClause, Select, inspect, literal
from sqlalchemy.orm import Load
from sqlmodel import select
from sqlmodel.sql.expression import SelectOfScalar

from kit.models.deletion import visible
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
SELECTS = (SelectOfScalar, Select)
"""The classes of plain selects: those of SQLModel and of SQLAlchemy."""
OTHER_PARTS = [name for name, _ in SelectOfScalar._traverse_internals if name not in KNOWN_PARTS]
_other_parts = attrgetter(*OTHER_PARTS, "_execution_options")
_known_parts = attrgetter(*sorted(KNOWN_PARTS - {"_raw_columns", "_propagate_attrs"}))
EMPTY = _other_parts(SelectOfScalar(literal(1)))
"""The values of all other attributes in a plain select."""


def is_plain_select(statement: Any, query: ListQuery) -> bool:
    """Return whether a statement is a plain select of the query's model."""
    if type(statement) not in SELECTS or len(statement._raw_columns) != 1:
        return False
    selected = statement._raw_columns[0]
    is_of_model = selected._annotations.get("parententity") is inspect(query.model)
    return is_of_model and isinstance(selected, FromClause) and has_only_known_parts(statement)


def unified(statement: Select[Any], model: type[Entity]) -> Select[Any]:
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


def without_loader_options(statement: Select[Any]) -> Select[Any] | None:
    """Return the statement without its loader options; None if it has others than those that only load."""
    options: Any = statement._with_options
    if not options:
        return statement
    if not all(type(option) is Load and all(map(_only_loads, option.context)) for option in options):
        return None
    stripped: Any = statement._generate()
    stripped._with_options = ()
    return stripped  # type: ignore[no-any-return]


def _only_loads(part: Any) -> bool:
    """Return whether a loader option is a `selectinload` without criteria, or selects columns (`load_only`, `defer`).

    A fast page loads what its read variant shows, and no softly deleted related rows.
    """
    names = dict(part.strategy or ())
    if names.get("lazy") == "selectin":
        return not part._extra_criteria and not visible(part.path[1].mapper.class_)
    return "deferred" in names
