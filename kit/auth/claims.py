"""Claims: the ownership conditions of the rows that a restricted session flushes, checked by few queries.

A claim is an entity and the id of a row that must belong to the principal; without an entity, it is an id that must
equal the principal's id. A new row has a claim about the row that its `belongs_to` refers to. A changed row has this
claim too, and a claim about its stored state.

Rows that the session has loaded itself prove a claim without a query. Other rows (`session.add` of a detached row,
`merge` without loading) prove nothing, because their values may be forged.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, inspect, select
from sqlalchemy.orm import InstanceState, Session
from sqlalchemy.orm.util import identity_key
from sqlalchemy.sql.elements import ClauseElement

from kit.auth.owners import OwnershipError, is_own, is_principal, not_the_owner, owned_parent, table_of
from kit.models.entities import Entity

Claim = tuple[type[Entity] | None, Any]
"""An entity and the id of a row that must belong to the principal. Without an entity, it must be their own id."""
MAX_IDS = 1000
"""The largest number of ids in a query: drivers have a limit of parameters."""


class Claims:
    """The claims of one session."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.true: set[Claim] = set()
        """Claims that were proved since the last `forget`."""
        self.attached: set[Any] = set()
        """Identity keys of rows that were added to the session without being loaded by it."""

    def forget(self) -> None:
        """Discard proved claims: another statement may have changed the rows."""
        self.true = set()

    def of_rows(self, rows: Iterable[object], *, is_final: bool) -> list[Claim]:
        """The claims of these rows. Raises a 403 for an entity without an owner.

        If not `is_final`, a relationship may still set an empty foreign key.
        """
        return [claim for row in rows if isinstance(row, Entity) for claim in self._of_row(row, is_final=is_final)]

    def _of_row(self, row: Entity, *, is_final: bool) -> list[Claim]:
        if row.belongs_to is None:
            raise not_the_owner()
        state, parent = inspect(row), owned_parent(type(row))
        before = [] if state.key is None else [self._as_stored(state)]
        attribute = state.attrs[row.belongs_to]
        after = list(attribute.history.added or ()) if before else [state.dict.get(row.belongs_to)]
        return before + [(parent, key) for key in after if is_final or key is not None]

    def _as_stored(self, state: InstanceState[Any]) -> Claim:
        """The claim about the stored state of a row: about its owner, if that was loaded, otherwise about the row."""
        return self._as_loaded(state) or (state.class_, state.identity[0])  # type: ignore[index]

    def _as_loaded(self, state: InstanceState[Any]) -> Claim | None:
        entity: type[Entity] = state.class_
        history = state.attrs[str(entity.belongs_to)].history
        loaded = [*(history.deleted or ()), *(history.unchanged or ())]
        if not loaded or state.key in self.attached:
            return None
        return owned_parent(entity), loaded[0]

    def check(self, claims: Iterable[Claim], connect: Callable[[], Connection]) -> None:
        """Raise a 403 if one of these claims is false."""
        wanted: dict[type[Entity], set[Any]] = {}
        checked = set(map(refuse_expression, claims))
        for claim in checked - self.true:
            entity, key = self._follow(claim)
            if entity is None and not is_principal(key):
                raise not_the_owner()
            if entity is not None and (entity, key) not in self.true:
                wanted.setdefault(entity, set()).add(key)
        for entity, keys in wanted.items():
            if keys != own_ids(connect(), entity, keys):
                raise not_the_owner()
        self.true |= checked

    def _follow(self, claim: Claim) -> Claim:
        """The claim about the parent, if the session has loaded the row: about an invoice for its line."""
        entity, key = claim
        if entity is None or key is None or claim in self.true:
            return claim
        row = self.session.identity_map.get(identity_key(entity, key))
        following = None if row is None else self._as_loaded(inspect(row))
        return claim if following is None else self._follow(following)


def refuse_expression(claim: Claim) -> Claim:
    """The claim. Raises if its key is an SQL expression, which cannot be compared."""
    if isinstance(claim[1], ClauseElement) or hasattr(claim[1], "__clause_element__"):
        raise OwnershipError("A restricted session cannot check an SQL expression in belongs_to: set a value.")
    return claim


def own_ids(connection: Connection, entity: type[Entity], ids: Collection[Any]) -> set[Any]:
    """The ids among these whose rows belong to the principal."""
    ident = table_of(entity).c.id
    found: set[Any] = set()
    for some in chunks(ids):
        found.update(connection.execute(select(ident).where(ident.in_(some), is_own(entity))).scalars())
    return found


def chunks(ids: Collection[Any]) -> Iterator[Sequence[Any]]:
    listed = list(ids)
    return (listed[start : start + MAX_IDS] for start in range(0, len(listed), MAX_IDS))
