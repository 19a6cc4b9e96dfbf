"""Owners and private fields: checks at start, and serialization by code that serves no request."""

from asyncio import get_running_loop, to_thread
from contextlib import nullcontext
from contextvars import Context
from typing import Annotated, Any, ClassVar

import pytest
from fastapi import APIRouter, Depends
from pydantic import AliasPath, BaseModel
from pydantic import Field as Aliased
from pydantic_core import PydanticSerializationError
from sqlalchemy import CheckConstraint, Column, ForeignKey, MetaData, func, inspect
from sqlalchemy.orm import column_property, registry, synonym
from sqlmodel import Field, Relationship, SQLModel, col

from kit import (
    BIGINT,
    CURRENT_PRINCIPAL,
    PRIVATE,
    UNRESTRICTED,
    Body,
    Entity,
    ListQuery,
    Principal,
    Read,
    Who,
    allowing,
)
from tests.kit.server.small import small_service

REGISTRY = registry(metadata=MetaData(naming_convention=SQLModel.metadata.naming_convention))


class SealEntity(Entity, registry=REGISTRY):
    """An entity of these tests."""


class Person(SealEntity, table=True):
    __tablename__ = "seal_person"
    belongs_to = "id"


class ChestBase(SQLModel):
    label: str = ""
    owner_id: int = Field(foreign_key="seal_person.id")


class Chest(ChestBase, SealEntity, table=True):
    __tablename__ = "seal_chest"
    belongs_to = "owner_id"
    secret: str = Field(sa_column_kwargs=PRIVATE)
    coins: list["Coin"] = Relationship(back_populates="chest")


inspect(Chest).add_property("hint", synonym("secret"))
inspect(Chest).add_property("shout", column_property(func.upper(col(Chest.label))))


class CoinBase(SQLModel):
    value: int = 1


class Coin(CoinBase, SealEntity, table=True):
    __tablename__ = "seal_coin"
    chest_id: int = Field(foreign_key="seal_chest.id")
    chest: Chest = Relationship(back_populates="coins")


class CoinCreate(CoinBase, Body):
    """A new coin."""


class PlainChest(BaseModel):
    secret: str


class OpenChest(Read):
    secret: str


class SharedChest(ChestBase, Read):
    secret: str


class RenamedChest(Read):
    key: str = Aliased(validation_alias="secret")


class HintOfChest(Read):
    hint: str
    shout: str


class SealedChest(Read):
    secret: str = Field(sa_column_kwargs=PRIVATE)


class CoinRead(CoinBase, Read):
    """A coin."""


class CoinInChest(Read):
    chest: OpenChest
    missing: str = Aliased(default="", validation_alias=AliasPath("value", "secret"))


class CoinWithSecret(Read):
    secret_of_chest: str = Aliased(validation_alias=AliasPath("chest", "secret"))


class ChestQuery(ListQuery):
    model = Chest
    read = OpenChest


class CoinQuery(ListQuery):
    model = Coin
    read = CoinRead
    includes = {"chest": "OpenChest"}  # noqa: RUF012  what a query variant declares is never changed


async def nothing() -> Any: ...


async def a_chest() -> Chest | None: ...


async def a_variant() -> SealedChest | None: ...


async def a_coin() -> list[Coin] | None: ...


async def chests(query: Annotated[ChestQuery, Depends()]) -> Any: ...


async def coins(query: Annotated[CoinQuery, Depends()]) -> Any: ...


async def new_coin(new: CoinCreate) -> None: ...


def errors_of(handler: Any, model: Any, who: Who = Who.MEMBERS, *, method: str = "GET") -> str:
    router = APIRouter(route_class=allowing(read=who, create=who))
    router.add_api_route("/things/", handler, response_model=model, methods=[method])
    try:
        small_service(router).check_routes()
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("handler", "model", "words"),
    [
        (a_chest, OpenChest, "Chest as OpenChest, whose field secret"),
        (a_chest, PlainChest, "derive PlainChest from `Read`, and inherit the field"),
        (a_chest, RenamedChest, "Chest as RenamedChest, whose field key"),
        (nothing, SharedChest, "Chest as SharedChest, whose field secret"),
        (a_coin, list[CoinInChest], "Chest as OpenChest, whose field secret"),
        (a_coin, list[CoinWithSecret], "Coin as CoinWithSecret, whose field secret_of_chest"),
        (chests, list[OpenChest], "Chest as OpenChest, whose field secret"),
        (coins, list[CoinRead], "Chest as OpenChest, whose field secret"),
        (a_chest, HintOfChest, "Chest as HintOfChest, whose field hint"),
    ],
)
def test_a_copy_of_a_private_field_is_refused(handler: Any, model: Any, words: str) -> None:
    assert words in errors_of(handler, model)


