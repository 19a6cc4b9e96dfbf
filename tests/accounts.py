"""Users of the application with authentication, for the fixtures of `tests.people`."""

from collections.abc import AsyncIterator
from functools import partial
from itertools import count
from typing import Any

import pytest
from pydantic import SecretStr

from heroes.user import User
from kit import CURRENT_PRINCIPAL, UNRESTRICTED, Claims, LoginLimits, Service, hashed
from tests.application import empty, opened, production
from tests.clients import client_of
from tests.people import NewPerson, Person

PASSWORD = "correct horse battery"  # noqa: S105  the password of all users in the tests
numbers = count(1)


def token_of(app: Service, user_id: int, generation: int = 0) -> str:
    return app.runtime.authenticator.tokens.issue(Claims(user_id, generation))


async def join(app: Service, /, **fields: Any) -> Person:
    """Store a user. Returns the user with a token and a client. Sets the principal of this task to UNRESTRICTED."""
    CURRENT_PRINCIPAL.set(UNRESTRICTED)  # the last request of the test may have left its principal in this task
    name = fields.pop("username", f"member{next(numbers)}")
    secret = await hashed(SecretStr(fields.pop("password", PASSWORD)))
    async with app.runtime.database.write() as session, session.begin():
        given = {"username": name, "email": f"{name}@people.example", "hashed_password": secret, "generation": 0}
        user = User(**given | fields)
        session.add(user)
    token = token_of(app, user.id)
    return Person(client_of(app, token), token, user.username, user.email, user.id)


@pytest.fixture(scope="session")
async def production_app(new_database: Any) -> AsyncIterator[Service]:
    """Provide the application as in production, where requests need a token; once for all tests of an engine."""
    async with opened(production(await new_database())) as app:
        yield app


@pytest.fixture
async def guarded(production_app: Service) -> Service:
    """Provide the same application, without rows and without failed logins."""
    await empty(production_app.runtime.database)
    production_app.runtime.login_limits = LoginLimits("memory://", per_account=10, per_address=100, window=300)
    return production_app


@pytest.fixture
def new_person(guarded: Service) -> NewPerson:
    """Provide a function that stores users of this service, each with an HTTP client."""
    return partial(join, guarded)
