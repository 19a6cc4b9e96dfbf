"""Pages of statements: what SQLAlchemy documents for a SELECT works with `page`, or is refused with what to write."""

from collections.abc import Callable
from secrets import token_hex
from typing import Annotated, Any, ClassVar

import httpx
import pytest
import sqlalchemy
from fastapi import APIRouter, Depends
from pydantic import AliasChoices, AliasPath, BaseModel
from pydantic import Field as Alias
from sqlalchemy import func, text, true, union, union_all
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.associationproxy import association_proxy
from sqlalchemy.orm import aliased, contains_eager, defer, joinedload, load_only, raiseload, selectinload
from sqlmodel import Field, Relationship, SQLModel, select

from kit import BIGINT, Database, Deletable, Id, ListQuery, Page, Read, ReadSession, Session, found, page
from kit.query.embedding import read_variant
from kit.query.shown_values import load_shown, shown_by
from tests.kit.habits.conftest import Serve
from tests.kit.habits.items import REGISTRY, HabitBook, HabitEntity

pytestmark = pytest.mark.parametrize("way", ["resource", "fast"], indirect=True)


class HabitShelf(HabitEntity, table=True):
    __tablename__ = "shelf_of_habits"
    name: str = Field(max_length=20, index=True)
    room: str = Field(default="hall", max_length=20)
    above_id: int | None = Field(default=None, foreign_key="shelf_of_habits.id", sa_type=BIGINT)
    below: list["HabitShelf"] = Relationship()
    pots: list["HabitPot"] = Relationship(back_populates="shelf", sa_relationship_kwargs={"order_by": "HabitPot.id"})
    labels: list["HabitShelfLabel"] = Relationship()
    names_of_pots: ClassVar[Any] = association_proxy("pots", "name")


class HabitPot(Deletable, HabitEntity, table=True):
    __tablename__ = "habit_pot"
    name: str = Field(max_length=20)
    shelf_id: int | None = Field(default=None, foreign_key="shelf_of_habits.id", sa_type=BIGINT)
    shelf: HabitShelf | None = Relationship(back_populates="pots")
    seeds: list["HabitSeed"] = Relationship(sa_relationship_kwargs={"order_by": "HabitSeed.id"})


class HabitSeed(HabitEntity, table=True):
    __tablename__ = "habit_seed"
    name: str = Field(max_length=20)
    pot_id: int | None = Field(default=None, foreign_key="habit_pot.id", sa_type=BIGINT)


class HabitRack(HabitEntity, table=True):
    """A table whose list is loaded by a join with every row."""

    __tablename__ = "habit_rack"
    name: str = Field(max_length=20)
    cups: list["HabitRackCup"] = Relationship(sa_relationship_kwargs={"lazy": "joined", "order_by": "HabitRackCup.id"})


class HabitRackCup(HabitEntity, table=True):
    __tablename__ = "habit_rack_cup"
    name: str = Field(max_length=20)
    rack_id: int | None = Field(default=None, foreign_key="habit_rack.id", sa_type=BIGINT)


class HabitLink(SQLModel, registry=REGISTRY):
    """The base class of tables that are no entities."""


class HabitShelfLabel(HabitLink, table=True):
    """A link table with a primary key of two columns."""

    __tablename__ = "label_of_habits"
    shelf_id: int = Field(foreign_key="shelf_of_habits.id", primary_key=True, sa_type=BIGINT)
    seed_id: int = Field(foreign_key="habit_seed.id", primary_key=True, sa_type=BIGINT)
    seed: HabitSeed = Relationship(sa_relationship_kwargs={"lazy": "raise"})


class SeedRead(Read):
    name: str


class PotRead(Read):
    name: str


class PotWithSeeds(PotRead):
    seeds: list[SeedRead]


class ShelfRead(Read):
    name: str


class PotWithShelf(PotRead):
    shelf: ShelfRead | None


class ShelfWithPots(ShelfRead):
    pots: list[PotRead]


class ShelfWithSeeds(ShelfRead):
    pots: list[PotWithSeeds]


class ShelfTree(ShelfRead):
    below: list["ShelfTree"]


