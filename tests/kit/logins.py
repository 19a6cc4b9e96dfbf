"""Logins: an operation that checks a password under login limits, and a service with it for a real server."""

import os

from fastapi import APIRouter, Body, Request

from kit import Database, LoginLimits, Service, Who, allowing, runtime_of, unauthenticated
from tests.engines import url_for
from tests.kit.service import create_runtime, create_service

PASSWORD = "correct horse battery"  # noqa: S105  the password of all accounts in the tests
ACCOUNTS = ("natasha", "steve")
logins = APIRouter(prefix="/logins", tags=["logins"], route_class=allowing(create=Who.ANYONE))


@logins.post("/", status_code=204)
async def create_login(request: Request, account: str = Body(), password: str = Body()) -> None:
    """Raises a 401 for an unknown account or a wrong password."""
    address = request.client.host if request.client else ""
    async with runtime_of(request).login_limits.attempt(account, address) as count_failure:
        if account.lower() not in ACCOUNTS or password != PASSWORD:
            await count_failure()
            raise unauthenticated("The account or the password is wrong.")


def with_logins(database: Database, limits: LoginLimits) -> Service:
    return create_service(create_runtime(database, auth=True, limits=limits), logins, public=["POST /logins/"])


def serve() -> Service:
    """Return the factory for uvicorn. It allows two failures from an address."""
    limits = LoginLimits("memory://", per_account=100, per_address=2, window=60)
    return with_logins(Database(url_for(os.environ["DATABASE_URL"])), limits)
