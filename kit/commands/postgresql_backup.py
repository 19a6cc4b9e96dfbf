"""Backup and restore of PostgreSQL by `pg_dump` and `pg_restore`, verified by checksums from the dump's snapshot."""

import asyncio
import json
import os
import re
import tempfile
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import URL

from kit.commands.checksums import Sums, differences, postgresql_sums
from kit.commands.clients import environment_of, program
from kit.commands.errors import CommandFailedError, explained
from kit.commands.files import refuse_unusable
from kit.commands.progress import Progress
from kit.database.hosts import connect_to
from kit.database.poolers import is_pooled
from kit.database.url_options import driver_options

TABLE = re.compile(r"(?:dumping contents of table|processing data for table)")
"""The line that the programs print for each table with `--verbose`."""

LOCK_SECONDS, POLL_SECONDS = 10.0, 0.5
"""The longest wait for locks of other sessions, and the time between two looks at them."""
OWN_NAME = f"backup-{os.getpid()}"
"""The `application_name` of the programs that this process runs."""
BLOCKERS = """SELECT DISTINCT CASE WHEN other.pid IS NULL THEN 'a prepared transaction (see pg_prepared_xacts)' ELSE
format('%s of %s at %s (pid %s, %s)', coalesce(nullif(other.application_name, ''), 'a program'), other.usename,
coalesce(host(other.client_addr), 'this machine'), other.pid, coalesce(other.state, 'active')) END AS session
FROM pg_stat_activity own CROSS JOIN unnest(pg_blocking_pids(own.pid)) blocking(pid)
LEFT JOIN pg_stat_activity other ON other.pid = blocking.pid WHERE own.application_name = $1 ORDER BY session"""
IN_USE = """The database is in use, and nothing was restored: its tables are locked by {}.
Stop it, or end it by `SELECT pg_terminate_backend(pid)`, and run the command again."""


def sums_file(file: Path) -> Path:
    return file.with_name(f"{file.name}.sums")


async def backup(url: URL, file: Path) -> Sums:
    """Write a dump of the database to `file`, and the checksums to `file.sums`. The service may write meanwhile.

    Raises a CommandFailedError if the database cannot be reached or read, if the file cannot be written, or if
    `pg_dump` is missing or fails.
    """
    refuse_pooler(url)
    refuse_unusable(file, url)
    part = file.with_name(f"{file.name}.part")
    try:
        with explained(f"{file} was not written"):
            sums = await dump(url, part)
            part.replace(file)
            sums_file(file).write_text(json.dumps(sums, indent=1) + "\n")
    finally:
        part.unlink(missing_ok=True)
    return sums


async def dump(url: URL, file: Path) -> Sums:
    """Write a dump of the database to `file`. Returns the checksums of the tables in it."""
    connection = await connect(url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            snapshot = await connection.fetchval("SELECT pg_export_snapshot()")
            sums = await postgresql_sums(connection)
            options = ("--format=custom", "--no-owner", f"--snapshot={snapshot}", f"--file={file}", "--verbose")
            waiting = f"--lock-wait-timeout={LOCK_SECONDS:.0f}s"
            await run(url, "pg_dump", *options, waiting, progress=Progress("backup", tables_in(sums)))
    finally:
        await connection.close()
    return sums


async def restore(url: URL, file: Path) -> Sums:
    """Replace the database by a dump, in one transaction. Raises a CommandFailedError if it fails.

    Raises it also if other sessions keep tables locked, and if a table or sequence then differs from the checksums of
    the backup.
    """
    refuse_pooler(url)
    expected = sums_of(file)
    options = ("--clean", "--if-exists", "--no-owner", "--single-transaction", "--exit-on-error", "--verbose")
    with explained("The restored database cannot be compared"), tempfile.TemporaryDirectory() as folder:
        listed = await chosen_parts(url, file, Path(folder) / "list")
        chosen = (f"--use-list={listed}", f"--dbname={url.database}", str(file))
        restoring = run(url, "pg_restore", *options, *chosen, progress=Progress("restore", tables_in(expected)))
        await unless_blocked(url, restoring)
        found = await sums_in(url)
    if wrong := differences(expected, found):
        raise CommandFailedError(f"The restored database differs from the backup: {'; '.join(wrong)}.")
    return found


async def sums_in(url: URL) -> Sums:
    connection = await connect(url)
    try:
        return await postgresql_sums(connection)
    finally:
        await connection.close()


def sums_of(file: Path) -> Sums:
    """Return the checksums next to a dump; none without their file. Raises a CommandFailedError for another file."""
    sums = sums_file(file)
    if not sums.is_file():
        return {}
    try:
        return {name: (int(rows), str(total)) for name, (rows, total) in json.loads(sums.read_text()).items()}
    except (ValueError, TypeError, AttributeError):
        raise CommandFailedError(f"{sums} has no checksums of a backup: remove it to restore without them.") from None


async def unless_blocked(url: URL, restoring: Coroutine[Any, Any, None]) -> None:
    """Await `restoring`. Ends it, and raises a CommandFailedError, if others lock what it needs for `LOCK_SECONDS`."""
    connection, waited = await connect(url), 0.0
    task = asyncio.create_task(restoring)
    try:
        while not task.done():
            await asyncio.wait([task], timeout=POLL_SECONDS)
            blockers = [text for (text,) in await connection.fetch(BLOCKERS, OWN_NAME)]
            waited = waited + POLL_SECONDS if blockers else 0.0
            if waited > LOCK_SECONDS:
                raise CommandFailedError(IN_USE.format("; ".join(blockers)))
        await task
    finally:
        task.cancel()
        await asyncio.wait([task])
        await connection.close()


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
    """Connect, with a timeout for locks. Raises a CommandFailedError if the database cannot be reached."""
    with explained("The database cannot be reached"):
        connection: asyncpg.Connection = await connect_to(*driver_options(url))
        await connection.execute(f"SET lock_timeout = '{LOCK_SECONDS:.0f}s'")
    return connection


async def run(url: URL, name: str, *options: str, progress: Progress | None) -> None:
    """Run a program of PostgreSQL. Raises a CommandFailedError with the errors that it printed, if it fails."""
    pipe = asyncio.subprocess.PIPE
    environment = {**environment_of(url), "PGAPPNAME": OWN_NAME}
    process = await asyncio.create_subprocess_exec(program(name), *options, env=environment, stderr=pipe)
    assert process.stderr is not None
    lines: list[str] = []
    try:
        async for line in process.stderr:
            lines = [*lines[-4:], line.decode(errors="replace").strip()]
            if progress is not None and TABLE.search(lines[-1]):
                progress.step()
    except asyncio.CancelledError:
        process.terminate()
        raise
    if await process.wait():
        errors = [line for line in lines if ": error:" in line or ": detail:" in line] or lines[-1:]
        raise CommandFailedError(f"{name} failed: {' '.join(errors)}")
    if progress is not None:
        progress.end()
