"""The rows of the benchmark, as SQL for both engines, and a checksum of all of them.

Not made by `make seed`: it draws rows at random, and creates each by the operations of the service, which takes minutes
for a million. Here the rows depend on their numbers only, so that both engines, and every run, have the same.
"""

import hashlib
import sqlite3
from typing import Any

import asyncpg

WORDS = """'Captain','Doctor','Rusty','Black','Spider','Dead','Iron','Silver','Night','Star','Green','Mighty',
    'Princess','Professor','Atomic','Crimson','Quiet'"""
OTHER_WORDS = """'Lion','Weird','Man','Widow','Youngster','Pond','Falcon','Surfer','Owl','Lord','Lantern','Mouse',
    'Diana','Boy','Machine','Hood','North America','Sphinx','Marvelous Person'"""
SENTENCE = "A post says what its author has seen, and what is to be done about it. "
USERS, SUPERUSERS_FROM = 1000, 901
"""The number of users, and the first of those that are superusers."""
PASSWORD = "as fast as it goes"  # noqa: S105  of users who live as long as a run
HASH = "$argon2id$v=19$m=8,t=1,p=1$0kT81Vjvr0J/TqfDdhD7qQ$WsqlwBrp7XtPKc4ilAJUsGeJ9XQQH0OX/SdDreXpgZA"
"""A cheap hash of the password."""
FILL = """
INSERT INTO team (id, version, created_at, updated_at, name, headquarters)
SELECT i, 1, {time}, {time}, 'Team ' || i, 'House ' || i || ', Long Street' FROM {numbers_100};
INSERT INTO "user" (id, version, created_at, updated_at, username, email, full_name, is_active, is_superuser,
    hashed_password, generation)
SELECT i, 1, {time}, {time}, 'user-' || i, 'user-' || i || '@example.com', NULL, true, i >= {superusers_from},
    '{hash}', 0
FROM {numbers_1000};
INSERT INTO post (id, version, created_at, updated_at, title, body, author_id)
SELECT i, 1, {time}, {time}, 'The post with the number ' || i, substr({text}, 1, CAST(400 + i * 37 % 200 AS integer)),
    1 + i * 7919 % 1000 FROM {numbers_10000};
INSERT INTO hero (id, version, created_at, updated_at, name, secret_name, age, power, team_id)
SELECT i, 1, {time}, {time}, {first} || ' ' || {second} || ' ' || (i % 1000), {second} || ' of ' || {first},
    CASE WHEN i % 10 = 0 THEN NULL ELSE 15 + i * 31 % 70 END, i * 7919 % 1000003,
    CASE WHEN i % 3 = 0 THEN NULL ELSE 1 + i * 13 % 100 END FROM {numbers};
"""


def text_of(words: str) -> list[str]:
    return [word.strip().strip("'") for word in words.split(",")]


def chosen(words: str, factor: int, *, sqlite: bool) -> str:
    """Return an SQL expression that selects one of these words by the number of the row."""
    names = text_of(words)
    index = f"i * {factor} % {len(names)}"
    if sqlite:
        cases = " ".join(f"WHEN {place} THEN '{name}'" for place, name in enumerate(names))
        return f"(CASE {index} {cases} END)"
    return f"(ARRAY[{words}])[1 + {index}]"


def numbers(count: int, *, sqlite: bool) -> str:
    """Return a subquery with one column, `i`: the numbers from 1 to `count`."""
    if sqlite:
        return f"(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT i FROM n)"  # noqa: S608  `count` is an integer
    return f"(SELECT i::bigint FROM generate_series(1, {count}) i) n"  # noqa: S608  `count` is an integer


def filling(heroes: int, *, sqlite: bool) -> str:
    """Return the rows as SQL: a pattern that depends on their numbers only, so that they are always the same."""
    micros = "i * 7919 % 1000000"
    time = f"timestamptz '2025-01-01 00:00:00+00' + i * interval '1 second' + ({micros}) * interval '1 microsecond'"
    if sqlite:
        time = f"strftime('%Y-%m-%d %H:%M:%S', 1735689600 + i, 'unixepoch') || printf('.%06d', {micros})"
    return FILL.format(
        time=time,
        text=f"'{SENTENCE * 9}'",
        superusers_from=SUPERUSERS_FROM,
        hash=HASH,
        first=chosen(WORDS, 5, sqlite=sqlite),
        second=chosen(OTHER_WORDS, 11, sqlite=sqlite),
        numbers=numbers(heroes, sqlite=sqlite),
        numbers_100=numbers(100, sqlite=sqlite),
        numbers_1000=numbers(USERS, sqlite=sqlite),
        numbers_10000=numbers(10_000, sqlite=sqlite),
    )


COLUMNS = {
    "team": ("name", "headquarters"),
    "user": ("username", "email", "is_active", "is_superuser", "hashed_password", "generation"),
    "post": ("title", "body", "author_id"),
    "hero": ("name", "secret_name", "age", "power", "team_id"),
}
STAMPS = ("created_at", "updated_at")


def lines(table: str, *, sqlite: bool) -> str:
    """Return a query for the rows of a table, each as a line of text that is the same on both engines."""
    stamp = "{}" if sqlite else "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"
    columns = [f"CAST({name} AS integer)" if name.startswith("is_") else name for name in COLUMNS[table]]
    stamps = [stamp.format(name) for name in STAMPS]
    cells = [f"coalesce(CAST({cell} AS text), '-')" for cell in ("id", "version", *stamps, *columns)]
    line = " || '|' || ".join(cells)
    return f'SELECT {line} FROM "{table}" ORDER BY id'  # noqa: S608  constants


def sqlite_checksum(connection: sqlite3.Connection) -> str:
    """Return a checksum of all rows of the benchmark."""
    found = hashlib.sha256()
    for table in COLUMNS:
        for (line,) in connection.execute(lines(table, sqlite=True)):
            found.update(f"{line}\n".encode())
    return found.hexdigest()


async def postgres_checksum(url: str) -> str:
    """Return the same checksum of a PostgreSQL database."""
    found = hashlib.sha256()

    async def add(data: Any) -> None:
        found.update(data)

    connection = await asyncpg.connect(url)
    for table in COLUMNS:
        await connection.copy_from_query(lines(table, sqlite=False), output=add)
    await connection.close()
    return found.hexdigest()
