"""Users: username and e-mail address are unique, ignoring case. Only a hash of the password is stored."""

import secrets
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Depends
from sqlalchemy import Integer
from sqlmodel import AutoString, Field, Index, SQLModel, func, or_, select, text

from kit import (
    CURRENT_PRINCIPAL,
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
    Registration,
    Session,
    Stamped,
    Username,
    Who,
    allowing,
    create_many,
    failure,
    found,
    hashed,
    page,
    taken,
)

MAX_BULK_USERS = 50  # hashing a password takes 0.1 s, and a request has a deadline


def first_generation() -> int:
    """Return the first token generation of a user.

    It is random, so that the token of a deleted user is invalid for a later user with the same id.
    """
    return secrets.randbelow(2**30)  # leaves half of the range of the column for increments


class UserBase(SQLModel):
    belongs_to: ClassVar[str | None] = "id"

    username: Username = Field(
        min_length=3, max_length=50, index=True, schema_extra={"examples": ["natasha", "steve", "bruce"]}
    )
    email: Email = Field(
        max_length=254,
        index=True,
        sa_column_kwargs=PRIVATE,
        schema_extra={"examples": ["natasha@example.com", "steve@example.com", "bruce@example.com"]},
    )
    full_name: Name | None = Field(
        default=None, max_length=200, index=True, schema_extra={"examples": ["Natasha Roman"]}
    )
    is_active: bool = Field(default=True, index=True)
    is_superuser: bool = Field(default=False, index=True)


class User(UserBase, Entity, table=True):
    reserved = {"is_active": True, "is_superuser": False}
    __table_args__ = (
        Index("uq_user_username", text("lower(username)"), unique=True),
        Index("uq_user_email", text("lower(email)"), unique=True),
    )
    hashed_password: str = Field(sa_type=AutoString(255), repr=False, exclude=True)
    generation: int = Field(default_factory=first_generation, sa_type=Integer, sa_column_kwargs={"server_default": "0"})


class UserCreate(UserBase, Body):
    """A new user."""

    password: Password = Field(schema_extra={"examples": ["correct horse battery"]})


UserBatch = Annotated[Batch[UserCreate], Field(max_length=MAX_BULK_USERS)]


class UserRead(Stamped, UserBase, Read):
    """A user, without the password."""


class UserBrief(Read):
    """A user embedded in another resource."""

    username: Username


class UserUpdate(UserCreate, Changes):
    """Changes to a user; every field may be left out."""


class UserReplace(UserCreate):
    """All fields of a user. Without `password` the password is not changed."""

    password: Password = Field(default=None, schema_extra={"examples": ["correct horse battery"]})


class UserQuery(ListQuery):
    model = User
    read = UserRead
    sorts = ("username", "email", "full_name", "created_at")
    search = ("username", "email", "full_name")
    default_sort = "-created_at"


router = APIRouter(
    prefix="/users", tags=["users"], route_class=allowing(read=Who.MEMBERS, create=Who.ANYONE, change=Who.OWNERS)
)


async def with_hashed_password(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a user with `hashed_password` in place of `password`, if there is a password."""
    password = fields.pop("password", None)
    return fields | ({"hashed_password": await hashed(password)} if password else {})


async def with_own_password(user_id: int, fields: dict[str, Any]) -> dict[str, Any]:
    """Return the same for changes to a user. Where the session will refuse them, nothing is hashed."""
    principal = CURRENT_PRINCIPAL.get()
    if principal.id != user_id and not principal.is_superuser:
        fields.pop("password", None)
    return await with_hashed_password(fields)


async def make_users(session: Session, new: Sequence[UserCreate]) -> list[User]:
    """Add users to the session."""
    users = [User.model_validate(await with_hashed_password(user.model_dump())) for user in new]
    session.add_all(users)
    return users


async def refuse_taken(session: Session, new: UserCreate) -> None:
    """Raise a 409 for a username or an e-mail address that is taken, before the password is hashed.

    Hashing takes long, and holds up logins. The constraints decide if two register at the same time, and tell
    superusers which of the two it is.
    """
    is_known = or_(func.lower(User.username) == new.username.lower(), func.lower(User.email) == new.email.lower())
    known = (await session.exec(select(User.id).where(is_known).limit(1))).first()
    await session.rollback()  # the transaction, which locks SQLite, would last as long as the hashing
    if known is not None:
        raise taken("email or username")


@router.get("/", response_model=list[UserRead], summary="List users")
async def list_users(query: Annotated[UserQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, select(User))


@router.post("/", response_model=UserRead, status_code=201, summary="Create a user", responses={429: failure(429)})
async def create_user(new: UserCreate, session: Session, registration: Registration) -> User:
    if not CURRENT_PRINCIPAL.get().is_superuser:
        await registration()
        await refuse_taken(session, new)
    return (await make_users(session, [new]))[0]


@router.post("/bulk", response_model=list[UserRead], status_code=201, summary="Create many users")
async def bulk_create_users(new: UserBatch, session: Session, on_error: OnError = "abort") -> Many:
    rows = [user if isinstance(user, InvalidElement) else await with_hashed_password(user.model_dump()) for user in new]
    return await create_many(session, rows, on_error, User)


@router.get("/{user_id}", response_model=UserRead, summary="Read a user")
async def read_user(user_id: Id, query: Annotated[UserQuery, Depends(UserQuery.of_one)], session: ReadSession) -> User:
    return found(await session.get(User, user_id, options=query.loading))


@router.put("/{user_id}", response_model=UserRead, summary="Replace a user")
async def replace_user(user_id: Id, new: UserReplace, session: Session, matching: IfMatch) -> User:
    fields = await with_own_password(user_id, new.model_dump())
    user = matching(found(await session.get(User, user_id)))
    user.sqlmodel_update(fields)
    return user


@router.patch("/{user_id}", response_model=UserRead, summary="Update a user")
async def update_user(user_id: Id, changes: UserUpdate, session: Session, matching: IfMatch) -> User:
    fields = await with_own_password(user_id, changes.model_dump(exclude_unset=True))
    user = matching(found(await session.get(User, user_id)))
    user.sqlmodel_update(fields)
    return user


@router.delete("/{user_id}", status_code=204, summary="Delete a user, with what belongs to them")
async def delete_user(user_id: Id, session: Session, matching: IfMatch) -> None:
    await session.delete(matching(found(await session.get(User, user_id))))