class ShelfOfNames(Read):
    """Names of other rows, over a proxy, and by paths."""

    names_of_pots: list[str]
    first: str | None = Alias(default=None, validation_alias=AliasPath("pots", 0, "name"))
    called: str = Alias(validation_alias=AliasChoices("nickname", "name"))


class LabelRead(BaseModel):
    seed: SeedRead


class ShelfWithLabels(ShelfRead):
    labels: list[LabelRead]


class RackRead(Read):
    name: str


class CupRead(Read):
    name: str


class RackWithCups(RackRead):
    cups: list[CupRead]


Shelf: Any = HabitShelf
Pot: Any = HabitPot
Made = Callable[[], Any]


@pytest.fixture
async def filled(database: Database) -> None:
    """Store two shelves, of which one is below the other: with two pots, of which one has a seed, and without pots."""
    async with database.write() as session, session.begin():
        seed = HabitSeed(name="pea")
        pots = [HabitPot(name="red", seeds=[seed]), HabitPot(name="blue")]
        top = HabitShelf(name="b", pots=pots, below=[HabitShelf(name="a", room="attic")])
        session.add_all([top, HabitRack(name="b", cups=[HabitRackCup(name="x"), HabitRackCup(name="y")])])
        await session.flush()
        session.add_all([HabitShelfLabel(shelf_id=top.id, seed_id=seed.id), HabitRack(name="a")])


def lists(router: APIRouter, statement: Made, variant: Any = ShelfRead, entity: Any = HabitShelf, **own: Any) -> None:
    """Add the list of a statement to a router, with its query variant."""
    declared = {"model": entity, "read": variant, "sorts": ("name",), "filters": ("name",), **own}
    query_variant: Any = type("ShelfQuery", (ListQuery,), declared)

    @router.get("/rows", response_model=list[variant])
    async def list_rows(query: Annotated[Any, Depends(query_variant)], session: ReadSession) -> Page:
        return await page(session, query, statement())


async def all_of(client: httpx.AsyncClient, url: str) -> list[Any]:
    """Return the rows of a list, from all of its pages."""
    response = await client.get(url)
    assert response.status_code == 200
    following = [await all_of(client, link["url"]) for name, link in response.links.items() if name == "next"]
    return sum(following, response.json())


async def refusal(router: APIRouter, serve: Serve, caplog: pytest.LogCaptureFixture, url: str = "/rows") -> str:
    """Return the message in the log for a list that fails."""
    client = await serve(router)
    assert (await client.get(url)).status_code == 500
    return caplog.text


@pytest.mark.parametrize(
    ("statement", "instead"),
    [
        (
            lambda: select(Shelf).order_by(Shelf.name),
            'write `default_sort = "-created_at"`, or another field, in Shelf',
        ),
        (lambda: select(Shelf).limit(1), "write `select(HabitShelf).where(col(HabitShelf.id).in_(…))`"),
        (lambda: select(Shelf).offset(1), "by the parameters `limit` and `offset` of ShelfQuery"),
        (lambda: sqlalchemy.select(Shelf).fetch(1), "leave `limit` and `offset` out of the statement"),
    ],
)
@pytest.mark.parametrize("url", ["/rows", "/rows?count=true&sort=name"])
async def test_an_order_or_a_limit_of_a_statement_is_refused(
    router: APIRouter, serve: Serve, caplog: Any, statement: Made, instead: str, url: str
) -> None:
    lists(router, statement)
    assert instead in await refusal(router, serve, caplog, url)


async def test_an_order_of_the_conditions_of_a_query_variant_is_refused(
    router: APIRouter, serve: Serve, caplog: Any
) -> None:
    lists(router, lambda: select(Shelf), narrowed=lambda _, statement: statement.order_by(Shelf.name))
    assert "leave `order_by` out of the statement" in await refusal(router, serve, caplog, "/rows?name=a")


