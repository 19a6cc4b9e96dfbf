"""Checks of response models at start: each field exists in the row, and no private field is exposed."""

from typing import Annotated, Any, Optional

import pytest
from fastapi import APIRouter, Depends
from pydantic import AliasPath, BaseModel, Field, model_validator
from sqlmodel import Field as Column
from sqlmodel import Relationship, SQLModel

from kit import BIGINT, PRIVATE, Read, ReadSession, Who, allowing, found
from tests.kit.habits.items import HabitEntity, HabitItem, HabitItemQuery, HabitItemRead
from tests.kit.server.small import small_service


class CardBase(SQLModel):
    name: str
    code: str = Column(default="", sa_column_kwargs=PRIVATE)


class CardPublic(CardBase):
    """A response model as SQLModel's tutorial writes it."""


class Deck(BaseModel):
    cards: list[CardPublic]


class PlainCard(BaseModel):
    name: str
    code: str


class Wider(Read):
    name: str
    weight: int


class Renamed(Read):
    title: str = Field(validation_alias="name")
    colour: str = "white"


class Deep(Read):
    owner: str = Field(validation_alias=AliasPath("parent", "name"))


class Made(Wider):
    @classmethod
    def of(cls, row: Any) -> "Made":
        return cls(id=row.id, name=row.name, weight=7)


class Filled(Read):
    weight: int

    @model_validator(mode="before")
    @classmethod
    def fill(cls, row: Any) -> Any:
        return {"id": row.id, "weight": 7}


class HabitWeight(HabitEntity, table=True):
    """A table with a property."""

    __tablename__ = "habit_weight"
    name: str
    weight = property(lambda _: 3)


class HabitPage(HabitEntity, table=True):
    __tablename__ = "habit_page"
    text: str
    folder_id: int | None = Column(default=None, foreign_key="habit_folder.id", sa_type=BIGINT)
    folder: Optional["HabitFolder"] = Relationship()


class HabitFolder(HabitEntity, table=True):
    """A table with relationships that are queried, and never loaded."""

    __tablename__ = "habit_folder"
    parent_id: int | None = Column(default=None, foreign_key="habit_folder.id", sa_type=BIGINT)
    pages: list[HabitPage] = Relationship(sa_relationship_kwargs={"lazy": "write_only", "viewonly": True})
    folders: list["HabitFolder"] = Relationship(sa_relationship_kwargs={"lazy": "dynamic", "viewonly": True})
    loaded: list["HabitFolder"] = Relationship(sa_relationship_kwargs={"viewonly": True})


class FolderWithPages(Read):
    pages: list[Renamed]


class FolderWithFolders(Read):
    folders: list[Renamed]
    loaded: list["FolderWithFolders"]


class PageWithFolder(Read):
    folder: FolderWithPages | None


def errors_of(router: APIRouter) -> list[str]:
    service = small_service(router)
    try:
        service.check_routes()
    except ValueError as error:
        return str(error).splitlines()
    return []


@pytest.mark.parametrize("model", [CardPublic, list[CardPublic], Deck, CardPublic | None])
@pytest.mark.parametrize("route_class", [None, allowing(read=Who.MEMBERS)])
def test_a_model_that_would_show_private_fields_is_refused(model: Any, route_class: Any) -> None:
    router = APIRouter(**({"route_class": route_class} if route_class else {}))

    @router.get("/cards", response_model=model)
    async def cards() -> Any: ...

    assert [error.partition(" (GET /cards) ")[2] for error in errors_of(router)] == [
        "responds with CardPublic, which shows the private field code to everybody: derive CardPublic from `Read`."
    ]


@pytest.mark.parametrize("model", [HabitItemRead, list[HabitItemRead], PlainCard])
def test_a_read_variant_hides_private_fields_and_other_models_have_none(model: Any) -> None:
    router = APIRouter()

    @router.get("/cards", response_model=model)
    async def cards() -> Any: ...

    assert errors_of(router) == []


def test_a_read_variant_with_a_field_that_rows_lack_is_refused() -> None:
    router = APIRouter(route_class=allowing(read=Who.MEMBERS))

    @router.get("/items/{item_id}", response_model=Wider)
    async def read(item_id: int, session: ReadSession) -> HabitItem:
        return found(await session.get(HabitItem, item_id))

    (error,) = errors_of(router)
    assert error.endswith(
        "(GET /items/{item_id}) shows rows of HabitItem as Wider, whose field weight they do not have: give HabitItem "
        "a column or property of that name, or the field a default."
    )


@pytest.mark.parametrize(
    ("read", "entity"), [(read, HabitItem) for read in (Renamed, Filled, Deep, Made)] + [(Wider, HabitWeight)]
)
def test_fields_with_a_default_an_alias_a_property_or_a_validator_are_accepted(read: Any, entity: Any) -> None:
    router = APIRouter(route_class=allowing(read=Who.MEMBERS))

    async def rows() -> Any: ...

    rows.__annotations__["return"] = list[entity]
    router.get("/items", response_model=list[read])(rows)
    assert errors_of(router) == []


class Envelope(BaseModel):
    data: HabitItemRead


class Shorter(Read):
    name: str


@pytest.mark.parametrize("model", [Envelope, Shorter, HabitItemRead | Shorter, list[HabitItemRead]])
def test_the_parameters_of_one_row_need_its_read_variant(model: Any) -> None:
    router = APIRouter(route_class=allowing(read=Who.MEMBERS))

    @router.get("/items/{item_id}", response_model=model)
    async def read(item_id: int, query: Annotated[HabitItemQuery, Depends(HabitItemQuery.of_one)]) -> Any: ...

    (error,) = errors_of(router)
    assert error.endswith("give it the response model HabitItemRead, or no HabitItemQuery.")


@pytest.mark.parametrize(
    ("read", "entity", "shown"),
    [
        (FolderWithPages, HabitFolder, 'HabitFolder.pages in FolderWithPages, but with `lazy="write_only"`'),
        (FolderWithFolders, HabitFolder, 'HabitFolder.folders in FolderWithFolders, but with `lazy="dynamic"`'),
        (PageWithFolder, HabitPage, 'HabitFolder.pages in PageWithFolder, but with `lazy="write_only"`'),
    ],
)
def test_a_relationship_that_is_never_loaded_is_refused_in_a_read_variant(read: Any, entity: Any, shown: str) -> None:
    router = APIRouter(route_class=allowing(read=Who.MEMBERS))

    async def rows() -> Any: ...

    rows.__annotations__["return"] = list[entity]
    router.get("/folders", response_model=list[read])(rows)
    (error,) = errors_of(router)
    assert f"shows {shown} its rows are queried, and never loaded: leave that out of the relationship, or" in error
