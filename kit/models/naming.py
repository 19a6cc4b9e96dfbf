"""Naming convention: unique names for the constraints and indexes that are declared without a name."""

import re
from collections.abc import Iterable
from typing import Any

from sqlalchemy import CheckConstraint, Index, Table
from sqlalchemy.schema import ColumnCollectionConstraint


def free_name(constraint: ColumnCollectionConstraint | Index, table: Table) -> str:
    """Return the last part of a constraint's name: the first field, as in `uq_invoice_number`.

    If that name is taken, it is all fields, and if that is taken too, all fields with a number. Names are assigned in
    the order of declaration: `index` and `unique` of a field before `__table_args__`.
    """
    kind = "ix" if isinstance(constraint, Index) else KINDS[constraint.__visit_name__]
    fields = [column.name for column in constraint.columns]
    return first_free(kind, table, [fields[0], "_".join(fields)])


def check_name(check: CheckConstraint, table: Table) -> str:
    """Return the last part of a CHECK's name: the given one, or the fields in its condition, as in `a_b_check`.

    The ending tells the CHECK from that of a field, whose name is that of the field.
    """
    if check.name is not None:
        return str(check.name)
    fields = [word for word in dict.fromkeys(re.findall(r"\w+", str(check.sqltext))) if word in table.columns]
    return first_free("ck", table, ["_".join([*fields, "check"])])


def first_free(kind: str, table: Table, names: Iterable[str]) -> str:
    """Return the first of the names that no constraint or index of this kind has, or the last with a number."""
    tables = table.metadata.tables.values()
    taken = {getattr(named, "name", None) for other in tables for named in (*other.constraints, *other.indexes)}
    names = list(names)
    names += [f"{names[-1]}_{number}" for number in range(2, len(taken) + 3)]
    return next(name for name in names if f"{kind}_{table.name}_{name}" not in taken)


KINDS = {"unique_constraint": "uq", "foreign_key_constraint": "fk"}
NAMES: dict[str, Any] = {
    "free_name": free_name,
    "constraint_name": check_name,  # in place of SQLAlchemy's, which refuses a CHECK without a name
    "pk": "pk_%(table_name)s",
    "uq": "uq_%(table_name)s_%(free_name)s",
    "fk": "fk_%(table_name)s_%(free_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "ix": "ix_%(table_name)s_%(free_name)s",
}
"""The `naming_convention` of `MetaData`: kind, table and fields. Error messages name the fields."""
