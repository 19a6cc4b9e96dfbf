"""Users: known by a username and an e-mail address, each unique whatever its case. Their password is never shown."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import StrictBool
from sqlmodel import CheckConstraint, Field, Index, SQLModel, select, text

from kit.auth.passwords import Password, hashed
from kit.auth.permissions import Who
from kit.http.problems import found
from kit.models.entities import Body, Changes, Entity, Read, Stamped, sorted_by
from kit.models.types import Email, Id, Name, Username
from kit.operations.bulk import Batch, Many, OnError, Refused, adding, create_many
from kit.operations.preconditions import IfMatch
from kit.operations.unit_of_work import ReadSession, Session, allowing
from kit.query.list_query import ListQuery
from kit.query.pages import Page, page

MAX_AT_ONCE = 50  # a password takes a tenth of a second to hash, and a request has a deadline


class UserBase(SQLModel):
    username: Username = Field(min_length=3, max_length=50, schema_extra={"examples": ["natasha", "steve", "bruce"]})
    email: Email = Field(
        max_length=254,
        sa_column_kwargs={"info": {"private": True}},
        schema_extra={"examples": ["natasha@example.com", "steve@example.com", "bruce@example.com"]},
    )
    full_name: Name | None = Field(default=None, max_length=200, schema_extra={"examples": ["Natasha Roman"]})
    is_active: StrictBool = True
    is_superuser: StrictBool = False


class User(UserBase, Entity, table=True):
    belongs_to = "id"
    reserved = {"is_active": True, "is_superuser": False}
    __table_args__ = (
        Index("uq_user_username", text("lower(username)"), unique=True),
        Index("uq_user_email", text("lower(email)"), unique=True),
        CheckConstraint("length(username) BETWEEN 3 AND 50", name="username"),
        CheckConstraint("length(email) BETWEEN 3 AND 254", name="email"),
        CheckConstraint("length(full_name) BETWEEN 1 AND 200", name="full_name"),
        *sorted_by("username", "email", "full_name", "is_active", "is_superuser", "created_at"),
        {"sqlite_autoincrement": True},
    )
    hashed_password: str = Field(max_length=255, repr=False)
    generation: int = Field(default=0, sa_column_kwargs={"server_default": "0"})


class UserCreate(UserBase, Body):
    """A new user."""

    password: Password = Field(schema_extra={"examples": ["correct horse battery"]})


Few = Annotated[Batch[UserCreate], Field(max_length=MAX_AT_ONCE)]


class UserRead(Stamped, UserBase, Read):
    """A user, without the password."""


class UserBrief(Read):
    """A user as others embed it."""

    username: Username


class UserUpdate(UserCreate, Changes):
    """What may change of a user; a new password too."""


class UserReplace(UserCreate):
    """A whole user; the password stays unless a new one is given."""

    password: Password = Field(default=None, schema_extra={"examples": ["correct horse battery"]})


class UserQuery(ListQuery):
    model = User
    read = UserRead
    filters = ("username", "email", "full_name", "is_active", "is_superuser", "created_at")
    sorts = ("username", "email", "full_name", "created_at")
    search = ("username", "email", "full_name")
    default_sort = "-created_at"


router = APIRouter(
    prefix="/users", tags=["users"], route_class=allowing(read=Who.MEMBERS, create=Who.ANYONE, change=Who.OWNERS)
)


async def columns(fields: dict[str, Any]) -> dict[str, Any]:
    """A body's fields as columns: the password becomes its hash; where there is none, the old one stays."""
    password = fields.pop("password", None)
    return fields | ({"hashed_password": await hashed(password)} if password else {})


async def make_users(session: Session, new: Sequence[UserCreate]) -> list[User]:
    users = [User.model_validate(await columns(one.model_dump())) for one in new]
    session.add_all(users)
    return users


@router.get("/", response_model=list[UserRead], summary="List users")
async def list_users(query: Annotated[UserQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, select(User))


@router.post("/", response_model=UserRead, status_code=201, summary="Create a user")
async def create_user(new: UserCreate, session: Session) -> User:
    return (await make_users(session, [new]))[0]


@router.post("/bulk", response_model=list[UserRead], status_code=201, summary="Create many users")
async def bulk_create_users(new: Few, session: Session, on_error: OnError = "abort") -> Many:
    ready = [one if isinstance(one, Refused) else await columns(one.model_dump()) for one in new]
    return await create_many(session, ready, on_error, adding(User))


@router.get("/{user_id}", response_model=UserRead, summary="Read a user")
async def read_user(user_id: Id, query: Annotated[UserQuery, Depends(UserQuery.of_one)], session: ReadSession) -> User:
    return found(await session.get(User, user_id, query.loading))


@router.put("/{user_id}", response_model=UserRead, summary="Replace a user")
async def replace_user(user_id: Id, new: UserReplace, session: Session, matching: IfMatch) -> User:
    fields = await columns(new.model_dump())
    user = matching(found(await session.get(User, user_id)))
    user.sqlmodel_update(fields)
    return user


@router.patch("/{user_id}", response_model=UserRead, summary="Update a user")
async def update_user(user_id: Id, changes: UserUpdate, session: Session, matching: IfMatch) -> User:
    fields = await columns(changes.model_dump(exclude_unset=True))
    user = matching(found(await session.get(User, user_id)))
    user.sqlmodel_update(fields)
    return user


@router.delete("/{user_id}", status_code=204, summary="Delete a user, and what is theirs")
async def delete_user(user_id: Id, session: Session, matching: IfMatch) -> None:
    await session.delete(matching(found(await session.get(User, user_id))))
