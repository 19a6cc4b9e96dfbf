"""Make the first superuser: asks for what is not in the environment, and never has a password of its own."""

import asyncio
import os
import sys
from getpass import getpass

from pydantic import ValidationError
from sqlalchemy.exc import IntegrityError

from heroes.user import User, UserCreate, columns
from kit.auth.permissions import ANYBODY, CALLER
from kit.database.databases import Database
from kit.database.errors import FAILURES, first_line
from settings import load


def asked(name: str) -> str:
    """From the environment, as in `SUPERUSER_USERNAME`, or from whoever sits at the terminal."""
    given = os.environ.get(f"SUPERUSER_{name.upper()}")
    if given is not None:
        return given
    return getpass("Password: ") if name == "password" else input(f"{name.capitalize()}: ")


async def make(new: UserCreate) -> User:
    database = Database(load().database)
    CALLER.set(ANYBODY)  # who sits at the terminal may do everything
    try:
        async with database.write() as session, session.begin():
            user = User.model_validate(await columns(new.model_dump()))
            session.add(user)
        return user
    finally:
        await database.dispose()


def main() -> str | None:
    """What went wrong, in a sentence; None if nothing did."""
    try:
        fields = {name: asked(name) for name in ("username", "email", "password")}
        user = asyncio.run(make(UserCreate.model_validate({**fields, "is_superuser": True})))
    except ValidationError as failure:
        return "\n".join(f"{error['loc'][0]}: {error['msg']}" for error in failure.errors(include_input=False))
    except IntegrityError:
        return "The username or the e-mail address is taken."
    except FAILURES as failure:
        return f"The database cannot be used: {first_line(failure)}"
    except EOFError:
        return "Say who it is: SUPERUSER_USERNAME, SUPERUSER_EMAIL and SUPERUSER_PASSWORD."
    sys.stdout.write(f"{user.username} is a superuser now.\n")
    return None


if __name__ == "__main__":
    sys.exit(main())
