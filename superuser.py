"""Creates a superuser from environment variables or from input at the terminal. There is no default password."""

import asyncio
import os
import sys
from getpass import getpass

from pydantic import ValidationError
from sqlalchemy.exc import IntegrityError

from heroes.user import User, UserCreate, with_hashed_password
from kit import CURRENT_PRINCIPAL, UNRESTRICTED, Database
from kit.database.errors import FAILURES, first_line, meaning_of
from settings import load


def ask(name: str) -> str:
    """Return the value of a variable such as `SUPERUSER_USERNAME`; input at the terminal if it is not set."""
    given = os.environ.get(f"SUPERUSER_{name.upper()}")
    if given is not None:
        return given
    return getpass("Password: ") if name == "password" else input(f"{name.capitalize()}: ")


async def store(new: UserCreate) -> User:
    """Store a user without a check of permissions."""
    database = Database(load().database)
    CURRENT_PRINCIPAL.set(UNRESTRICTED)
    try:
        async with database.write() as session, session.begin():
            user = User.model_validate(await with_hashed_password(new.model_dump()))
            session.add(user)
        return user
    finally:
        await database.dispose()


def main() -> str | None:
    """Create a superuser. Returns an error message, or None on success."""
    try:
        fields = {name: ask(name) for name in ("username", "email", "password")}
        user = asyncio.run(store(UserCreate.model_validate({**fields, "is_superuser": True})))
    except ValidationError as failure:
        return "\n".join(f"{error['loc'][0]}: {error['msg']}" for error in failure.errors(include_input=False))
    except IntegrityError:
        return "The username or the e-mail address is taken."
    except FAILURES as failure:
        if meaning_of(failure) == "unready":
            return "The database lacks the table of the users: run `make migrate`."
        return f"The database cannot be used: {first_line(failure)}"
    except EOFError:
        return "There is no input: set SUPERUSER_USERNAME, SUPERUSER_EMAIL and SUPERUSER_PASSWORD."
    sys.stdout.write(f"{user.username} is a superuser now.\n")
    return None


if __name__ == "__main__":
    sys.exit(main())
