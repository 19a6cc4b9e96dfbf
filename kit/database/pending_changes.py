"""Pending changes: `python -m kit.database.pending_changes` fails if the models have changes that no migration has.

It upgrades the database first, as `make migration` does.
"""

import sys

from alembic.util import CommandError

from kit.database.errors import FAILURES, first_line
from kit.database.new_migration import differences, upgraded

PENDING = "The models have changes that no migration has: write their migration first, by `make migration`."


def main() -> str | None:
    """Return an error message if there are pending changes, or if the database cannot be compared; else None."""
    try:
        return PENDING if differences(upgraded()) else None
    except (CommandError, OSError, *FAILURES) as failure:
        return first_line(failure)


if __name__ == "__main__":
    sys.exit(main())
