"""Balances: changes numbers that have bounds, such as a stock, by one conditional UPDATE."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, column, inspect, update, values
from sqlalchemy.orm import Mapped
from sqlmodel import select

from kit.database.sessions import WriteSession
from kit.http.problems import conflict, missing_reference


@dataclass(frozen=True)
class RejectedMoves:
    """The ids of rows that do not exist, and of rows that were not changed because they would exceed a bound."""

    missing: set[Any]
    exceeded: set[Any]

    def check(self, rows: Mapping[str, Iterable[Any]], amount: str, detail: str) -> None:
        """Raise a 409 if there are rejected moves.

        `rows` are the ids by field of the body; a missing row is reported for its field. An exceeded bound is reported
        for the field `amount`, with the text `detail`.
        """
        for field, ids in rows.items():
            if self.missing.intersection(ids):
                raise missing_reference(field)
        if self.exceeded:
            raise conflict(amount, detail, "insufficient")


async def move_balances(
    session: WriteSession,
    number: Mapped[int],
    steps: Iterable[tuple[Any, int]],
    most: int,
    *conditions: ColumnElement[bool],
) -> RejectedMoves:
    """Add the steps, pairs of an id and a difference, to the column `number` of rows, which is from 0 to `most`.

    A row of which any intermediate sum would exceed these bounds is not changed. `conditions` restrict the rows. They
    are locked first, in the order of their ids, so that concurrent calls cannot deadlock.
    """
    entity: Any = inspect(number).class_
    moves = {key: _total_and_extremes(deltas) for key, deltas in _by_row(steps).items()}
    locked = select(entity.id).where(entity.id.in_(moves), *conditions).order_by(entity.id).with_for_update()
    found = set(await session.exec(locked))
    if not found:
        return RejectedMoves(set(moves), found)
    columns = [column("id", entity.id.type), *(column(name, BigInteger) for name in ("total", "low", "high"))]
    plan = values(*columns, name="plan").data([(key, *moves[key]) for key in found]).cte("plan")
    change = (
        update(entity)
        .where(entity.id == plan.c.id, *conditions, number + plan.c.low >= 0, number + plan.c.high <= most)
        .values({number: number + plan.c.total, entity.version: entity.version + 1})
        .returning(entity.id)
        .execution_options(synchronize_session=False)
    )
    changed = set((await session.exec(change)).scalars())
    return RejectedMoves(set(moves) - found, found - changed)


def _by_row(steps: Iterable[tuple[Any, int]]) -> dict[Any, list[int]]:
    ordered = sorted(steps, key=lambda step: str(step[0]))  # the sort is stable: the steps of a row keep their order
    return {key: [delta for _, delta in group] for key, group in groupby(ordered, key=lambda step: step[0])}


def _total_and_extremes(deltas: list[int]) -> tuple[int, int, int]:
    """Return the sum of the steps, and the lowest and the highest intermediate sum, starting at 0."""
    total = low = high = 0
    for delta in deltas:
        total += delta
        low, high = min(low, total), max(high, total)
    return total, low, high
