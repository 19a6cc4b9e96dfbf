"""Classes of SQLAlchemy with subclasses are read and changed in handlers, beside the entities of the service."""

from typing import Any

import pytest
from fastapi import APIRouter
from sqlalchemy import ForeignKey
from sqlalchemy.ext.declarative import ConcreteBase
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from kit import Session, found
from tests.kit.habits.conftest import Serve
from tests.kit.habits.items import REGISTRY


class Base(DeclarativeBase):
    metadata = REGISTRY.metadata


class HabitWorker(Base):
    """A class whose queries join the tables of all subclasses."""

    __tablename__ = "habit_worker"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "", "with_polymorphic": "*"}  # noqa: RUF012  as SQLAlchemy documents it
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]


class HabitEngineer(HabitWorker):
    __tablename__ = "habit_engineer"
    __mapper_args__ = {"polymorphic_identity": "engineer"}  # noqa: RUF012  as SQLAlchemy documents it
    id: Mapped[int] = mapped_column(ForeignKey("habit_worker.id"), primary_key=True)
    field: Mapped[str]


class HabitCar(ConcreteBase, Base):
    """A class whose queries are a UNION of the tables of all subclasses."""

    __tablename__ = "habit_car"
    __mapper_args__ = {"polymorphic_identity": "car", "concrete": True}  # noqa: RUF012  as SQLAlchemy documents it
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class HabitTruck(HabitCar):
    __tablename__ = "habit_truck"
    __mapper_args__ = {"polymorphic_identity": "truck", "concrete": True}  # noqa: RUF012  as SQLAlchemy documents it
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


NEW: dict[type[Any], Any] = {
    HabitWorker: lambda: HabitEngineer(id=1, name="old", field="sound"),
    HabitEngineer: lambda: HabitEngineer(id=1, name="old", field="sound"),
    HabitCar: lambda: HabitTruck(id=1, name="old"),
}


@pytest.mark.parametrize("base", NEW)
async def test_a_row_of_a_subclass_is_read_and_changed(router: APIRouter, serve: Serve, base: type[Any]) -> None:
    @router.post("/rows")
    async def create(session: Session) -> None:
        session.add(NEW[base]())

    @router.patch("/rows/1")
    async def change(session: Session) -> list[str]:
        row = found(await session.get(base, 1))
        row.name += "er"
        return [type(row).__name__, row.name]

    client = await serve(router)
    assert (await client.post("/rows")).status_code == 200
    changed = [(await client.patch("/rows/1")).json() for _ in range(2)]
    kind = type(NEW[base]()).__name__
    assert changed == [[kind, "older"], [kind, "olderer"]]
