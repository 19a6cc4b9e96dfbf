"""Demo data: fills an empty database with a few rows of every resource."""

import secrets
from collections.abc import Sequence
from decimal import Decimal
from typing import TypeVar
from uuid import UUID

from pydantic import SecretStr
from sqlmodel import SQLModel, select

from heroes.category import Category, CategoryCreate
from heroes.hero import Hero, HeroCreate
from heroes.item import Item, ItemCreate
from heroes.post import PostCreate, make_posts
from heroes.power_transfer import PowerTransferCreate, make_power_transfers
from heroes.product import Product, ProductCreate, ProductStatus
from heroes.review import ReviewCreate, make_reviews
from heroes.stock_movement import StockMovementCreate, make_movements
from heroes.stock_transfer import StockTransferCreate, make_stock_transfers
from heroes.team import Team, TeamCreate
from heroes.user import User, UserCreate, make_users
from kit import Database, Entity, insert_many
from kit.database.sessions import WriteSession

E = TypeVar("E", bound=Entity)
TEAMS = (
    TeamCreate(name="Z-Team", headquarters="Sister Margaret's Bar"),
    TeamCreate(name="Wonderful League", headquarters="Hall of Kindness, 3rd floor"),
)
HEROES = (
    HeroCreate(name="Rusty-Man", secret_name="Tommy Sharp", age=48, power=120),
    HeroCreate(name="Dr. Weird", secret_name="Steve Weird", age=44, power=310),
    HeroCreate(name="Tarantula", secret_name="Natalia Roman-on", age=32, power=80),
    HeroCreate(name="Spider-Boy", secret_name="Pedro Parqueador", age=17, power=95),
    HeroCreate(name="Captain North America", secret_name="Esteban Rogelios", power=150),
)
PRODUCTS = (
    ProductCreate(name="Enamel mug", slug="enamel-mug", sku="MUG-1", description="Blue rim."),
    ProductCreate(name="Frying pan", slug="frying-pan", sku="PAN-1"),
)


async def fill(database: Database) -> None:
    """Fill the database in one transaction, if it is empty."""
    async with database.write() as session, session.begin():
        await session.lock_exclusively("demo data")
        if not await has_rows(session):
            people = await fill_people(session)
            await fill_heroes(session)
            await fill_shop(session, *people)


async def has_rows(session: WriteSession) -> bool:
    """Return whether the database has rows of these resources. Rows of other resources refer to one of them."""
    for entity in (Team, Hero, User, Category, Product):
        if (await session.exec(select(entity.id).limit(1))).first() is not None:
            return True
    return False


async def stored(session: WriteSession, entity: type[E], rows: Sequence[SQLModel]) -> Sequence[E]:
    """Store rows, and return them with their ids."""
    entities = await insert_many(session, entity, rows)
    await session.flush()
    return entities


async def fill_people(session: WriteSession) -> Sequence[User]:
    people = [user_without_login("pepper", "Pepper Pots"), user_without_login("wong", "Wong")]
    users = await make_users(session, people)
    await session.flush()
    return users


async def fill_heroes(session: WriteSession) -> None:
    team, league = await stored(session, Team, TEAMS)
    heroes = [
        hero.model_copy(update={"team_id": team_id})
        for hero, team_id in zip(HEROES, (team.id, team.id, league.id, league.id, None), strict=True)
    ]
    rusty, weird, *_ = await stored(session, Hero, heroes)
    await make_power_transfers(session, [PowerTransferCreate(from_id=weird.id, to_id=rusty.id, amount=10)])


async def fill_shop(session: WriteSession, pepper: User, wong: User) -> None:
    await insert_many(session, Item, [ItemCreate(name="Arc lamp", price=Decimal("79.90"), owner_id=pepper.id)])
    await make_posts(session, [PostCreate(title="On tidying up", body="Label everything.", author_id=wong.id)])
    mug, pan = await fill_kitchen(session, pepper)
    await make_reviews(session, [review(mug, pepper, 5), review(mug, wong, 4), review(pan, wong, 2)])
    await make_movements(session, [StockMovementCreate(product_id=mug, quantity=40, reason="First delivery")])
    await make_stock_transfers(session, [StockTransferCreate(source_id=mug, target_id=pan, quantity=5)])


async def fill_kitchen(session: WriteSession, seller: User) -> list[UUID]:
    (kitchen,) = await insert_many(session, Category, [CategoryCreate(name="Kitchenware", slug="kitchenware")])
    common = {"category_id": kitchen.id, "created_by_id": seller.id, "status": ProductStatus.active}
    products = [product.model_copy(update=common) for product in PRODUCTS]
    return [product.id for product in await insert_many(session, Product, products)]


def user_without_login(username: str, full_name: str) -> UserCreate:
    """Return a user who cannot log in: the password is random and is not kept."""
    password = SecretStr(secrets.token_urlsafe(24))
    return UserCreate(username=username, email=f"{username}@example.com", full_name=full_name, password=password)


def review(product_id: UUID, author: User, rating: int) -> ReviewCreate:
    return ReviewCreate(product_id=product_id, author_id=author.id, rating=rating)