def test_a_private_field_that_is_marked_again_is_accepted() -> None:
    assert errors_of(a_chest, SealedChest, Who.OWNERS) == errors_of(a_variant, SealedChest) == ""


@pytest.mark.parametrize(("handler", "method"), [(a_coin, "GET"), (coins, "GET")])
def test_what_only_owners_read_needs_rows_with_owners(handler: Any, method: str) -> None:
    assert "is for owners, but rows of Coin have none" in errors_of(handler, list[CoinBase], Who.OWNERS, method=method)
    assert "is for owners" not in errors_of(handler, list[CoinBase], Who.MEMBERS, method=method)


def test_changes_of_rows_without_owners_are_left_to_superusers() -> None:
    assert "is for owners" not in errors_of(a_coin, list[CoinBase], Who.OWNERS, method="POST")


class OfCoin(Read):
    belongs_to: ClassVar[str | None] = "coin_id"
    coin_id: int = Field(foreign_key="seal_coin.id")
    note: str = Field(sa_column_kwargs=PRIVATE)


class OfChest(OfCoin):
    coin_id: int = Field(sa_column=Column(BIGINT, ForeignKey("seal_chest.id")))


class OfArguments(OfCoin):
    coin_id: int = Field(sa_type=BIGINT, sa_column_args=[CheckConstraint("coin_id > 0"), ForeignKey("seal_chest.id")])


class OfNothing(OfCoin):
    belongs_to = "owner_id"


class OfSuperusers(OfCoin):
    belongs_to = None


class OfPerson(OfCoin):
    belongs_to = "owner_id"
    owner_id: int = Field(foreign_key="seal_person.id")


@pytest.mark.parametrize("model", [OfCoin, OfChest, OfArguments, OfNothing])
def test_private_fields_of_an_owner_who_is_not_in_the_row_are_refused(model: Any) -> None:
    assert f"responds with {model.__name__}, whose private fields its owner would not see" in errors_of(nothing, model)


class Jewel(SealEntity, table=True):
    __tablename__ = "seal_jewel"
    belongs_to = "chest_id"
    chest_id: int = Field(foreign_key="seal_chest.id")
    note: str = Field(sa_column_kwargs=PRIVATE)


class JewelRead(Read):
    note: str = Field(sa_column_kwargs=PRIVATE)


class JewelOfSuperusers(JewelRead):
    belongs_to = None


async def a_jewel() -> Jewel | None: ...


def test_the_owner_of_a_parent_is_not_known_to_a_variant() -> None:
    assert "JewelRead, whose private fields its owner would not see: chest_id" in errors_of(a_jewel, JewelRead)
    assert errors_of(a_jewel, JewelOfSuperusers) == ""


@pytest.mark.parametrize("model", [OfSuperusers, OfPerson, Chest])
def test_private_fields_of_a_known_owner_are_accepted(model: Any) -> None:
    assert "whose private fields" not in errors_of(nothing, model)


async def test_private_fields_need_the_context_of_a_request() -> None:
    read = SealedChest(id=1, secret="gold")
    CURRENT_PRINCIPAL.set(Principal(2))
    assert "secret" not in await to_thread(read.model_dump)
    with pytest.raises(
        PydanticSerializationError, match=r"write `asyncio.to_thread\(…\)` for a thread of a request, or"
    ):
        await get_running_loop().run_in_executor(None, read.model_dump)
    assert await get_running_loop().run_in_executor(None, CoinRead(id=1).model_dump) == {"id": 1, "value": 1}


def test_a_job_may_see_all_private_fields_if_it_says_so() -> None:
    def job() -> Any:
        CURRENT_PRINCIPAL.set(UNRESTRICTED)
        return SealedChest(id=1, secret="gold").model_dump()

    assert "gold" in Context().run(job).values()
    with pytest.raises(PydanticSerializationError, match="SealedChest has private fields"):
        Context().run(SealedChest(id=1, secret="gold").model_dump)


class Purse(SealEntity, table=True):
    """A row with private fields, whose variant shows them to its owner."""

    __tablename__ = "seal_purse"
    belongs_to = "owner_id"
    owner_id: int = Field(foreign_key="seal_person.id")
    gold: int = Field(sa_column_kwargs=PRIVATE)
    gems: list["Gem"] = Relationship(sa_relationship_kwargs={"order_by": "Gem.weight.desc()"})