@pytest.mark.parametrize(
    "statement",
    [
        lambda: select(aliased(Shelf)),
        lambda: select(HabitBook),
        lambda: select(Shelf, Shelf.id),
        lambda: select(Shelf.id, Shelf.name),
        lambda: select(Shelf).with_only_columns(Shelf.id),
        lambda: select(Shelf).from_statement(text("SELECT * FROM shelf_of_habits")),
        lambda: union(select(Shelf), select(Shelf)),
        lambda: Shelf,
    ],
)
@pytest.mark.parametrize("own", [{}, {"narrowed": lambda _, statement: statement.where(Shelf.id > 0)}])
async def test_a_statement_of_other_rows_is_refused(
    router: APIRouter, serve: Serve, caplog: Any, statement: Made, own: Any
) -> None:
    lists(router, statement, **own)
    assert "`page` with ShelfQuery takes `select(HabitShelf)`" in await refusal(router, serve, caplog)


@pytest.mark.parametrize("options", [{}, {"yield_per": 1}, {"stream_results": True}])
async def test_a_select_of_sqlalchemy_is_listed(router: APIRouter, serve: Serve, filled: None, options: Any) -> None:
    lists(router, lambda: sqlalchemy.select(Shelf).where(Shelf.id > 0).execution_options(**options))
    client = await serve(router)
    response = await client.get("/rows?count=true&sort=name")
    assert ([row["name"] for row in response.json()], response.headers["X-Total-Count"]) == (["a", "b"], "2")


@pytest.mark.parametrize(
    "option",
    [
        lambda: load_only(Shelf.name),
        lambda: load_only(Shelf.id, raiseload=True),
        lambda: defer(Shelf.name),
        lambda: selectinload(Shelf.pots).load_only(Pot.id),
        lambda: raiseload("*"),
    ],
)
@pytest.mark.parametrize("variant", [ShelfRead, ShelfWithPots])
async def test_values_that_a_statement_leaves_out_are_loaded_if_they_are_shown(
    router: APIRouter, serve: Serve, filled: None, option: Made, variant: Any
) -> None:
    lists(router, lambda: select(Shelf).options(option()), variant, sorts=("name", "room"))
    client = await serve(router)
    assert [row["name"] for row in await all_of(client, "/rows?sort=room&limit=1")] == ["a", "b"]
    assert [row["name"] for row in await all_of(client, "/rows?sort=-name&limit=1")] == ["b", "a"]


RELATED: list[tuple[Any, Any, Any]] = [
    (HabitShelf, ShelfWithPots, [["red", "blue"], []]),
    (HabitShelf, ShelfWithSeeds, [[["red", ["pea"]], ["blue", []]], []]),
    (HabitShelf, ShelfTree, [[["a", []]], []]),
    (HabitShelf, ShelfWithLabels, [["pea"], []]),
    (HabitPot, PotWithShelf, ["b", "b"]),
]


def short(value: Any) -> Any:
    """Return the values of a row in the JSON of a response, without its ids; of a single value, that one."""
    if isinstance(value, list):
        return [short(part) for part in value]
    if not isinstance(value, dict):
        return value
    values = [short(part) for name, part in value.items() if name != "id"]
    return values if len(values) > 1 else values[0]


@pytest.mark.parametrize(("entity", "variant", "expected"), RELATED)
async def test_related_rows_of_a_variant_are_loaded(
    router: APIRouter, serve: Serve, filled: None, entity: Any, variant: Any, expected: Any
) -> None:
    lists(router, lambda: select(entity), variant, entity)

    @router.get("/loaded", response_model=list[variant])
    async def loaded(session: ReadSession) -> Any:
        return (await session.exec(select(entity).order_by(entity.id))).all()

    @router.get("/loaded/{row_id}", response_model=variant)
    async def one(row_id: Id, session: ReadSession) -> Any:
        await session.connection()
        return found(await session.get(entity, row_id))

    client = await serve(router)
    rows = await all_of(client, "/rows?limit=1")
    assert [short(row)[1] for row in rows] == expected
    assert (await client.get("/loaded")).json() == rows
    assert (await client.get(f"/loaded/{rows[0]['id']}")).json() == rows[0]


