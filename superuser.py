"""Creates a superuser from environment variables, or from answers at the terminal; no password is built in."""

import asyncio
import os
import sys
from getpass import getpass

from pydantic import ValidationError
from sqlalchemy.exc import IntegrityError

from heroes.user import User, UserCreate, columns
from kit import CURRENT_PRINCIPAL, UNRESTRICTED, Database
from kit.database.errors import FAILURES, first_line
from settings import load


def asked(name: str) -> str:
    """The value of a variable such as `SUPERUSER_USERNAME`, or else an answer at the terminal."""
    given = os.environ.get(f"SUPERUSER_{name.upper()}")
    if given is not None:
        return given
    return getpass("Password: ") if name == "password" else input(f"{name.capitalize()}: ")


async def make(new: UserCreate) -> User:
    database = Database(load().database)
    CURRENT_PRINCIPAL.set(UNRESTRICTED)
    try:
        async with database.write() as session, session.begin():
            user = User.model_validate(await columns(new.model_dump()))
            session.add(user)
        return user
    finally:
        await database.dispose()


def main() -> str | None:
    """Create a superuser. The error message, or None on success."""
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
        return "Nobody answers: set SUPERUSER_USERNAME, SUPERUSER_EMAIL and SUPERUSER_PASSWORD."
    sys.stdout.write(f"{user.username} is a superuser now.\n")
    return None


if __name__ == "__main__":
    sys.exit(main())