class PurseRead(Read):
    belongs_to: ClassVar[str | None] = "owner_id"
    owner_id: int = Field(foreign_key="seal_person.id")
    gold: int = Field(sa_column_kwargs=PRIVATE)


class Gem(SealEntity, table=True):
    __tablename__ = "seal_gem"
    belongs_to = "purse_id"
    purse_id: int = Field(foreign_key="seal_purse.id")
    weight: int = Field(sa_column_kwargs=PRIVATE)


class GemRead(Read):
    belongs_to = None


class PurseQuery(ListQuery):
    model, read, default_sort = Purse, PurseRead, "-gold"


class GemsQuery(ListQuery):
    model, read = Purse, PurseRead
    includes = {"gems": "GemRead"}  # noqa: RUF012  what a query variant declares is never changed


async def purses(query: Annotated[PurseQuery, Depends()]) -> Any: ...


async def gems(query: Annotated[GemsQuery, Depends()]) -> Any: ...


async def gems_of_one(query: Annotated[GemsQuery, Depends(GemsQuery.of_one)]) -> Any: ...


def test_an_order_that_reveals_a_private_field_is_refused() -> None:
    assert "the values of gold, a private field, by the order in PurseQuery.default_sort: sort by another" in errors_of(
        purses, list[PurseRead]
    )
    for handler, model in ((gems, list[PurseRead]), (gems_of_one, PurseRead)):
        for who in (Who.MEMBERS, Who.OWNERS):
            assert "the values of weight, a private field, by the order in the `order_by` of Purse.gems" in errors_of(
                handler, model, who
            )


def test_an_order_by_a_private_field_is_for_those_who_see_it() -> None:
    assert errors_of(purses, list[PurseRead], Who.OWNERS) == errors_of(purses, list[PurseRead], Who.SUPERUSERS) == ""
    assert errors_of(gems, list[PurseRead], Who.SUPERUSERS) == ""


class DiaryBase(SQLModel):
    text: str


class SealTable(SQLModel, registry=REGISTRY):
    """A table of these tests that is no entity."""


class Diary(DiaryBase, SealTable, table=True):
    __tablename__ = "seal_diary"
    id: int = Field(primary_key=True)
    owner_id: int = Field(foreign_key="seal_person.id")


class DiaryRead(DiaryBase, Read):
    """A diary."""


async def diaries() -> list[Diary] | None: ...


@pytest.mark.parametrize("handler", [diaries, nothing])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_table_that_is_no_entity_has_no_owners(handler: Any, method: str) -> None:
    says = "is for owners, but Diary is not an `Entity`, so that its rows have none: write `class Diary(Entity"
    assert says in errors_of(handler, list[DiaryRead], Who.OWNERS, method=method)
    assert errors_of(handler, list[DiaryRead], Who.MEMBERS, method=method) == ""


class CoinBrief(Read):
    value: int


class CoinsInChest(Read):
    coins: list[CoinRead]


def chest_query(variant: type[Read]) -> Any:
    """Return a handler of chests with their coins."""
    query = type("Chests", (ListQuery,), {"model": Chest, "read": ChestRead, "includes": {"coins": variant}})

    async def chests_with_coins(query: Annotated[query, Depends()]) -> Any: ...  # type: ignore[valid-type]

    return chests_with_coins


class ChestRead(ChestBase, Read):
    """A chest without its secret."""


@pytest.mark.parametrize(
    ("handler", "model", "readers", "is_refused"),
    [
        (chest_query(CoinRead), list[ChestRead], Who.SUPERUSERS, True),
        (a_chest, CoinsInChest, Who.SUPERUSERS, True),
        (chest_query(CoinRead), list[ChestRead], Who.MEMBERS, False),
        (chest_query(CoinBrief), list[ChestRead], Who.SUPERUSERS, False),
        (a_coin, list[CoinRead], Who.SUPERUSERS, False),
    ],
)
def test_a_variant_that_only_superusers_read_is_not_embedded_for_others(
    handler: Any, model: Any, readers: Who, is_refused: bool
) -> None:
    coins_only, chests = (
        APIRouter(route_class=allowing(read=readers)),
        APIRouter(route_class=allowing(read=Who.MEMBERS)),
    )
    coins_only.add_api_route("/coins/", a_coin, response_model=list[CoinRead])
    chests.add_api_route("/chests/", handler, response_model=model)
    service = small_service(coins_only, chests)
    with (
        pytest.raises(ValueError, match="embeds CoinRead, which only superusers may read")
        if is_refused
        else nullcontext()
    ):
        service.check_routes()
