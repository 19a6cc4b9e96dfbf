"""A resource for each field type, declared with plain annotations, and its valid and invalid values."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from functools import cache, cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated, Any, Literal, Optional

from fastapi import APIRouter, Depends
from pydantic import UUID4, AnyHttpUrl, BaseModel, EmailStr
from sqlalchemy import MetaData
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel, select

from kit import (
    Batch,
    Body,
    Changes,
    Entity,
    Id,
    IfMatch,
    ListQuery,
    Many,
    OnError,
    Page,
    Read,
    ReadSession,
    Session,
    Stamped,
    Updated,
    Who,
    allowing,
    change_many,
    create_many,
    found,
    page,
)

REGISTRY = registry(metadata=MetaData(naming_convention=SQLModel.metadata.naming_convention))


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Size(StrEnum):
    SMALL = "S"
    LARGE = "L"


class Level(IntEnum):
    LOW = 1
    HIGH = 20


class Point(BaseModel):
    """A model that is no body."""

    x: int
    at: datetime | None = None


@dataclass(frozen=True)
class Kind:
    """A field type with its valid values in their sort order, and its invalid ones.

    `written` holds other spellings of valid values, each with the one in responses.
    """

    name: str
    annotation: Any
    values: Sequence[Any]
    wrong: Sequence[Any]
    written: Sequence[tuple[Any, Any]] = ()
    field: Any = ...
    is_sorted: bool = True
    is_filtered: bool = True


NO_TEXT = [5, True, ["a"], {"a": "b"}, "a\0b"]
NO_NUMBER = ["1", True, "NaN", "Infinity", [1], {}, ""]
KINDS = [
    Kind("flag", bool, [False, True], [0, 1, "true", "false", "yes", 1.0, ""]),
    Kind("whole", int, [-(2**63), -1, 0, 28, 2**63 - 1], [28.5, "28", True, 2**63, -(2**63) - 1, 1e19, *NO_NUMBER],
         [(28.0, 28), (1e1, 10)]),
    Kind("small", int, [-5, 0, 10], [11, -6, "1", True], field={"ge": -5, "le": 10}),
    Kind("ratio", float, [-1e300, -0.1, 0.0, 1.5, 1e-300 + 2, 1.7e308], NO_NUMBER, [(1, 1.0), (-0.0, 0.0)]),
    Kind("amount", Decimal, ["-10.50", "0.00", "9.99", "99999999.99"], ["1.005", "1e2", 1e9, "x", True, "NaN", "+1"],
         [(9.99, "9.99"), ("1", "1.00"), (5, "5.00")], field={"max_digits": 10, "decimal_places": 2}),
    Kind("precise", Decimal, ["-123456789012345678901234567890.1234567891", "0.0000000000", "7.0000000001"],
         ["1.00000000001", "1" * 31], field={"max_digits": 40, "decimal_places": 10}),
    Kind("any_amount", Decimal, ["-7.5", "0", "0.0000001", "10", "12345678901234567890.123456789"],
         ["1" * 31, "0." + "1" * 31, 1e300, "Infinity", "1E5", True],
         [("1.50", "1.5"), ("100", "100"), (1e5, "100000")]),
    Kind("digits", Decimal, ["-99999", "0.00001", "1.5"], ["123456", "1.12345"], field={"max_digits": 5}),
    Kind("title", str, ["", "A", "Z", "a", "z", "\u00e9", "\U0001f600"], [*NO_TEXT, "a" * 10_001, "\ud800"],
         [("e\u0301", "\u00e9")]),
    Kind("short", str, ["ab", "abc"], [*NO_TEXT, "a", "abcd"], field={"min_length": 2, "max_length": 3}),
    Kind("data", bytes, ["", "AAE=", "/////w=="], [5, "a", "AAF=", "AA-_", "====", [1]],
         is_sorted=False, is_filtered=False),
    Kind("day", date, ["0001-01-01", "1969-12-31", "2026-01-01", "9999-12-31"],
         [172800, "172800", "2026-02-30", "2026-1-1", "2026-01-01T00:00:00Z", "20260101", True]),
    Kind("moment", datetime, ["1969-12-31T23:59:59.999999Z", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000001Z"],
         ["2026-01-01T00:00:00", 172800, "172800", 1.5, "2026-01-01", "0001-01-01T00:00:00+01:00", True],
         [("2026-01-01T01:30:00+01:00", "2026-01-01T00:30:00Z"),
          ("2026-01-01T00:00:00.123456789Z", "2026-01-01T00:00:00.123456Z")]),
    Kind("clock", time, ["00:00:00", "09:30:00", "23:59:59.999999"], [5, "5", "24:00:00", "09:30:00Z", "9:30", True],
         [("09:30", "09:30:00")]),
    Kind("span", timedelta, ["-P1D", "PT0S", "PT0.000001S", "P1DT2H3M4S", "P400D"],
         [5, "5", "P1Y", "P1M", "01:00:00", "P", "PT", "P106751992D", True], [("P1W", "P7D"), ("PT24H", "P1D")]),
    Kind("key", uuid.UUID, ["00000000-0000-0000-0000-000000000001", "01890000-0000-7000-8000-000000000000"],
         [5, "x", "", True]),
    Kind("random_key", UUID4, ["00000000-0000-4000-8000-000000000001", "ffffffff-ffff-4fff-bfff-ffffffffffff"],
         [5, "x", "", True, "01890000-0000-7000-8000-000000000000"]),
    Kind("colour", Colour, ["blue", "red"], ["RED", "green", 1, True, None]),
    Kind("size", Size, ["L", "S"], ["SMALL", "M", 1]),
    Kind("level", Level, [1, 20], [2, "1", True, 1.5, "LOW"], [(1.0, 1)]),
    Kind("choice", Literal["no", "yes"], ["no", "yes"], ["maybe", 1, True]),
    Kind("digit", Literal[1, 2], [1, 2], [3, "1", True, 1.5], [(2.0, 2)]),
    Kind("address", IPv4Address, ["9.0.0.1", "10.0.0.9", "10.0.0.10"], [5, "10.0.0", "::1", "x", True]),
    Kind("address6", IPv6Address, ["::1", "2001:db8::1"], [5, "10.0.0.1", "x", "fe80::1%eth0"]),
    Kind("network", IPv4Network, ["9.0.0.0/8", "10.0.0.0/8", "10.0.0.0/16"], [5, "10.0.0.1/8", "x"]),
    Kind("network6", IPv6Network, ["2001:db8::/32"], [5, "10.0.0.0/8", "fe80::%eth0/64"]),
    Kind("email", EmailStr, ["a@example.com", "b@example.com"],
         [5, "x", "a@b", "a b@example.com", "", "a\0@example.com"]),
    Kind("link", AnyHttpUrl, ["http://a.example/", "https://b.example/x?y=1"], [5, "x", "ftp://a.example", "", "http://"],
         [("HTTP://A.example", "http://a.example/")]),
    Kind("attributes", dict[str, Any], [{}, {"a": [1, 2.5, None, {"b": "c"}]}, {"z": 1, "a": 2}],
         [[], "x", 5, {"a": "b\0"}, {"a\0": 1}, {"a": 2**64}], is_sorted=False, is_filtered=False),
    Kind("anything", dict, [{}, {"b": 1, "a": [True]}], [[], "x", 5], is_sorted=False, is_filtered=False),
    Kind("tags", list[str], [[], ["b", "a"]], [{}, "x", [1], ["a\0"], [None]], [(["e\u0301"], ["\u00e9"])],
         is_sorted=False, is_filtered=False),
    Kind("numbers", list[int], [[], [3, 1]], [["1"], [1.5], [True], [2**63]], [([28.0], [28])],
         is_sorted=False, is_filtered=False),
    Kind("days", list[date], [["2026-01-01"]], [[172800], ["x"]], is_sorted=False, is_filtered=False),
    Kind("amounts", list[Decimal], [["1.5", "100"]], [["x"], [True]], is_sorted=False, is_filtered=False),
    Kind("colours", list[Colour], [["red", "blue"]], [["green"]], is_sorted=False, is_filtered=False),
    Kind("point", Point, [{"x": 1, "at": None}, {"x": -1, "at": "2026-01-01T00:00:00Z"}],
         [{}, {"x": "1"}, {"x": 1, "y": 2}, {"x": 1, "at": "2026-01-01T00:00:00"}, {"x": 1, "at": 5}, []],
         [({"x": 1.0, "at": "2026-01-01T01:00:00+01:00"}, {"x": 1, "at": "2026-01-01T00:00:00Z"})],
         is_sorted=False, is_filtered=False),
    Kind("points", list[Point], [[{"x": 1, "at": None}]], [[{"x": True}], {}], is_sorted=False, is_filtered=False),
]  # fmt: skip


class SpecimenEntity(Entity, registry=REGISTRY):
    """The base class of the tables of specimens, in a separate registry, so that no migration creates them."""


class Specimen:
    """The classes and routes of one specimen, created at their first use, because creating all takes seconds."""

    def __init__(self, kind: Kind, *, is_optional: bool) -> None:
        self.kind, self.is_optional = kind, is_optional
        self.name = f"{'maybe_' if is_optional else ''}{kind.name}"
        self.path = f"/specimens/{self.name}/"
        self.title = "".join(part.title() for part in self.name.split("_"))

    def derived(self, suffix: str, *bases: Any, table: bool = False, **more: Any) -> Any:
        content = {"__module__": __name__, "__doc__": "A specimen.", **more}
        return type(bases[0])(f"{self.title}{suffix}", bases, content, **({"table": True} if table else {}))

    @cached_property
    def base(self) -> Any:
        kind = self.kind
        options: dict[str, Any] = {} if kind.field is ... else kind.field
        index = {"index": True} if kind.is_sorted else {}
        annotation = Optional[kind.annotation] if self.is_optional else kind.annotation  # noqa: UP045
        default = {"default": None} if self.is_optional else {}
        arguments: dict[str, Any] = {**default, **options, **index}
        return type("Base", (SQLModel,), {"__annotations__": {"value": annotation}, "value": Field(**arguments)})

    @cached_property
    def table(self) -> Any:
        return self.derived("", self.base, SpecimenEntity, __tablename__=f"specimen_{self.name}", table=True)

    @cached_property
    def create(self) -> Any:
        return self.derived("Create", self.base, Body)

    @cached_property
    def read(self) -> Any:
        return self.derived("Read", Stamped, self.base, Read)

    @cached_property
    def update(self) -> Any:
        return self.derived("Update", self.create, Changes)

    @cached_property
    def several(self) -> Any:
        return self.derived("Several", Body, __annotations__={"ids": list[int], "changes": self.update})

    @cached_property
    def query(self) -> Any:
        content: dict[str, Any] = {"model": self.table, "read": self.read}
        if self.is_optional and not self.kind.is_filtered:
            content["filters"] = ("value",)
        if self.kind.annotation is str or self.kind.name in ("email", "link"):
            content["search"] = ("value",)
        return type(f"{self.title}Query", (ListQuery,), content)

    @cached_property
    def router(self) -> APIRouter:
        return self.routes()

    def routes(self) -> APIRouter:
        table, create, read, query, several = self.table, self.create, self.read, self.query, self.several
        router = APIRouter(prefix=self.path.rstrip("/"), tags=["specimens"], route_class=allowing(read=Who.MEMBERS))

        @router.get("/", response_model=list[read], operation_id=f"list_{self.name}")  # type: ignore[valid-type]
        async def list_them(query: Annotated[Any, Depends(query)], session: ReadSession) -> Page:
            return await page(session, query, select(table))

        @router.post("/", response_model=read, status_code=201, operation_id=f"create_{self.name}")
        async def create_one(new: create, session: Session) -> Any:  # type: ignore[valid-type]
            row = table.model_validate(new)
            session.add(row)
            return row

        @router.post("/bulk", response_model=list[read], status_code=201, operation_id=f"create_many_{self.name}")  # type: ignore[valid-type]
        async def create_several(new: Batch[create], session: Session, on_error: OnError = "abort") -> Many:  # type: ignore[valid-type]
            return await create_many(session, new, on_error, table)

        @router.patch("/bulk", response_model=Updated, operation_id=f"update_many_{self.name}")
        async def update_several(many: several, session: Session) -> Updated:  # type: ignore[valid-type]
            values = many.changes.model_dump(exclude_unset=True)  # type: ignore[attr-defined]
            return await change_many(session, table, many.ids, values)  # type: ignore[attr-defined]

        self.add_routes_of_one(router)
        return router

    def add_routes_of_one(self, router: APIRouter) -> None:
        table, create, read, update, query = self.table, self.create, self.read, self.update, self.query

        @router.get("/{one_id}", response_model=read, operation_id=f"read_{self.name}")
        async def read_one(one_id: Id, query: Annotated[Any, Depends(query.of_one)], session: ReadSession) -> Any:
            return found(await session.get(table, one_id, options=query.loading))

        @router.put("/{one_id}", response_model=read, operation_id=f"replace_{self.name}")
        async def replace_one(one_id: Id, new: create, session: Session, matching: IfMatch) -> Any:  # type: ignore[valid-type]
            row = matching(found(await session.get(table, one_id)))
            row.sqlmodel_update(new.model_dump())  # type: ignore[attr-defined]
            return row

        @router.patch("/{one_id}", response_model=read, operation_id=f"update_{self.name}")
        async def update_one(one_id: Id, changes: update, session: Session, matching: IfMatch) -> Any:  # type: ignore[valid-type]
            row = matching(found(await session.get(table, one_id)))
            row.sqlmodel_update(changes.model_dump(exclude_unset=True))  # type: ignore[attr-defined]
            return row


SPECIMENS = [Specimen(kind, is_optional=optional) for kind in KINDS for optional in (False, True)]


@cache
def tables() -> list[Any]:
    """Return the tables of all specimens."""
    return [specimen.table.__table__ for specimen in SPECIMENS]
