"""The caller: the user whose token a request carries."""

from typing import Annotated

from fastapi import APIRouter, Depends

from heroes.user import User, UserQuery, UserRead
from kit.auth.permissions import CALLER, Who, unknown_caller
from kit.http.problems import found
from kit.operations.unit_of_work import ReadSession, allowing

router = APIRouter(prefix="/users/me", tags=["users"], route_class=allowing(read=Who.MEMBERS))


@router.get("", response_model=UserRead, summary="Read the caller")
async def whoami_user(query: Annotated[UserQuery, Depends(UserQuery.of_one)], session: ReadSession) -> User:
    caller = CALLER.get()
    if caller.id is None:
        raise unknown_caller()
    return found(await session.get(User, caller.id, query.loading))