async def test_values_behind_a_proxy_and_a_path_are_loaded(router: APIRouter, serve: Serve, filled: None) -> None:
    lists(router, lambda: select(Shelf), ShelfOfNames)

    @router.get("/loaded/{row_id}", response_model=ShelfOfNames, response_model_by_alias=False)
    async def one(row_id: Id, session: ReadSession) -> Any:
        return found(await session.get(Shelf, row_id))

    client = await serve(router)
    first, other = await all_of(client, "/rows")
    assert (first["names_of_pots"], first["first"], first["called"]) == (["red", "blue"], "red", "b")
    assert (other["names_of_pots"], other["first"]) == ([], None)
    assert (await client.get(f"/loaded/{first['id']}")).json() == first


async def test_softly_deleted_rows_are_no_related_rows_unless_the_statement_loads_them(
    new_router: Any, serve: Serve, filled: None, database: Database
) -> None:
    async with database.write() as session, session.begin():
        await session.exec(sqlalchemy.update(Pot).where(Pot.name == "red").values(deleted_at=func.now()))
    lists(router := new_router(), lambda: select(Shelf), ShelfWithPots)
    lists(
        loading := new_router(prefix="/loading"), lambda: select(Shelf).options(selectinload(Shelf.pots)), ShelfWithPots
    )
    client = await serve(router, loading)
    assert short(await all_of(client, "/rows?name=b")) == [["b", ["blue"]]]
    assert short(await all_of(client, "/loading/rows?name=b")) == [["b", ["red", "blue"]]]


async def test_an_included_row_has_the_related_rows_of_its_variant(
    router: APIRouter, serve: Serve, filled: None
) -> None:
    included = {"pots": "PotWithSeeds", "below": "ShelfWithPots"}
    lists(router, lambda: select(Shelf), includes=included)
    lists(
        pots := APIRouter(prefix="/pots", route_class=router.route_class),
        lambda: select(Pot),
        PotRead,
        HabitPot,
        includes={"shelf": "ShelfWithPots"},
    )
    one_pot: Any = type(
        "PotQuery", (ListQuery,), {"model": HabitPot, "read": PotRead, "includes": {"shelf": "ShelfWithPots"}}
    )

    @router.get("/pot/{pot_id}", response_model=PotRead)
    async def read_pot(pot_id: Id, query: Annotated[Any, Depends(one_pot.of_one)], session: ReadSession) -> Any:
        return found(await session.get(HabitPot, pot_id, options=query.loading))

    client = await serve(router, pots)
    (shelf,) = await all_of(client, "/rows?include=pots,below&name=b")
    assert short(shelf) == ["b", [["red", ["pea"]], ["blue", []]], [["a", []]]]
    red, _ = await all_of(client, "/pots/rows?include=shelf&sort=id")
    assert short(red) == ["red", ["b", ["red", "blue"]]]
    assert (await client.get(f"/pot/{red['id']}?include=shelf")).json() == red


@pytest.mark.parametrize(
    ("entity", "variant", "statement"),
    [
        (HabitShelf, ShelfWithPots, lambda: select(Shelf).options(joinedload(Shelf.pots))),
        (HabitPot, PotWithShelf, lambda: select(Pot).options(joinedload(Pot.shelf).joinedload(Shelf.pots))),
        (HabitPot, PotWithShelf, lambda: select(Pot).join(Pot.shelf).options(contains_eager(Pot.shelf))),
        (HabitRack, RackRead, lambda: select(HabitRack)),
        (HabitRack, RackWithCups, lambda: select(HabitRack)),
        (
            HabitShelf,
            ShelfWithPots,
            lambda: select(Shelf).outerjoin(Shelf.pots).options(contains_eager(Shelf.pots)).distinct(),
        ),
    ],
)
@pytest.mark.parametrize("parameters", ["limit=1", "limit=1&sort=-name", "limit=1&name__in=a,b,red,blue", "offset=0"])
async def test_rows_that_are_loaded_by_a_join_are_listed_once(
    router: APIRouter, serve: Serve, filled: None, entity: Any, variant: Any, statement: Made, parameters: str
) -> None:
    lists(router, statement, variant, entity)
    client = await serve(router)
    rows = await all_of(client, f"/rows?{parameters}")
    assert sorted(row["name"] for row in rows) == (["blue", "red"] if entity is HabitPot else ["a", "b"])
    names = {ShelfWithPots: "pots", RackWithCups: "cups"}
    if variant in names:
        assert {row["name"]: len(row[names[variant]]) for row in rows} == {"a": 0, "b": 2}


