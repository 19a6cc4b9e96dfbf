"""Repeated rows: refuses statements of pages whose joins may find a row several times.

A cursor is the position of a row in the order of the list. If a row came several times, the pages would have other rows
for each page size. So each joined table must have at most one row for a row of the list: a unique key of it is equal to
values of the list's table, of tables that were found so, or to constants.
"""

from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any

from sqlalchemy import (
    Column,
    CompoundSelect,
    FromClause,
    Index,
    Join,
    PrimaryKeyConstraint,
    Select,
    Table,
    UniqueConstraint,
    inspect,
    union,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression, BooleanClauseList, ColumnClause
from sqlalchemy.sql.visitors import iterate

from kit.auth.grouped_reads import groups_of
from kit.models.entities import Entity

Equal = Mapping[FromClause, list[tuple[str, Set[Any]]]]
"""For each table, the names of columns that a condition compares by `=`, each with the tables of the other operand."""


def refuse_repeated_rows(statement: Select[Any], entity: type[Entity]) -> None:
    """Raise a TypeError if a statement may find a row of the entity several times."""
    table = inspect(entity).local_table
    ids = statement.with_only_columns(entity.id, maintain_column_froms=True)  # type: ignore[call-overload]
    if is_distinct(statement):
        refuse_distinct_on(ids)
        refuse_distinct_json(table, entity)
    elif not mentions_only(statement, table) and not is_found_once(ids, table):
        name = entity.__name__
        raise TypeError(
            f"The statement of `page` finds rows of {name} several times, because it joins a list, whose rows a page "
            f"would cut off: write a condition in place of the join, `.where({name}.<relationship>.any(…))` or "
            f"`.where(col({name}.id).in_(…))` with a SELECT of ids, or add `.distinct()`; and load the list by "
            "`selectinload` in place of `contains_eager`."
        )


def mentions_only(statement: Select[Any], table: FromClause) -> bool:
    """Return whether a statement has no other tables, not even in a subquery."""
    return {part for part in map(table_of, iterate(statement)) if part is not None} <= {table}


def table_of(element: Any) -> Any:
    if isinstance(element, ColumnClause):
        return element.table
    return element if isinstance(element, FromClause) else None


def is_distinct(statement: Select[Any]) -> bool:
    """Return whether a statement has DISTINCT or DISTINCT ON."""
    return bool(statement.compare(statement.distinct()))


def refuse_distinct_on(ids: Select[Any]) -> None:
    """Raise a TypeError for DISTINCT ON: SQLite has none, and PostgreSQL needs its columns in ORDER BY."""
    text = str(ids.compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
    if "\nSELECT DISTINCT ON" in f"\n{text}":
        raise TypeError(
            "The statement of `page` has `distinct` with columns, which only PostgreSQL has, and only for rows in the "
            "order of these columns: write `.distinct()` without columns."
        )


def refuse_distinct_json(table: FromClause, entity: type[Entity]) -> None:
    """Raise a TypeError for DISTINCT rows with JSON, which PostgreSQL cannot compare. SQLite compares its text."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    names = [column.key for column in table.columns if column.type.compile(dialect) == "JSON"]
    if names:
        raise TypeError(
            f"The statement of `page` has `distinct`, but PostgreSQL cannot compare JSON, as {entity.__name__} has in "
            f"{', '.join(names)}: write `.group_by({entity.__name__}.id)` in place of `.distinct()`."
        )


def is_found_once(ids: Select[Any], table: FromClause) -> bool:
    """Return whether a SELECT finds each row of a table at most once."""
    sources = list(parts_of(ids.get_final_froms()))
    joins = [source for source in sources if isinstance(source, Join)]
    equal = equalities([ids.whereclause, *(join.onclause for join in joins)])
    found, rest = {table}, {source for source in sources if source not in joins} - {table}
    while determined := {source for source in rest if is_determined(source, equal, found)}:
        found, rest = found | determined, rest - determined
    groups = groups_of(ids)
    has_id = any(table_of(group) == table and group.key == "id" for group in groups)
    is_grouped = has_id and all(table_of(group) in found for group in groups)
    return is_grouped or not (groups or rest or any(join.full for join in joins))


def parts_of(sources: Iterable[Any]) -> Iterator[Any]:
    """Yield joins, and the tables and other elements that they join."""
    for source in sources:
        yield source
        if isinstance(source, Join):
            yield from parts_of((source.left, source.right))


def equalities(conditions: Iterable[Any]) -> Equal:
    """Return the columns that these conditions compare by `=`."""
    equal: dict[Any, list[tuple[str, Set[Any]]]] = {}
    parts = (part for condition in conditions for part in conjuncts(condition))
    compared = [part for part in parts if isinstance(part, BinaryExpression) and part.operator is operators.eq]
    for side, other in (pair for part in compared for pair in ((part.left, part.right), (part.right, part.left))):
        if isinstance(side, ColumnClause):
            equal.setdefault(side.table, []).append((side.key, tables_of(other)))
    return equal


def conjuncts(condition: Any) -> Iterator[Any]:
    """Yield the conditions that AND connects."""
    if isinstance(condition, BooleanClauseList) and condition.operator is operators.and_:
        for part in condition.clauses:
            yield from conjuncts(part)
    else:
        yield condition


def tables_of(expression: Any) -> Set[Any]:
    return {part for part in map(table_of, iterate(expression)) if part is not None}


def is_determined(source: Any, equal: Equal, found: Set[Any]) -> bool:
    """Return whether a table or alias has at most one row for a row of the tables that were found."""
    names = {name for name, tables in equal.get(source, ()) if tables <= found}
    return any(key <= names for key in keys_of(source))


def keys_of(source: Any) -> list[Set[str]]:
    """Return the unique keys of a table, subquery or CTE, or of an alias of one, each as the names of its columns."""
    if isinstance(source, Table):
        return [{column.key for column in key} for key in keys_of_table(source)]
    element = getattr(source, "element", None)  # of an alias
    keys = keys_of_table(element) if isinstance(element, Table) else keys_of_rows(element)
    exported = [[source.corresponding_column(column) for column in key] for key in keys]
    return [{column.key for column in key} for key in exported if all(column is not None for column in key)]


def keys_of_table(table: Table) -> Iterator[list[Any]]:
    """Yield the columns of each primary key, UNIQUE and unique index of a table."""
    constraints = [part for part in table.constraints if isinstance(part, PrimaryKeyConstraint | UniqueConstraint)]
    yield from (list(part.columns) for part in constraints)
    yield from (list(index.columns) for index in table.indexes if index.unique and is_whole(index))


def keys_of_rows(statement: Any) -> Iterator[list[Any]]:
    """Yield the columns of each unique key of the rows that a subquery finds, as its statement names them."""
    if isinstance(statement, CompoundSelect) and statement.compare(union(*statement.selects)):
        yield list(statement.selected_columns)
    if isinstance(statement, Select):
        if is_distinct(statement):
            yield list(statement.selected_columns)
        groups = groups_of(statement)
        if groups:
            yield groups
            return
        for table in parts_of(statement.get_final_froms()):
            if not isinstance(table, Join) and is_found_once(statement, table):
                yield from ([table.c[name] for name in key] for key in keys_of(table))


def is_whole(index: Index) -> bool:
    """Return whether an index has columns alone, and all rows."""
    conditions = [index.dialect_options[name]["where"] for name in ("sqlite", "postgresql")]
    return all(isinstance(part, Column) for part in index.expressions) and conditions == [None, None]
