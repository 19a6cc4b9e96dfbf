"""Checked sessions: the synchronous SQLAlchemy sessions within the `AsyncSession`s: their base, and that for writes."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

from sqlalchemy import Connection, Engine, func, inspect, select
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm.exc import FlushError
from sqlalchemy.orm.interfaces import ORMOption
from sqlalchemy.orm.util import identity_key
from sqlmodel import Session

from kit.auth.owners import OwnershipError
from kit.auth.requirements import Requirement, Requirements, chunks
from kit.auth.reserved import keep_reserved_of
from kit.http.principals import CURRENT_PRINCIPAL
from kit.models.entities import Entity
from kit.models.merging import without_stamps

E = TypeVar("E")

RESTRICTED_WRITES = "restricted_writes"
"""The key in `Session.info` that restricts writes to rows of the principal."""
RESTRICTED_READS = "restricted_reads"
"""The key in `Session.info` that restricts reads to rows of the principal."""

WITHOUT_CONNECTIONS = "kit_without_connections"
"""The attribute of an engine that caches its copy without connections (see `CheckedSession.without_connections`)."""


WITH_CONNECTIONS = "kit_with_connections"
"""The attribute of such a copy with its original."""


class NotStored(Exception):  # noqa: N818  named as the failures of the database
    """Raised if an INSERT stored no row and gave no error: a trigger may do RETURN NULL, or RAISE(IGNORE) in SQLite."""

    def __init__(self) -> None:
        super().__init__("The database left out a row: a trigger or a rule has skipped its INSERT.")


class SessionEnded(InvalidRequestError):  # noqa: N818  named by its cause
    """Raised if the session of a request is used after its end, by a task that the handler has left running."""

    def __init__(self) -> None:
        super().__init__(
            "The request of this session has ended, so nobody would commit or close it. In a task that outlives its "
            "request, open a session: `async with app.runtime.database.write() as session, session.begin():`."
        )


def refuse_connection() -> NoReturn:
    raise OwnershipError(
        "A restricted session cannot check what a connection executes: use session.exec or session.execute."
    )


class CheckedSession(Session):
    """A session whose statements are checked by `kit.auth.ownership`, unless the principal is a superuser."""

    is_executing = False
    """Whether SQLAlchemy itself needs the engine now, for a flush or a statement that was checked."""
    is_ended = False
    """Whether the request of this session has ended."""

    @contextmanager
    def executing(self) -> Iterator[None]:
        before, self.is_executing = self.is_executing, True
        try:
            yield
        finally:
            self.is_executing = before

    def is_restricted_by(self, *flags: str) -> bool:
        """Return whether one of the keys `flags` is set in `info`, and the principal is not a superuser."""
        return any(map(self.info.get, flags)) and not CURRENT_PRINCIPAL.get().is_superuser

    def connection(self, *values: Any, **options: Any) -> Connection:
        if self.is_restricted_by(RESTRICTED_WRITES, RESTRICTED_READS):
            refuse_connection()
        return self.trusted_connection(*values, **options)

    def trusted_connection(self, bind_arguments: Any = None, execution_options: Any = None) -> Connection:
        """Return the connection of the session for statements of the kit, which are not checked."""
        return super().connection(bind_arguments or {"bind": self.bind_of()}, execution_options)

    @property
    def bind(self) -> Any:
        """The engine of the session. In a restricted session it refuses to connect: a connection is not checked."""
        return self.without_connections(self.given_bind)

    @bind.setter
    def bind(self, bind: Any) -> None:
        self.given_bind = bind

    def get_bind(self, *values: Any, **options: Any) -> Engine | Connection:
        """Return the engine of a statement or mapper, as SQLAlchemy does.

        Application code in a restricted session gets an engine without connections. SQLAlchemy gets the engine itself:
        it calls this method while `is_executing`, or with the `bind` that `check_statement` has given to a statement.
        """
        bind = self.bind_of(*values, **options)
        is_asked = not self.is_executing and options.get("bind") is None
        return self.without_connections(bind) if is_asked else bind

    def bind_of(self, *values: Any, **options: Any) -> Engine | Connection:
        """Return SQLAlchemy's own result of `get_bind`, without restriction. Raises `SessionEnded`."""
        if self.is_ended:
            raise SessionEnded
        bind = super().get_bind(*values, **options)
        return getattr(bind, WITH_CONNECTIONS, bind)

    def without_connections(self, bind: Any) -> Any:
        """Return the bind; for a restricted session, a copy of the engine that refuses to connect.

        The copy still has the dialect, which is needed to compile statements.
        """
        if not isinstance(bind, Engine) or not self.is_restricted_by(RESTRICTED_WRITES, RESTRICTED_READS):
            return bind
        if not hasattr(bind, WITHOUT_CONNECTIONS):
            engine = bind.execution_options()
            engine.raw_connection = refuse_connection  # type: ignore[method-assign]
            setattr(engine, WITH_CONNECTIONS, bind)
            setattr(bind, WITHOUT_CONNECTIONS, engine)
        return getattr(bind, WITHOUT_CONNECTIONS)

    def bulk_save_objects(self, *values: Any, **options: Any) -> None:
        self._check_bulk()
        super().bulk_save_objects(*values, **options)

    def bulk_insert_mappings(self, *values: Any, **options: Any) -> None:
        self._check_bulk()
        super().bulk_insert_mappings(*values, **options)

    def bulk_update_mappings(self, *values: Any, **options: Any) -> None:
        self._check_bulk()
        super().bulk_update_mappings(*values, **options)

    def _check_bulk(self) -> None:
        """Refuse the legacy bulk methods in a restricted session: they fire no events by which writes are checked."""


