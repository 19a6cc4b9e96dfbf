"""Backup and restore of PostgreSQL by `pg_dump` and `pg_restore`, verified by checksums from the dump's snapshot."""

import asyncio
import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

import asyncpg
from sqlalchemy import URL

from kit.commands.checksums import Sums, differences, postgresql_sums
from kit.commands.clients import environment_of, program
from kit.commands.errors import CommandFailedError
from kit.commands.progress import Progress
from kit.database.errors import ASYNCPG_ERRORS
from kit.database.hosts import connect_to
from kit.database.poolers import is_pooled
from kit.database.url_options import driver_options

TABLE = re.compile(r"(?:dumping contents of table|processing data for table)")
"""The line that the programs print for each table with `--verbose`."""


def sums_file(file: Path) -> Path:
    return file.with_name(f"{file.name}.sums")


async def backup(url: URL, file: Path) -> Sums:
    """Write a dump of the database to `file`, and the checksums to `file.sums`. The service may write meanwhile.

    Raises a CommandFailedError if the database cannot be reached, or if `pg_dump` is missing or fails.
    """
    refuse_pooler(url)
    connection = await connect(url)
    part = file.with_name(f"{file.name}.part")
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            snapshot = await connection.fetchval("SELECT pg_export_snapshot()")
            sums = await postgresql_sums(connection)
            options = ("--format=custom", "--no-owner", f"--snapshot={snapshot}", f"--file={part}", "--verbose")
            await run(url, "pg_dump", *options, progress=Progress("backup", tables_in(sums)))
    finally:
        await connection.close()
    part.replace(file)
    sums_file(file).write_text(json.dumps(sums, indent=1) + "\n")
    return sums


async def restore(url: URL, file: Path) -> Sums:
    """Replace the database by a dump, in one transaction. Raises a CommandFailedError if it fails.

    Raises it also if a table or sequence then differs from the checksums of the backup.
    """
    refuse_pooler(url)
    expected: Sums = json.loads(sums_file(file).read_text()) if sums_file(file).is_file() else {}
    options = ("--clean", "--if-exists", "--no-owner", "--single-transaction", "--exit-on-error", "--verbose")
    with tempfile.TemporaryDirectory() as folder:
        listed = await chosen_parts(url, file, Path(folder) / "list")
        chosen = (f"--use-list={listed}", f"--dbname={url.database}", str(file))
        await run(url, "pg_restore", *options, *chosen, progress=Progress("restore", tables_in(expected)))
    connection = await connect(url)
    try:
        found = await postgresql_sums(connection)
    finally:
        await connection.close()
    if wrong := differences({name: (one[0], one[1]) for name, one in expected.items()}, found):
        raise CommandFailedError(f"The restored database differs from the backup: {'; '.join(wrong)}.")
    return found


async def chosen_parts(url: URL, file: Path, listed: Path) -> Path:
    """Write the entries of a dump that are to be restored to the file `listed`, for `--use-list`. Returns the file.

    The extension pg_trgm is left out, because only its owner may replace it. It is created if it is missing. If the
    role may not create it, the search indexes are left out too.
    """
    await run(url, "pg_restore", "--list", f"--file={listed}", str(file), progress=None)
    if leave_out(EXTENSION, listed) and not await has_trigrams(url):
        leave_out(SEARCH, listed)
    return listed


def leave_out(unwanted: re.Pattern[str], listed: Path) -> bool:
    """Remove the lines that match `unwanted` from the file `listed`. Returns whether there were any."""
    lines = listed.read_text().splitlines()
    kept = [line for line in lines if not unwanted.search(line)]
    listed.write_text("\n".join(kept) + "\n")
    return len(kept) < len(lines)


EXTENSION = re.compile(r" EXTENSION (?:- )?pg_trgm\b")
SEARCH = re.compile(r" INDEX (?:\S+ )?ix_\w+_search\b")


async def has_trigrams(url: URL) -> bool:
    """Create the extension pg_trgm if it is missing. Returns whether it exists."""
    connection = await connect(url)
    try:
        await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    except asyncpg.PostgresError:
        return False
    finally:
        await connection.close()
    return True


def tables_in(sums: Mapping[str, object]) -> int:
    return len([name for name in sums if not name.startswith("sequence ")])


def refuse_pooler(url: URL) -> None:
    """Raise a CommandFailedError for PgBouncer: `pg_restore` would leave its settings on connections of others."""
    if is_pooled(url):
        raise CommandFailedError("A backup needs the URL of PostgreSQL itself, not that of PgBouncer.")


async def connect(url: URL) -> asyncpg.Connection:
    try:
        connection: asyncpg.Connection = await connect_to(*driver_options(url))
    except (OSError, *ASYNCPG_ERRORS) as failure:
        raise CommandFailedError(f"The database cannot be reached: {failure}") from None
    return connection


async def run(url: URL, name: str, *options: str, progress: Progress | None) -> None:
    """Run a program of PostgreSQL. Raises a CommandFailedError with the errors that it printed, if it fails."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(program(name), *options, env=environment_of(url), stderr=pipe)
    assert process.stderr is not None
    lines: list[str] = []
    async for line in process.stderr:
        lines = [*lines[-4:], line.decode(errors="replace").strip()]
        if progress is not None and TABLE.search(lines[-1]):
            progress.step()
    if await process.wait():
        errors = [line for line in lines if ": error:" in line or ": detail:" in line] or lines[-1:]
        raise CommandFailedError(f"{name} failed: {' '.join(errors)}")
    if progress is not None:
        progress.end()
