"""Security contact: the file `/.well-known/security.txt` (RFC 9116), with contacts for reports of vulnerabilities."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from fastapi import APIRouter
from starlette.responses import PlainTextResponse

PATH = "/.well-known/security.txt"
NAME = f"GET {PATH}"
CONTACT = re.compile(r"mailto:[!-~]+@[!-~]+|https://[!-~]+|tel:\+[0-9-]+")
VALID_FOR = timedelta(days=90)
"""The time until `Expires`. RFC 9116 recommends less than a year."""


def security_txt_router(contacts: Sequence[str]) -> APIRouter:
    """Return a router that serves the file with these contacts, the preferred one first.

    Raises a ValueError for a contact that is not a URL as in RFC 9116, section 2.5.3.
    """
    for contact in contacts:
        if not CONTACT.fullmatch(contact):
            raise ValueError(
                f"The security contact {contact!r} is not a URL: write mailto:security@example.com or https://…."
            )
    router = APIRouter(include_in_schema=False, tags=["security"])

    @router.get(PATH)
    async def show_security_txt() -> PlainTextResponse:
        return PlainTextResponse(security_txt(contacts, datetime.now(UTC)), headers={"Cache-Control": "max-age=86400"})

    return router


def security_txt(contacts: Sequence[str], now: datetime) -> str:
    """Return the text of the file. It expires `VALID_FOR` after `now`, because a running service has valid contacts."""
    expires = (now + VALID_FOR).strftime("%Y-%m-%dT00:00:00Z")
    return "".join(f"{line}\n" for line in [*(f"Contact: {contact}" for contact in contacts), f"Expires: {expires}"])
