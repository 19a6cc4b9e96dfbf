"""Checks the migrations on an empty database, that of DATABASE_URL: `python -m kit.database.migration_check [first]`.

It applies all migrations, and compares the tables with the models. With the argument `first`, it writes the first
migration before that. One process does all of this, because importing the application takes most of the time.
"""

import sys

from alembic import command

from kit.database.migrations import configuration


def main(option: str = "") -> None:
    """Check the migrations. Raises alembic's `CommandError` if the tables differ from the models."""
    if option == "first":
        command.revision(configuration(), "first", autogenerate=True, rev_id="0001")
    command.upgrade(configuration(), "head")
    command.check(configuration())


if __name__ == "__main__":
    main(*sys.argv[1:])
