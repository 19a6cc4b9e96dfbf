"""Users: username and e-mail address are each unique, whatever the case. The password is never shown."""

import secrets
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Depends
from pydantic import StrictBool
from sqlalchemy import Integer
from sqlmodel import AutoString, CheckConstraint, Field, Index, SQLModel, select, text

from kit import (
    PRIVATE,
    Batch,
    Body,
    Changes,
    Email,
    Entity,
    Id,
    IfMatch,
    InvalidElement,
    ListQuery,
    Many,
    Name,
    OnError,
    Page,
    Password,
    Read,
    ReadSession,
    Session,
    Stamped,
    Username,
    Who,
    allowing,
    create_many,
    found,
    hashed,
    page,
    sorted_by,
)

MAX_AT_ONCE = 50  # hashing a password takes a tenth of a second, and a request has a deadline


def first_generation() -> int:
    """A random number, so that the token of a deleted user opens no account, even if their id is given again."""
    return secrets.randbelow(2**30)  # half of the column's range is left to rise


class UserBase(SQLModel):
    belongs_to: ClassVar[str | None] = "id"

    username: Username = Field(min_length=3, max_length=50, schema_extra={"examples": ["natasha", "steve", "bruce"]})
    email: Email = Field(
        max_length=254,
        sa_column_kwargs=PRIVATE,
        schema_extra={"examples": ["natasha@example.com", "steve@example.com", "bruce@example.com"]},
    )
    full_name: Name | None = Field(default=None, max_length=200, schema_extra={"examples": ["Natasha Roman"]})
    is_active: StrictBool = True
    is_superuser: StrictBool = False


class User(UserBase, Entity, table=True):
    reserved = {"is_active": True, "is_superuser": False}
    __table_args__ = (
        Index("uq_user_username", text("lower(username)"), unique=True),
        Index("uq_user_email", text("lower(email)"), unique=True),
        *sorted_by("username", "email", "full_name", "is_active", "is_superuser", "created_at"),
    )
    hashed_password: str = Field(sa_type=AutoString(255), repr=False, exclude=True)
    generation: int = Field(default_factory=first_generation, sa_type=Integer, sa_column_kwargs={"server_default": "0"})


class UserCreate(UserBase, Body):
    """A new user."""

    password: Password = Field(schema_extra={"examples": ["correct horse battery"]})


Few = Annotated[Batch[UserCreate], Field(max_length=MAX_AT_ONCE)]


class UserRead(Stamped, UserBase, Read):
    """A user, without the password."""


class UserBrief(Read):
    """A user, as other resources embed it."""

    username: Username


class UserUpdate(UserCreate, Changes):
    """Changes to a user, and perhaps a new password; every field may be left out."""


class UserReplace(UserCreate):
    """All fields of a user. Without `password`, the old password stays."""

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
    """The columns of these fields: the password becomes its hash; without a password, the old hash stays."""
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
    ready = [one if isinstance(one, InvalidElement) else await columns(one.model_dump()) for one in new]
    return await create_many(session, ready, on_error, User)


@router.get("/{user_id}", response_model=UserRead, summary="Read a user")
async def read_user(user_id: Id, query: Annotated[UserQuery, Depends(UserQuery.of_one)], session: ReadSession) -> User:
    return found(await session.get(User, user_id, options=query.loading))


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


@router.delete("/{user_id}", status_code=204, summary="Delete a user, with their items, posts and reviews")
async def delete_user(user_id: Id, session: Session, matching: IfMatch) -> None:
    await session.delete(matching(found(await session.get(User, user_id))))
