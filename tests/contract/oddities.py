"""Oddities: operations that are none of the contract's, and resources with rules of their own, in several routers.

Only these tests add them to the service, beside the gadgets: the checks test what they can, and skip the rest.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import date, datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Form, Header, HTTPException, Query, Response
from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.alias_generators import to_camel
from sqlmodel import Field, SQLModel, func, select

from kit import (
    Body,
    Changes,
    Entity,
    Id,
    ListQuery,
    Name,
    Page,
    Read,
    ReadSession,
    Session,
    Stamped,
    Who,
    allowing,
    found,
    page,
)
from tests.contract.gadget import Gadget, GadgetCreate, GadgetQuery, GadgetRead

MEMBERS = {"read": Who.MEMBERS, "create": Who.MEMBERS, "change": Who.MEMBERS}
router = APIRouter()
reports = APIRouter(route_class=allowing(**MEMBERS))


class NameCount(SQLModel):
    name: str
    number: int


class Shelf(BaseModel):
    total: int
    items: list[GadgetRead]


@reports.get("/gadget-counts", response_model=list[NameCount])
async def count_gadgets(session: ReadSession) -> list[dict[str, Any]]:
    statement = select(Gadget.name, func.count().label("number")).group_by(Gadget.name)
    return [dict(row) for row in (await session.execute(statement)).mappings()]


@reports.get("/gadget-pairs")
async def read_pairs(session: ReadSession) -> list[dict[str, Any]]:
    return [{"name": name} for name in await session.exec(select(Gadget.name))]


@reports.get("/some-gadgets/", response_model=list[GadgetRead])
async def read_some(session: ReadSession, offset: int = 0, limit: int = 20) -> Sequence[Gadget]:
    return (await session.exec(select(Gadget).order_by(Gadget.name).offset(offset).limit(limit))).all()


@reports.get("/gadget-shelf", response_model=Shelf)
async def read_shelf(session: ReadSession) -> dict[str, Any]:
    items = (await session.exec(select(Gadget))).all()
    return {"total": len(items), "items": items}


@reports.get("/gadgets-of-a-day", response_model=list[GadgetRead])
async def read_day(query: Annotated[GadgetQuery, Depends()], session: ReadSession, day: date) -> Page:
    return await page(session, query, select(Gadget))


@reports.get("/gadgets-of-a-shop", response_model=list[NameCount])
async def read_shop(shop: Annotated[int, Header()]) -> list[Any]:
    return []


@reports.get("/gadget-reports/{year}/{month}")
async def read_month(year: int, month: int) -> dict[str, int]:
    return {"year": year, "month": month}


@reports.get("/gadget.csv", response_class=Response)
async def export() -> Response:
    return Response("id,name", media_type="text/csv")


@reports.get("/gadget-stream")
async def stream() -> AsyncIterator[NameCount]:
    yield NameCount(name="a", number=1)


@reports.get("/gadget-redirect")
async def redirect() -> Any:
    return Response(status_code=307, headers={"Location": "/gadgets/"})


@reports.get("/gadget-of-the-month", response_model=GadgetRead)
async def read_best() -> Any:
    raise HTTPException(404, "There is none.")


@reports.get("/hidden-gadgets", include_in_schema=False)
async def read_hidden() -> list[str]:
    return []


@reports.api_route("/gadget-box", methods=["GET", "POST"])
async def open_box(names: Annotated[list[str] | None, Query()] = None) -> list[str]:
    return names or []


@reports.post("/gadget-orders/", status_code=202)
async def order(new: GadgetCreate) -> dict[str, str]:
    return {"checkout": new.name}


@reports.post("/gadget-names")
async def name_all(names: list[str]) -> int:
    return len(names)


@reports.post("/gadget-forms", response_model=GadgetRead, status_code=201)
async def send_form(name: Annotated[str, Form()], session: Session) -> Any:
    return (await session.exec(select(Gadget).where(Gadget.name == name))).one()


@reports.post("/gadget-swaps/", status_code=201)
async def swap(one: GadgetCreate, other: GadgetCreate) -> list[str]:
    return [one.name, other.name]


@reports.put("/gadget-setting")
async def set_up(setting: NameCount) -> NameCount:
    return setting


class BookingBase(SQLModel):
    starts: date = Field(schema_extra={"examples": ["2026-01-01"]})
    ends: date = Field(schema_extra={"examples": ["2026-01-01"]})


class Booking(BookingBase, Entity, table=True):
    """A table whose rows have a rule over two fields."""


class BookingCreate(BookingBase, Body):
    @model_validator(mode="after")
    def refuse_empty(self) -> Self:
        if self.starts >= self.ends:
            raise ValueError("A booking ends after it starts.")
        return self


class BookingRead(Stamped, BookingBase, Read):
    """A booking."""


class BookingQuery(ListQuery):
    model = Booking
    read = BookingRead


bookings = APIRouter(prefix="/bookings", tags=["bookings"], route_class=allowing(**MEMBERS))


@bookings.get("/", response_model=list[BookingRead])
async def list_bookings(query: Annotated[BookingQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, select(Booking))


@bookings.post("/", response_model=BookingRead, status_code=201)
async def create_booking(new: BookingCreate, session: Session) -> Booking:
    booking = Booking.model_validate(new)
    session.add(booking)
    return booking


@bookings.patch("/{booking_id}", response_model=BookingRead)
async def move_booking(booking_id: Id, new: BookingCreate, session: Session) -> Booking:
    return found(await session.get(Booking, booking_id)).sqlmodel_update(new.model_dump())


class DraftBase(SQLModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)  # type: ignore[assignment]  # of SQLModel

    full_name: Name = Field(max_length=50, index=True, schema_extra={"examples": ["A draft"]})
    sent_at: datetime | None = Field(default=None, index=True, schema_extra={"examples": ["2026-01-01T00:00:00Z"]})


class Draft(DraftBase, Entity, table=True):
    """A table whose fields have other names in JSON, and whose list shows some rows only."""


class DraftCreate(DraftBase, Body):
    """A new draft."""


class DraftUpdate(DraftCreate, Changes):
    """Changes to a draft."""


class DraftRead(Stamped, DraftBase, Read):
    """A draft."""


class DraftQuery(ListQuery):
    model = Draft
    read = DraftRead


drafts = APIRouter(prefix="/drafts", route_class=allowing(**MEMBERS))


@drafts.get("", response_model=list[DraftRead])
async def list_drafts(query: Annotated[DraftQuery, Depends()], session: ReadSession, name: str | None = None) -> Page:
    return await page(session, query, select(Draft).where(Draft.sent_at == None))  # noqa: E711  an SQL expression


@drafts.post("", response_model=DraftRead, status_code=201)
async def add(new: DraftCreate, session: Session) -> Draft:
    session.add(draft := Draft.model_validate(new))
    return draft


@drafts.get("/{draft_id}", response_model=DraftRead)
async def find(draft_id: Id, session: ReadSession) -> Draft:
    return found(await session.get(Draft, draft_id))


@drafts.put("/{draft_id}", response_model=DraftRead)
async def rewrite(draft_id: Id, new: DraftCreate, session: Session) -> Draft:
    return found(await session.get(Draft, draft_id)).sqlmodel_update(new.model_dump())


@drafts.patch("/{draft_id}", response_model=DraftRead)
async def rename(draft_id: Id, new: DraftUpdate, session: Session) -> Draft:
    return found(await session.get(Draft, draft_id)).sqlmodel_update(new)


@drafts.delete("/{draft_id}")
async def discard(draft_id: Id, session: Session) -> dict[str, bool]:
    await session.delete(found(await session.get(Draft, draft_id)))
    return {"done": True}


for part in (reports, bookings, drafts):
    router.include_router(part)