async def test_a_join_that_a_page_would_cut_off_is_refused(
    router: APIRouter, serve: Serve, caplog: Any, filled: None
) -> None:
    lists(router, lambda: select(Shelf).join(Shelf.pots).options(contains_eager(Shelf.pots)), ShelfWithPots)
    assert "load the list by `selectinload` in place of `contains_eager`" in await refusal(router, serve, caplog)


@pytest.mark.parametrize(
    "statement",
    [
        lambda: select(Shelf).join(Shelf.pots).where(Pot.name != "green"),
        lambda: select(Shelf).outerjoin(Pot),
        lambda: select(Shelf).where(Pot.shelf_id == Shelf.id),
        lambda: select(Shelf).where((Pot.shelf_id == Shelf.id) | (Pot.id == 1)),
        lambda: select(Shelf).select_from(Pot).join(Shelf),
        lambda: select(Shelf).join(Pot, full=True).where(Pot.id == 1),
        lambda: select(Shelf).join(subqueried := select(Pot).subquery(), subqueried.c.shelf_id == Shelf.id),
        lambda: select(Shelf).join(HabitShelfLabel),
        lambda: select(Shelf).join(Shelf.pots).group_by(Shelf.id, Pot.name),
        lambda: select(Shelf).join(Shelf.pots).group_by(Shelf.name),
        lambda: select(Shelf).join(
            counted := select(Pot.shelf_id, Pot.name, func.count()).group_by(Pot.shelf_id, Pot.name).subquery(),
            counted.c.shelf_id == Shelf.id,
        ),
        lambda: select(Shelf).join(
            either := union_all(select(Pot.shelf_id), select(Pot.shelf_id)).cte(), either.c.shelf_id == Shelf.id
        ),
        lambda: select(Shelf).join(joined := select(Shelf.id).join(Pot).subquery(), joined.c.id == Shelf.id),
    ],
)
@pytest.mark.parametrize("parameters", ["", "?sort=name&limit=1", "?name=b&count=true"])
async def test_a_join_that_repeats_rows_is_refused(
    router: APIRouter, serve: Serve, caplog: Any, statement: Made, parameters: str
) -> None:
    lists(router, statement)
    assert "or add `.distinct()`" in await refusal(router, serve, caplog, f"/rows{parameters}")


async def test_a_join_of_the_conditions_of_a_query_variant_that_repeats_rows_is_refused(
    router: APIRouter, serve: Serve, caplog: Any
) -> None:
    lists(router, lambda: select(Shelf), narrowed=lambda _, statement: statement.join(Pot))
    assert "or add `.distinct()`" in await refusal(router, serve, caplog, "/rows?name=a")


@pytest.mark.parametrize(
    "statement",
    [lambda: select(Shelf).ext(distinct_on(Shelf.id)), lambda: select(Shelf).join(Pot).ext(distinct_on(Shelf.name))],
)
async def test_distinct_with_columns_is_refused(router: APIRouter, serve: Serve, caplog: Any, statement: Made) -> None:
    lists(router, statement)
    assert "write `.distinct()` without columns" in await refusal(router, serve, caplog, "/rows?sort=name")


class HabitTray(HabitEntity, table=True):
    __tablename__ = "habit_tray"
    name: str = Field(max_length=20)
    colours: list[str] = Field(default=["red"])


class HabitTrayRead(Read):
    name: str
    colours: list[str]


class HabitTrayQuery(ListQuery):
    model = HabitTray
    read = HabitTrayRead
    sorts = ("name",)


