"""The caller: the user to whom the token of the request was issued."""

from typing import Annotated

from fastapi import APIRouter, Depends

from heroes.user import User, UserQuery, UserRead
from kit import Caller, ReadSession, Who, allowing, found, unauthenticated

router = APIRouter(prefix="/users/me", tags=["users"], route_class=allowing(read=Who.MEMBERS))


@router.get("", response_model=UserRead, summary="Read the caller")
async def whoami_user(
    query: Annotated[UserQuery, Depends(UserQuery.of_one)], session: ReadSession, caller: Caller
) -> User:
    if caller is None:
        raise unauthenticated()
    return found(await session.get(User, caller.id, options=query.loading))
