"""Statements of pages: refuses those of which `page` could not read a list, with a sentence that says what to write."""

from typing import Any

from sqlalchemy import Select

from kit.models.entities import Entity
from kit.query.choices import Choices
from kit.query.list_query import ListQuery


def refuse_other_rows(statement: Any, query: ListQuery) -> None:
    """Raise a TypeError if a statement does not select the rows of the query's model, and nothing else."""
    if not selects_only(statement, query.model):
        entity = query.model.__name__
        raise TypeError(
            f"`page` with {type(query).__name__} takes `select({entity})`, with conditions, joins and options: for the "
            f"rows that another statement finds, write `select({entity}).where(col({entity}.id).in_(…))`, with a "
            "SELECT of their ids."
        )


def selects_only(statement: Any, entity: type[Entity]) -> bool:
    if not isinstance(statement, Select):
        return False
    selected = statement.column_descriptions
    return len(selected) == 1 and selected[0]["expr"] is entity


def refuse_own_order(choices: Choices) -> None:
    """Raise a TypeError for ORDER BY, LIMIT or OFFSET in the statement, or in the result of `narrowed`.

    The cursor does not know them, so that pages would skip or repeat rows.
    """
    kind = type(choices.query)
    is_own = kind.narrowed is not ListQuery.narrowed
    statement = choices.scanned if is_own else choices.statement
    if parts_of(statement) == parts_of(statement.order_by(None).limit(None).offset(None)):
        return
    if parts_of(statement) > parts_of(statement.order_by(None)):
        raise TypeError(
            f"`page` orders its rows by the parameter `sort`, as its cursor does: leave `order_by` out of the "
            f'statement, and write `default_sort = "-created_at"`, or another field, in {kind.__name__}.'
        )
    entity = kind.model.__name__
    raise TypeError(
        f"`page` limits its rows by the parameters `limit` and `offset` of {kind.__name__}: leave `limit` and `offset` "
        f"out of the statement, or write `select({entity}).where(col({entity}.id).in_(…))`, with a SELECT of ids that "
        "has them."
    )


def parts_of(statement: Select[Any]) -> int:
    """Return the number of clauses, conditions and columns of a statement."""
    return sum(1 for _ in statement.get_children())
