"""Claims: what must be true of the rows that a restricted session flushes, asked with as few queries as possible.

A claim is an entity and the id of a row that must belong to the principal; without an entity, it is an id that must be
the principal's own. A new row claims what its `belongs_to` refers to; a row that is changed claims that too, and that
it belongs to the principal as it is stored.

What the session has loaded itself answers a claim without a query. Rows that it was given (`session.add` of a detached
row, `merge` without loading) answer nothing, since their values may be made up.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, inspect, select
from sqlalchemy.orm import InstanceState, Session
from sqlalchemy.orm.util import identity_key
from sqlalchemy.sql.elements import ClauseElement

from kit.auth.owners import OwnershipError, is_own, is_principal, owned_parent, somebody_elses, table_of
from kit.models.entities import Entity

Claim = tuple[type[Entity] | None, Any]
"""An entity and the id of a row that must belong to the principal. Without an entity, it must be their own id."""
MAX_IDS = 1000
"""How many ids one query asks for: a driver has a limit of parameters."""


class Claims:
    """The claims of one session."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.true: set[Claim] = set()
        """Claims that were found true since `forget`."""
        self.attached: set[Any] = set()
        """Identity keys of rows that the session was given, and has not loaded."""

    def forget(self) -> None:
        """Forget what was true: another statement may have changed it."""
        self.true = set()

    def of_rows(self, rows: Iterable[object], *, is_final: bool) -> list[Claim]:
        """What must be true for these rows to be written. A 403 for an entity whose rows belong to nobody.

        Before it is final, a foreign key that is empty may still be set by a relationship.
        """
        return [claim for row in rows if isinstance(row, Entity) for claim in self._of_row(row, is_final=is_final)]

    def _of_row(self, row: Entity, *, is_final: bool) -> list[Claim]:
        if row.belongs_to is None:
            raise somebody_elses()
        state, parent = inspect(row), owned_parent(type(row))
        before = [] if state.key is None else [self._as_stored(state)]
        attribute = state.attrs[row.belongs_to]
        after = list(attribute.history.added or ()) if before else [state.dict.get(row.belongs_to)]
        return before + [(parent, key) for key in after if is_final or key is not None]

    def _as_stored(self, state: InstanceState[Any]) -> Claim:
        """The claim of a row as it is in the database: about its owner if that was loaded, else about the row."""
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
                raise somebody_elses()
            if entity is not None and (entity, key) not in self.true:
                wanted.setdefault(entity, set()).add(key)
        for entity, keys in wanted.items():
            if keys != own_ids(connect(), entity, keys):
                raise somebody_elses()
        self.true |= checked

    def _follow(self, claim: Claim) -> Claim:
        """The claim to which this one leads through rows that the session has loaded: an invoice for its line."""
        entity, key = claim
        if entity is None or key is None or claim in self.true:
            return claim
        row = self.session.identity_map.get(identity_key(entity, key))
        following = None if row is None else self._as_loaded(inspect(row))
        return claim if following is None else self._follow(following)


def refuse_expression(claim: Claim) -> Claim:
    """The claim, if its key is a value, which can be compared."""
    if isinstance(claim[1], ClauseElement) or hasattr(claim[1], "__clause_element__"):
        raise OwnershipError("A restricted session cannot check an SQL expression in belongs_to: set a value.")
    return claim


def own_ids(connection: Connection, entity: type[Entity], ids: Collection[Any]) -> set[Any]:
    """Those of these ids whose rows belong to the principal."""
    ident = table_of(entity).c.id
    found: set[Any] = set()
    for some in chunks(ids):
        found.update(connection.execute(select(ident).where(ident.in_(some), is_own(entity))).scalars())
    return found


def chunks(ids: Collection[Any]) -> Iterator[Sequence[Any]]:
    listed = list(ids)
    return (listed[start : start + MAX_IDS] for start in range(0, len(listed), MAX_IDS))
