"""Ownership requirements: conditions for the rows that a restricted session flushes, checked by few queries.

A requirement `(Invoice, 5)` is met if invoice 5 belongs to the principal; `(None, 7)`, if 7 is the principal's id.
A new row requires that its `belongs_to` leads to the principal. A changed row requires this before and after the
change.

A row that the session has loaded itself proves a requirement without a query. A row that was attached in another way
(`session.add` of a detached row, `merge` without loading) does not, because its values may be forged.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, inspect, select
from sqlalchemy.orm import InstanceState, Session
from sqlalchemy.orm.util import identity_key
from sqlalchemy.sql.elements import ClauseElement

from kit.auth.own_rows import is_own
from kit.auth.owners import OwnershipError, is_principal, not_the_owner, owned_parent, table_of, without_owner
from kit.models.entities import Entity

Requirement = tuple[type[Entity] | None, Any]
"""An entity and the id of a row that must belong to the principal, or None and an id that must be the principal's."""
MAX_IDS = 10_000
"""The maximum number of ids in a statement. Both databases allow about 32,000 parameters."""


class Requirements:
    """The requirements of one session."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.proved: set[Requirement] = set()
        """Requirements that are known to be met since the last `forget`."""
        self.attached: set[Any] = set()
        """Identity keys of rows that were added to the session without being loaded by it."""

    def forget(self) -> None:
        """Clear `proved`: another statement may have changed the rows."""
        self.proved = set()

    def of_rows(self, rows: Iterable[object], *, is_final: bool) -> list[Requirement]:
        """Return the requirements of these rows. Raises a 403 for an entity without an owner.

        If not `is_final`, a relationship may still set an empty foreign key.
        """
        return [
            requirement
            for row in rows
            if isinstance(row, Entity)
            for requirement in self._of_row(row, is_final=is_final)
        ]

    def _of_row(self, row: Entity, *, is_final: bool) -> list[Requirement]:
        if row.belongs_to is None:
            raise without_owner()
        state, parent = inspect(row), owned_parent(type(row))
        before = [] if state.key is None else [self._as_stored(state)]
        attribute = state.attrs[row.belongs_to]
        after = list(attribute.history.added or ()) if before else [state.dict.get(row.belongs_to)]
        return before + [(parent, key) for key in after if is_final or key is not None]

    def _as_stored(self, state: InstanceState[Any]) -> Requirement:
        """Return the requirement on the stored state: on its owner's id if that was loaded, otherwise on the row."""
        return self._as_loaded(state) or (state.class_, state.identity[0])  # type: ignore[index]

    def _as_loaded(self, state: InstanceState[Any]) -> Requirement | None:
        entity: type[Entity] = state.class_
        history = state.attrs[str(entity.belongs_to)].history
        loaded = [*(history.deleted or ()), *(history.unchanged or ())]
        if not loaded or state.key in self.attached:
            return None
        return owned_parent(entity), loaded[0]

    def check(self, requirements: Iterable[Requirement], connect: Callable[[], Connection]) -> None:
        """Raise a 403 if one of these requirements is not met."""
        required: dict[type[Entity], set[Any]] = {}
        checked = set(map(refuse_expression, requirements))
        for requirement in checked - self.proved:
            entity, key = self._follow(requirement)
            if entity is None and not is_principal(key):
                raise not_the_owner()
            if entity is not None and (entity, key) not in self.proved:
                required.setdefault(entity, set()).add(key)
        for entity, keys in required.items():
            if keys != own_ids(connect(), entity, keys):
                raise not_the_owner()
        self.proved |= checked

    def _follow(self, requirement: Requirement) -> Requirement:
        """Replace the requirement on a loaded row by that on its parent, as often as possible: line, invoice, owner."""
        entity, key = requirement
        if entity is None or key is None or requirement in self.proved:
            return requirement
        row = self.session.identity_map.get(identity_key(entity, key))
        following = None if row is None else self._as_loaded(inspect(row))
        return requirement if following is None else self._follow(following)


def refuse_expression(requirement: Requirement) -> Requirement:
    """Return the requirement. Raises an OwnershipError if the id is an SQL expression, which cannot be compared."""
    if isinstance(requirement[1], ClauseElement) or hasattr(requirement[1], "__clause_element__"):
        raise OwnershipError("A restricted session cannot check an SQL expression in belongs_to: set a value.")
    return requirement


def own_ids(connection: Connection, entity: type[Entity], ids: Collection[Any]) -> set[Any]:
    """Return those of the ids whose rows belong to the principal."""
    ident = table_of(entity).c.id
    found: set[Any] = set()
    for chunk in chunks(ids):
        found.update(connection.execute(select(ident).where(ident.in_(chunk), is_own(entity))).scalars())
    return found


def chunks(ids: Collection[Any]) -> Iterator[Sequence[Any]]:
    """Split the ids into chunks of at most `MAX_IDS`, each for one statement."""
    listed = list(ids)
    return (listed[start : start + MAX_IDS] for start in range(0, len(listed), MAX_IDS))
