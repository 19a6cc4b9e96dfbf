"""Tokens: given for a username and a password, good for a while, and until the password changes."""

import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal, NoReturn

from fastapi import APIRouter, Depends, Request
from fastapi.security import OAuth2PasswordRequestForm
from sqlalchemy import event
from sqlalchemy.orm.attributes import get_history
from sqlmodel import Field, SQLModel, col, func, select, update
from starlette.responses import JSONResponse

from heroes.user import User
from kit.auth.passwords import verified
from kit.auth.permissions import Caller, unknown_caller
from kit.auth.tokens import Claims
from kit.database.databases import Database
from kit.database.retry import READ_PATIENCE, WRITE_PATIENCE, persistently
from kit.openapi.responses import failure
from kit.operations.forms import FormEndpoint

USERNAME = re.compile(r"[A-Za-z0-9._-]{3,50}")


class Token(SQLModel):
    """What to send along as `Authorization: Bearer …`."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105  a kind, not a token
    expires_in: int = Field(description="Seconds.")


router = APIRouter(prefix="/auth", tags=["auth"], route_class=FormEndpoint)
FAILURES: dict[int | str, dict[str, Any]] = {status: failure(status) for status in (400, 401, 413, 422, 429, 503, 504)}


@router.post("/token", response_model=Token, summary="Get a token", responses=FAILURES)
async def create_token(request: Request, form: Annotated[OAuth2PasswordRequestForm, Depends()]) -> JSONResponse:
    """The same 401, after the same time, for an unknown user, a wrong password, and a user who is not active."""
    state, address = request.app.state, request.client.host if request.client else ""
    async with state.throttle.attempt(form.username, address) as failed:
        user = await authenticated(state.database, form.username, form.password) or await refuse(failed)
    token = state.guard.tokens.issue(Claims(user.id, user.generation))
    answer = Token(access_token=token, expires_in=int(state.guard.tokens.lifetime.total_seconds()))
    return JSONResponse(answer.model_dump(), headers={"Cache-Control": "no-store"})


async def refuse(failed: Callable[[], Awaitable[None]]) -> NoReturn:
    await failed()
    raise unknown_caller("The username or the password is wrong.")


async def authenticated(database: Database, username: str, password: str) -> User | None:
    """The active user of this name and password. A hash with older parameters is renewed, which ends no token."""
    user = await named(database, username) if USERNAME.fullmatch(username) else None
    matches, renewed = await verified(password, user.hashed_password if user else None)
    if user is None or not matches or not user.is_active:
        return None
    if renewed:
        await persistently(lambda: renew(database, user, renewed), WRITE_PATIENCE)
    return user


async def renew(database: Database, user: User, renewed: str) -> None:
    """Keep the new hash, unless the password has changed meanwhile."""
    same = update(User).where(col(User.id) == user.id, col(User.hashed_password) == user.hashed_password)
    async with database.write() as session, session.begin():
        await session.exec(same.values(hashed_password=renewed, updated_at=User.updated_at))


async def named(database: Database, username: str) -> User | None:
    statement = select(User).where(func.lower(User.username) == username.lower())
    return await persistently(lambda: first(database, statement), READ_PATIENCE)


async def first(database: Database, statement: Any) -> User | None:
    async with database.read() as session:
        user: User | None = (await session.exec(statement)).first()
        return user


async def by_id(database: Database, user_id: int) -> User | None:
    async with database.read() as session:
        return await session.get(User, user_id)


@event.listens_for(User, "before_update")
def end_tokens(_: object, __: object, user: User) -> None:
    """Tokens end with the password for which they were given out, and with every change of `is_active`."""
    if get_history(user, "hashed_password").added or get_history(user, "is_active").added:
        user.generation += 1


async def find_caller(request: Request, claims: Claims) -> Caller | None:
    """Whom a token stands for, as long as they are active and its generation is the last."""
    user = await persistently(lambda: by_id(request.app.state.database, claims.user_id), READ_PATIENCE)
    if user is None or not user.is_active or user.generation != claims.generation:
        return None
    return Caller(user.id, user.is_superuser)
