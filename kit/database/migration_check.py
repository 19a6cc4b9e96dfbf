"""Checks the migrations on an empty database, that of DATABASE_URL: `python -m kit.database.migration_check [first]`.

It applies all migrations, and compares the tables with the models. With the argument `first`, it writes the first
migration before that. One process does all of this, because importing the application takes most of the time.
"""

import sys
from typing import Any

from alembic import command

from kit.database.migrations import configuration
from kit.database.tidying import tidy


def main(option: str = "") -> None:
    """Check the migrations. Raises alembic's `CommandError` if the tables differ from the models."""
    if option == "first":
        script: Any = command.revision(configuration(), "first", autogenerate=True, rev_id="0001")
        tidy(script.path)
    command.upgrade(configuration(), "head")
    command.check(configuration())


if __name__ == "__main__":
    main(*sys.argv[1:])