async def test_distinct_rows_with_json_are_refused_with_a_group_that_finds_them(
    router: APIRouter, serve: Serve, database: Database, caplog: Any
) -> None:
    joined = select(HabitTray).join(Shelf, Shelf.name != HabitTray.name)

    @router.get("/distinct", response_model=list[HabitTrayRead])
    async def distinct(query: Annotated[HabitTrayQuery, Depends()], session: ReadSession) -> Page:
        return await page(session, query, joined.distinct())

    @router.get("/grouped", response_model=list[HabitTrayRead])
    async def grouped(query: Annotated[HabitTrayQuery, Depends()], session: ReadSession) -> Page:
        return await page(session, query, joined.group_by(HabitTray.id))  # type: ignore[arg-type]

    async with database.write() as session, session.begin():
        session.add_all([HabitTray(name="b"), HabitTray(name="a"), Shelf(name="c"), Shelf(name="d")])
    client = await serve(router)
    answer = await client.get("/grouped?sort=name&count=true")
    assert [row["name"] for row in answer.json()] == ["a", "b"]
    assert answer.headers["x-total-count"] == "2"
    assert (await client.get("/distinct")).status_code == 500
    assert "write `.group_by(HabitTray.id)` in place of `.distinct()`" in caplog.text


@pytest.mark.parametrize(
    "statement",
    [
        lambda: select(Pot).join(Pot.shelf).where(Shelf.name == "b"),
        lambda: select(Pot).outerjoin(Pot.shelf).outerjoin(above := aliased(Shelf), Shelf.above_id == above.id),
        lambda: select(Pot).where(Shelf.id == Pot.shelf_id),
        lambda: select(Pot).select_from(Shelf).join(Pot),
        lambda: (
            select(Pot)
            .outerjoin(HabitSeed, HabitSeed.id == Pot.version)
            .outerjoin(
                HabitShelfLabel,
                (HabitShelfLabel.shelf_id == Pot.shelf_id) & (HabitShelfLabel.seed_id == HabitSeed.id),
            )
        ),
        lambda: select(Pot).where(select(HabitSeed).where(HabitSeed.pot_id == Pot.id).exists() | (Pot.name == "blue")),
        lambda: select(Pot).join(Shelf, Pot.shelf_id == Shelf.id).group_by(Pot.id, Shelf.id).having(func.count() > 0),
        lambda: (
            select(Pot)
            .join(counted := select(Pot.shelf_id, func.count().label("n")).group_by(Pot.shelf_id).subquery(), true())
            .where(counted.c.shelf_id == Pot.shelf_id, counted.c.n > 0)
        ),
        lambda: select(Pot).join(found := select(Shelf.id).distinct().cte(), found.c.id == Pot.shelf_id),
        lambda: select(Pot).join(shelf := select(Shelf).subquery(), shelf.c.id == Pot.shelf_id),
        lambda: select(Pot).join(
            either := union(select(Shelf.id), select(Shelf.id)).cte(), either.c.id == Pot.shelf_id
        ),
    ],
)
@pytest.mark.parametrize("parameters", ["limit=1", "limit=1&sort=-name", "limit=1&name__in=red,blue"])
async def test_a_join_that_repeats_no_row_is_listed(
    router: APIRouter, serve: Serve, filled: None, statement: Made, parameters: str
) -> None:
    lists(router, statement, PotRead, HabitPot)
    rows = await all_of(await serve(router), f"/rows?{parameters}")
    assert sorted(row["name"] for row in rows) == ["blue", "red"]


@pytest.mark.parametrize(
    "statement",
    [lambda: select(Shelf).join(Shelf.pots).distinct(), lambda: select(Shelf).join(Shelf.pots).group_by(Shelf.id)],
)
@pytest.mark.parametrize("parameters", ["count=true", "count=true&name=b", "count=true&name__in=b,c&sort=-name"])
async def test_a_total_is_the_number_of_listed_rows(
    router: APIRouter, serve: Serve, filled: None, statement: Made, parameters: str
) -> None:
    lists(router, statement)
    response = await (await serve(router)).get(f"/rows?{parameters}")
    assert (len(response.json()), response.headers["X-Total-Count"]) == (1, "1")


@pytest.mark.parametrize(
    "parameters", ["sort=-name", "sort=name&limit=1", "sort=room", "offset=0&name__in=a,b&sort=-room"]
)
async def test_distinct_rows_are_listed_after_an_offset(
    router: APIRouter, serve: Serve, filled: None, parameters: str
) -> None:
    nullable = {"sorts": ("name", "room", "above_id"), "filters": ("name",)}
    lists(router, lambda: select(Shelf).outerjoin(Shelf.pots).distinct(), **nullable)
    client = await serve(router)
    rows = await all_of(client, f"/rows?{parameters}")
    assert len(rows) == 2
    assert await all_of(client, f"/rows?{parameters.replace('offset=0&', '')}&offset=1") == rows[1:]
    assert len(await all_of(client, "/rows?sort=above_id&offset=1")) == 1


