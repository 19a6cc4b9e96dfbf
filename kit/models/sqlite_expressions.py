"""SQL expressions over decimals and durations on SQLite, which have the values that PostgreSQL gives.

SQLite stores a decimal in units of its last place, or as text (`kit.models.decimal_forms`), and a duration in
microseconds. Each expression is compiled to a value in the form of its own type: the types of decimals have a form, and
all others are plain numbers. So a column, a comparison with a value, a sum or an order needs no conversion, and indexes
are used. Where the operands have other forms, they are converted: integers by a factor, others by `decimal_of`.
What cannot be converted is a CompileError.

Importing this module registers the functions of the modules below at SQLAlchemy, for the dialect `sqlite` alone. They
run when a statement is compiled, once: SQLAlchemy caches compiled statements.
"""

from kit.models import sqlite_assignments, sqlite_casts, sqlite_function_calls, sqlite_operators

__all__ = ["sqlite_assignments", "sqlite_casts", "sqlite_function_calls", "sqlite_operators"]
