"""Checks migrations on the empty database of DATABASE_URL: `python -m kit.database.migration_check [first]`.

It applies all migrations, and compares the tables with those of the models. With `first`, it writes the first migration
before. All of this runs in one process, because the import of the application takes most of the time.
"""

import sys

from alembic import command

from kit.database.migrations import configuration


def main(option: str = "") -> None:
    """Raises alembic's `CommandError` if the tables differ from the models."""
    if option == "first":
        command.revision(configuration(), "first", autogenerate=True, rev_id="0001")
    command.upgrade(configuration(), "head")
    command.check(configuration())


if __name__ == "__main__":
    main(*sys.argv[1:])