@pytest.mark.usefixtures("way")
async def test_a_row_that_was_deleted_after_the_page_was_read_has_no_related_rows(
    database: Database, filled: None
) -> None:
    async with database.read() as session, database.write() as other:
        rows: Any = (await session.exec(select(HabitShelf).options(load_only(Shelf.name)))).all()
        await other.exec(sqlalchemy.update(Pot).values(shelf_id=None))
        await other.exec(sqlalchemy.delete(HabitShelfLabel))
        await other.exec(sqlalchemy.update(Shelf).values(above_id=None))
        await other.exec(sqlalchemy.delete(Shelf))
        await other.commit()
        await load_shown(session, rows, shown_by(ShelfWithPots) | {(("room",), ())})
        assert sorted((row.name, row.room, row.pots) for row in rows) == [("a", None, []), ("b", None, [])]


async def test_a_new_row_has_the_related_rows_that_a_list_shows(
    router: APIRouter, serve: Serve, filled: None, database: Database
) -> None:
    async with database.write() as session, session.begin():
        await session.exec(sqlalchemy.update(Pot).where(Pot.name == "red").values(deleted_at=func.now()))
    lists(router, lambda: select(Shelf), ShelfWithPots)

    @router.post("/racks", response_model=RackWithCups)
    async def add_rack(session: Session) -> Any:
        session.add(rack := HabitRack(name="c"))
        return rack

    @router.patch("/racks", response_model=RackWithCups)
    async def forget_rack(session: Session) -> Any:
        rack = (await session.exec(select(HabitRack).where(HabitRack.name == "b"))).unique().one()
        session.expire(rack)
        return rack

    @router.get("/shelves", response_model=list[ShelfWithPots])
    async def loaded(session: ReadSession) -> Any:
        return (await session.exec(select(Shelf).order_by(Shelf.id))).all()

    client = await serve(router)
    assert short((await client.post("/racks")).json()) == ["c", []]
    assert short((await client.patch("/racks")).json()) == ["b", ["x", "y"]]
    assert (await client.get("/shelves")).json() == await all_of(client, "/rows")


async def test_a_query_may_include_a_class_in_place_of_its_name(router: APIRouter, serve: Serve, filled: None) -> None:
    lists(router, lambda: select(Shelf), includes={"pots": PotWithSeeds, "below": ShelfTree})
    client = await serve(router)
    (shelf,) = await all_of(client, "/rows?include=pots&name=b")
    assert short(shelf) == ["b", [["red", ["pea"]], ["blue", []]]]
    assert "ShelfTree" in (await client.get("/openapi.json")).json()["components"]["schemas"]


def variants_of_pots(name: str, *modules: str) -> list[type[Read]]:
    """Return read variants of pots with this name, as other modules would define them."""
    return [type(name, (PotRead,), {"__module__": module}) for module in modules]


async def test_of_included_variants_with_one_name_that_of_the_module_of_the_entity_is_meant(serve: Serve) -> None:
    name = f"Pot{token_hex(8)}"  # a name that no other case has
    here, _ = variants_of_pots(name, HabitPot.__module__, "shop.other")
    assert read_variant(name, HabitShelf, "pots") is here


async def test_an_included_variant_whose_name_others_have_is_refused(router: APIRouter, serve: Serve) -> None:
    variants = variants_of_pots(f"Pot{token_hex(8)}", "shop.pot", "shop.other")
    lists(router, lambda: select(Shelf), includes={"pots": variants[0].__name__})
    with pytest.raises(TypeError, match=r"of which there are several, in shop.other, shop.pot: write the class itself"):
        await serve(router)


async def test_an_included_variant_that_does_not_exist_is_refused(router: APIRouter, serve: Serve) -> None:
    lists(router, lambda: select(Shelf), includes={"pots": "PotRed"})
    with pytest.raises(TypeError, match="`includes` names the read variant 'PotRed', which no module defines: write"):
        await serve(router)
