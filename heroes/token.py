"""Tokens: issued for a username and a password. A token expires, and becomes invalid when the password changes."""

import re
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.security import OAuth2PasswordRequestForm
from sqlalchemy import event
from sqlalchemy.orm.attributes import get_history
from sqlmodel import Field, SQLModel, col, func, select, update
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse

from heroes.user import User
from kit import (
    READ_SECONDS,
    SUPERUSER,
    WRITE_SECONDS,
    Claims,
    Database,
    Principal,
    Problem,
    Who,
    allowing,
    failure,
    retried,
    runtime_of,
    unauthenticated,
    verified,
)

USERNAME = re.compile(r"[A-Za-z0-9._-]{3,50}")
MAX_FORM = 4 * 1024
"""The largest login form, in bytes: parsing it takes less than 1 ms, also for a guess that is refused afterwards."""


class Token(SQLModel):
    """A token for the header `Authorization: Bearer …`."""

    access_token: str
    token_type: Literal["bearer"]
    expires_in: int = Field(description="Seconds for which the token is valid.")


CREDENTIALS = {"grant_type": "password", "username": "natasha", "password": "correct horse battery"}
"""The example of the form: the user whom the example of `POST /users/` creates."""
NOT_STORED = {"Cache-Control": {"required": True, "schema": {"type": "string", "const": "no-store"}}}
"""Caches do not store a token (RFC 6749, section 5.1), nor does the service, so a login takes no `Idempotency-Key`."""
FORM = {"requestBody": {"content": {"application/x-www-form-urlencoded": {"example": CREDENTIALS}}}}

router = APIRouter(prefix="/auth", tags=["auth"], route_class=allowing(create=Who.ANYONE))


@router.post(
    "/token",
    response_model=Token,
    summary="Get a token",
    max_body_size=MAX_FORM,
    openapi_extra=FORM,
    responses={200: {"headers": NOT_STORED}, 429: failure(429)},
)
async def create_token(request: Request, form: Annotated[OAuth2PasswordRequestForm, Depends()]) -> JSONResponse:
    """Returns the same 401, after the same time, for an unknown user, a wrong password and an inactive user."""
    fields = await request.form()
    if len(fields) < len(fields.multi_items()):  # RFC 6749, section 3.2
        raise Problem(400, "The form has a field more than once.", kind="malformed-body")
    runtime, address = runtime_of(request), request.client.host if request.client else ""
    tokens = runtime.authenticator.tokens
    async with runtime.login_limits.attempt(form.username, address) as count_failure:
        user = await authenticate(runtime.database, form.username, form.password)
        if user is None:
            await count_failure()
            raise unauthenticated("The username or the password is wrong.")
        token = tokens.issue(Claims(user.id, user.generation))
    answer = Token(access_token=token, token_type="bearer", expires_in=int(tokens.lifetime.total_seconds()))
    return JSONResponse(answer.model_dump(), headers={"Cache-Control": "no-store"})


async def authenticate(database: Database, username: str, password: str) -> User | None:
    """Return the active user with this name and password; None if there is none.

    A password hash with old parameters is replaced. Tokens of the user stay valid.
    """
    user = await user_by_name(database, username) if USERNAME.fullmatch(username) else None
    matches, new_hash = await verified(password, user.hashed_password if user else None)
    if user is None or not matches or not user.is_active:
        return None
    if new_hash:
        await retried(lambda: replace_hash(database, user, new_hash), WRITE_SECONDS)
    return user


async def replace_hash(database: Database, user: User, new_hash: str) -> None:
    """Store a new hash of the same password, unless the password was changed meanwhile."""
    same = update(User).where(col(User.id) == user.id, col(User.hashed_password) == user.hashed_password)
    async with database.write() as session, session.begin():
        await session.exec(same.values(hashed_password=new_hash, version=User.version, updated_at=User.updated_at))


async def user_by_name(database: Database, username: str) -> User | None:
    statement = select(User).where(func.lower(User.username) == username.lower())
    return await retried(lambda: first(database, statement), READ_SECONDS)


async def first(database: Database, statement: Any) -> User | None:
    async with database.read() as session:
        user: User | None = (await session.exec(statement)).first()
        return user


@event.listens_for(User, "before_update")
def invalidate_tokens(_: object, __: object, user: User) -> None:
    """Invalidate the tokens of a user whose password or `is_active` changes."""
    if get_history(user, "hashed_password").added or get_history(user, "is_active").added:
        user.generation += 1


async def find_principal(connection: HTTPConnection, claims: Claims) -> Principal | None:
    """Return the principal of a token; None if the user is inactive, or if the token was invalidated."""
    access = await runtime_of(connection).database.find_as(User, claims.user_id, access_of)
    return access[1] if access is not None and access[0] == claims.generation else None


def access_of(user: User) -> tuple[int, Principal] | None:
    """Return the generation of the valid tokens of a user, and the principal; None if the user is inactive."""
    principal = Principal(user.id, frozenset({SUPERUSER} if user.is_superuser else ()))
    return (user.generation, principal) if user.is_active else None
