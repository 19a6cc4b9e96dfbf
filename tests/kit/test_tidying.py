"""Tidying: a new migration has sorted imports, and none that it does not use."""

from pathlib import Path

from kit.database.tidying import tidy

WRITTEN = """import sqlalchemy as sa
from alembic import op
from sqlmodel.sql.sqltypes import UTCDateTime
from alembic.util import CommandError
from datetime import date

op.add_column("book", sa.Column("day", UTCDateTime(), default=date(2026, 1, 1)))
"""
TIDY = """from datetime import date

import sqlalchemy as sa
from alembic import op
from sqlmodel.sql.sqltypes import UTCDateTime

op.add_column("book", sa.Column("day", UTCDateTime(), default=date(2026, 1, 1)))
"""


def test_imports_are_sorted_and_unused_ones_removed(tmp_path: Path) -> None:
    file = tmp_path / "0001.py"
    file.write_text(WRITTEN)
    tidy(str(file))
    assert file.read_text() == TIDY
