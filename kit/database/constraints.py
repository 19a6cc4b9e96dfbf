"""Constraint violations: finds the fields that a database error concerns, as clients know them."""

from collections.abc import Sequence

from sqlalchemy import Table, UniqueConstraint
from sqlalchemy.dialects.postgresql import ExcludeConstraint

from kit.auth.privacy import private_columns
from kit.database.field_names import fields_of_columns
from kit.database.references import KEEPING, keys_to
from kit.database.violations import Violation, columns_named, statement_of
from kit.database.written import table_of
from kit.http.principals import CURRENT_PRINCIPAL

UNKNOWN = "A value"
"""Used in messages in place of a field if neither the error nor the constraint names one."""


def fields_of(violation: Violation) -> Sequence[str]:
    """Return the fields of a violated constraint; `[UNKNOWN]` if they are not known."""
    return fields_of_columns(violation.columns) or [UNKNOWN]


def fields_named(table: Table, name: str) -> Sequence[str]:
    """Return the fields of the constraint or index `name` of a table."""
    return fields_of_columns(columns_named(table, name))


def unique_fields(violation: Violation) -> Sequence[str]:
    """Return the fields whose unique values are taken, for the detail of a 409.

    If the table has private fields, members get the names of all its unique fields instead. Otherwise they could find
    out whether an e-mail address is known.
    """
    table = violation.table
    if table is None or is_open(table):
        return fields_of(violation)
    uniques = [index for index in table.indexes if index.unique]
    constraints = [part for part in table.constraints if isinstance(part, UniqueConstraint | ExcludeConstraint)]
    names = {" and ".join(fields_named(table, str(part.name))) for part in (*uniques, *constraints)}
    return [" or ".join(sorted(names))] if names else fields_of(violation)  # without names, of the primary key


def is_open(table: Table) -> bool:
    """Return whether the caller may know which value of a table is taken."""
    return CURRENT_PRINCIPAL.get().is_superuser or not private_columns(table)


def reference_fields(failure: Exception, violation: Violation) -> Sequence[str]:
    """Return the fields of a violated foreign key; if it is unknown, all that it may be, joined by `or`."""
    if violation.columns:
        return fields_of(violation)
    table = table_of(statement_of(failure))
    keys = [] if table is None else table.foreign_key_constraints
    return [" or ".join(sorted(" and ".join(fields_of_columns(key.columns)) for key in keys)) or UNKNOWN]


def is_in_use(failure: Exception, violation: Violation) -> bool:
    """Return whether a constraint is violated because other rows refer to a row that is deleted or changed."""
    return violation.is_referred or statement_of(failure).lstrip().startswith("DELETE")


def referrers_of(failure: Exception, violation: Violation) -> str:
    """Return the fields that refer to a row and prevent its deletion, joined by `or`; empty for an unknown table."""
    if violation.columns:
        return " and ".join(fields_of(violation))
    table = table_of(statement_of(failure))
    keys = [] if table is None else keys_to(table)
    keeping = [key for key in keys if (key.ondelete or KEEPING[0]).upper() in (*KEEPING, "SET DEFAULT")]
    return " or ".join(sorted({" and ".join(fields_of_columns(key.columns)) for key in keeping}))
