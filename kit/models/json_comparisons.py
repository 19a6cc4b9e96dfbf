"""Comparisons of JSON in SQL: refused, because PostgreSQL has none for JSON, and SQLite compares its text."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import JSON, Column, ColumnElement
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.sql import operators

REFUSED = {
    operators.eq, operators.ne, operators.lt, operators.le, operators.gt, operators.ge, operators.in_op,
    operators.not_in_op, operators.is_distinct_from, operators.is_not_distinct_from, operators.between_op,
    operators.like_op, operators.not_like_op, operators.ilike_op, operators.contains_op, operators.icontains_op,
    operators.startswith_op, operators.endswith_op,
}  # fmt: skip
"""The operators that PostgreSQL does not have for JSON. With None, `==` is IS NULL, which it has."""


class JSONComparator(JSON.Comparator[Any]):
    """The operators of a JSON column, and of a part of its values, without those in `REFUSED`."""

    def operate(self, op: Any, *other: Any, **options: Any) -> ColumnElement[Any]:
        if op in REFUSED and other != (None,):
            raise InvalidRequestError(
                f"PostgreSQL cannot compare JSON, as in {self.expr}: compare a part as a text, number or boolean, by "
                '`col(Invoice.notes)["name"].as_string() == …`, or the text of all, by `cast(Invoice.notes, Text)`.'
            )
        return super().operate(op, *other, **options)


class ComparedJSON(JSON):
    """JSON with the operators that both databases have."""

    comparator_factory = JSONComparator


def refuse_comparisons(columns: Iterable[Column[Any]]) -> None:
    """Let columns with SQLAlchemy's JSON, as by `sa_type=JSON`, refuse comparisons too."""
    for column in columns:
        column.type.comparator_factory = JSONComparator
