"""The security contact is served to everybody, if there is one, and does not expire while the service runs."""

from datetime import UTC, datetime

import pytest

from kit.server.security_txt import PATH, security_txt
from tests.kit.server.small import asking, small_service

CONTACTS = ("mailto:security@example.com", "https://example.com/security", "tel:+49-30-1234")


async def test_everybody_may_read_where_to_report_a_vulnerability() -> None:
    async with asking(small_service(security_contacts=CONTACTS)) as client:
        answer = await client.get(PATH)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    lines = answer.text.splitlines()
    assert lines[:3] == [f"Contact: {contact}" for contact in CONTACTS]
    expires = datetime.fromisoformat(lines[3].removeprefix("Expires: "))
    assert 80 < (expires - datetime.now(UTC)).days < 365
    assert len(lines) == 4


def test_the_file_expires_90_days_after_a_request() -> None:
    assert "Expires: 2026-04-01T00:00:00Z\n" in security_txt(CONTACTS, datetime(2026, 1, 1, 23, 59, tzinfo=UTC))


async def test_without_a_contact_there_is_no_such_file() -> None:
    service = small_service(auth=False)
    async with asking(service) as client:
        assert (await client.get(PATH)).status_code == 404
    assert PATH not in service.openapi()["paths"]


@pytest.mark.parametrize("contact", ["security@example.com", "http://example.com", "mailto:a@b\nExpires: x", "mailto:"])
def test_a_contact_that_is_no_url_is_refused(contact: str) -> None:
    with pytest.raises(ValueError, match="is not a URL: write mailto:security@"):
        small_service(security_contacts=[contact])
