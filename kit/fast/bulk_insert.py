"""How are many new rows stored of which nothing depends on another: in one INSERT, past the ORM's unit of work."""

from collections.abc import Iterable, Sequence
from functools import cache

from sqlalchemy import column, func, insert, inspect, select, table
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import make_transient_to_detached
from sqlalchemy.orm.attributes import set_committed_value

from kit.fast.processors import columns_of
from kit.models.entities import Entity

SEQUENCES = table("sqlite_sequence", column("name"), column("seq"))


def is_complete(row: Entity) -> bool:
    """Whether an INSERT is all it needs: a value for each column, nothing that hangs on it, no listener."""
    mapper = inspect(type(row))
    is_heard = mapper.dispatch.before_insert or mapper.dispatch.after_insert
    is_filled = columns_of(type(row)).keys() <= row.__dict__.keys()
    is_single = len(mapper.tables) == 1 and row.__dict__.keys().isdisjoint(mapper.relationships.keys())
    is_given = all(row.__dict__.get(name) is not None for name in with_defaults(type(row)))
    return is_filled and is_given and is_single and not is_heard


@cache
def with_defaults(entity: type[Entity]) -> list[str]:
    """The fields for which the ORM, or the database, has a value of its own where there is None."""
    numbered = inspect(entity).local_table.autoincrement_column
    columns = [(name, part) for name, part in columns_of(entity).items() if part is not numbered]
    return [name for name, part in columns if part.primary_key or part.default or part.server_default]


def are_alike(rows: Sequence[Entity]) -> bool:
    """Whether one INSERT is all they need."""
    return len({(type(row), row.id is None) for row in rows}) == 1 and all(map(is_complete, rows))


async def insert_all(connection: AsyncConnection, rows: Sequence[Entity]) -> None:
    """Insert rows that are alike, and give them ids, in order, if they have none. Fails as a session does."""
    entity, is_sqlite = type(rows[0]), connection.dialect.name == "sqlite"
    if is_sqlite and rows[0].id is None:
        number(rows, await next_ids(connection, entity, len(rows)))
    is_numbered = rows[0].id is not None
    columns = {name: part for name, part in columns_of(entity).items() if is_numbered or name != "id"}
    values = [{part.key: row.__dict__[name] for name, part in columns.items()} for row in rows]
    statement = insert(inspect(entity).local_table)
    if not is_sqlite:  # there, without RETURNING, each row would be a statement, as on SQLite with it
        statement = statement.returning(columns_of(entity)["id"], sort_by_parameter_order=not is_numbered)
    result = await connection.execute(statement, values)
    if not is_numbered:
        number(rows, result.scalars())
    for row in rows:
        make_transient_to_detached(row)


def number(rows: Sequence[Entity], ids: Iterable[int]) -> None:
    for row, ident in zip(rows, ids, strict=True):
        set_committed_value(row, "id", ident)


async def next_ids(connection: AsyncConnection, entity: type[Entity], count: int) -> range:
    """The ids that SQLite would give, which nobody else can take while this transaction writes."""
    table = inspect(entity).local_table
    remembered = select(SEQUENCES.c.seq).where(SEQUENCES.c.name == table.name)
    largest = select(func.max(columns_of(entity)["id"]))
    last = await connection.scalar(remembered if table.dialect_options["sqlite"]["autoincrement"] else largest) or 0
    return range(last + 1, last + 1 + count)
