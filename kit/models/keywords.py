"""Keywords: the words of SQL that are quoted as names of tables and columns, the same on both databases.

SQLAlchemy quotes the words of each database there only. A condition that a migration has as text is for both, so that
`user`, which is a function of PostgreSQL, has to be quoted on SQLite too.
"""

from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.dialects.sqlite.base import SQLiteDialect

MISSING = frozenset({"collation", "concurrently", "lateral", "nothing", "returning", "system_user", "tablesample"})
"""The keywords that no name can be without quotes, and that SQLAlchemy does not know as such."""
PREPARERS = (SQLiteDialect.preparer, PGDialect.preparer)
"""The classes by which SQLAlchemy writes names."""
KEYWORDS = set(MISSING).union(*(preparer.reserved_words for preparer in PREPARERS))

for preparer in PREPARERS:
    preparer.reserved_words = KEYWORDS