class GuardedSession(CheckedSession):
    """The synchronous session of a `WriteSession`. A restricted one refuses to write rows of others."""

    def __init__(self, *values: Any, **options: Any) -> None:
        super().__init__(*values, **options)
        self.requirements = Requirements(self)

    @property
    def is_restricted(self) -> bool:
        return self.is_restricted_by(RESTRICTED_WRITES)

    def check_owner(self, *rows: object) -> None:
        """Raise a 403 if the session is restricted and one of these rows does not belong to the principal."""
        if self.is_restricted:
            self.requirements.forget()
            self.requirements.check(self.requirements.of_rows(rows, is_final=True), self.trusted_connection)

    def check_writes(self, *rows: object) -> None:
        """Do the checks of a flush for new rows that the caller will INSERT without one. Raises a 403."""
        if not CURRENT_PRINCIPAL.get().is_superuser:
            self.check_owner(*rows)
            keep_reserved_of(self, rows)

    def flush(self, objects: Sequence[Any] | None = None) -> None:
        """Flush as SQLAlchemy does. Raises `NotStored` if the database has skipped the INSERT of a row.

        SQLAlchemy notices it only if the database generates the id, so rows with an id are counted after the flush.
        """
        with_ids = [row for row in self.new if isinstance(row, Entity) and row.id is not None]
        try:
            with self.executing():
                super().flush(objects)
        except FlushError as failure:
            if "did not produce" in str(failure):
                raise NotStored from failure
            raise
        for entity in {type(row) for row in with_ids}:
            self._check_stored(entity, [row.id for row in with_ids if type(row) is entity and row not in self.new])

    def merge(self, instance: E, *, load: bool = True, options: Sequence[ORMOption] | None = None) -> E:
        """Merge as SQLAlchemy does. A version or time that was not set stays that of the stored row."""
        with without_stamps(instance):
            return super().merge(instance, load=load, options=options)

    def merge_all(
        self, instances: Iterable[E], *, load: bool = True, options: Sequence[ORMOption] | None = None
    ) -> Sequence[E]:
        """Merge several rows, as `merge` does."""
        rows = list(instances)
        with without_stamps(*rows):
            return super().merge_all(rows, load=load, options=options)

    def _check_stored(self, entity: type[Entity], ids: Sequence[Any]) -> None:
        key, connection = inspect(entity).primary_key[0], self.trusted_connection()
        for some in chunks(ids):
            if connection.scalar(select(func.count()).where(key.in_(some))) != len(some):
                raise NotStored

    def is_changed(self, row: object) -> bool:
        """Return whether a column of a row has a pending change. Changes of collections do not count."""
        return self.is_modified(row, include_collections=False)

    def pending_ids(self) -> Iterator[Requirement]:
        """Yield the requirements that this flush itself meets: new rows whose ids are known, and may be referred to.

        Whether each new row belongs to the principal is checked separately.
        """
        for row in self.new:
            # If the session has a row with this id, and deletes it, the new row replaces it by an UPDATE.
            if isinstance(row, Entity) and row.id is not None and identity_of(row) not in self.identity_map:
                yield type(row), row.id

    def _check_bulk(self) -> None:
        if self.is_restricted:
            raise OwnershipError("A restricted session does not check legacy bulk operations: use add_all or insert().")


def identity_of(row: Entity) -> Any:
    return identity_key(type(row), row.id)
