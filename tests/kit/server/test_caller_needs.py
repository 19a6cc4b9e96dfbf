"""Routes that need no principal: they look up no user, so that they respond while the database does not."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends, Request
from starlette.staticfiles import StaticFiles

from kit import CURRENT_PRINCIPAL, Caller, Claims, Principal, Problem, ReadSession, get_caller, needs_no_caller
from kit.http.principals import UNDETERMINED
from kit.openapi import docs
from tests.kit.server import small
from tests.kit.server.small import MEMBER, asking, bearer, small_service

OWN = ("/health/live", "/docs", "/docs/style.css", "/openapi.json", "/", "/docs/assets/swagger-ui.css")


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Provide the ids of the users that were looked up."""
    ids: list[int] = []

    async def find(_: object, claims: Claims) -> Principal:
        ids.append(claims.user_id)
        return Principal(claims.user_id)

    monkeypatch.setattr(small, "find", find)
    return ids


def is_superuser() -> bool:
    return CURRENT_PRINCIPAL.get().is_superuser


async def plain() -> Any:
    return {"name": len(OWN)}


@needs_no_caller
async def marked_with_dependency(text: Annotated[str, Depends(lambda: "a")], limit: int = 1) -> Any:
    return text * limit


@needs_no_caller
async def marked(request: Request) -> Any:
    return request.url.path


@needs_no_caller
async def wrongly_marked(request: Request) -> Any:
    return is_superuser()


async def with_caller(caller: Caller) -> Any:
    return caller and caller.id


@needs_no_caller
async def marked_with_caller(caller: Caller) -> Any:
    return caller and caller.id


async def with_session(session: ReadSession) -> Any:
    return str(session.is_active)


async def with_request(request: Request) -> Any:
    return request.url.path


async def with_principal() -> Any:
    return [is_superuser() for _ in range(1)]


@pytest.mark.parametrize("auth", [True, False])
@pytest.mark.parametrize("path", OWN)
async def test_the_routes_of_the_service_look_up_no_user(path: str, auth: bool, found: list[int]) -> None:
    service = small_service(auth=auth, public={"MOUNT /docs/assets"})
    async with asking(service) as client:
        assert (await client.get(path, headers=bearer(MEMBER))).status_code in (200, 307)
    assert found == []


async def test_a_public_route_that_is_marked_looks_up_no_user(found: list[int]) -> None:
    service = small_service(public={"GET /x"})
    service.get("/x")(marked)
    async with asking(service) as client:
        assert (await client.get("/x", headers=bearer(MEMBER))).status_code == 200
    assert found == []


ASKING = [plain, with_caller, marked_with_caller, marked_with_dependency, with_session, with_request, with_principal]


@pytest.mark.parametrize("handler", ASKING)
async def test_a_public_route_that_may_use_its_principal_knows_it(handler: Any, found: list[int]) -> None:
    service = small_service(public={"GET /x"})
    service.get("/x")(handler)
    async with asking(service) as client:
        assert (await client.get("/x", headers=bearer(MEMBER))).status_code == 200
    assert found == [MEMBER]


async def test_a_public_static_folder_looks_up_no_user_and_another_application_does(
    tmp_path: Path, found: list[int]
) -> None:
    (tmp_path / "a.txt").write_text("a")
    service, other = small_service(public={"MOUNT /files", "MOUNT /other"}), small_service(public={"GET /x"})
    service.mount("/files", StaticFiles(directory=tmp_path))
    service.mount("/other", other)
    async with asking(service) as client:
        assert (await client.get("/files/a.txt", headers=bearer(MEMBER))).text == "a"
        assert found == []
        await client.get("/other/health/live", headers=bearer(MEMBER))
    assert found == [MEMBER]


async def test_an_override_of_the_caller_counts_also_where_none_is_needed(found: list[int]) -> None:
    async def refused() -> Principal:
        raise Problem(403, "No.", kind="forbidden")

    service = small_service(public={"GET /x"})
    service.get("/x")(plain)
    service.dependency_overrides[get_caller] = refused
    async with asking(service) as client:
        assert (await client.get("/x")).status_code == 403


async def test_a_marked_handler_that_reads_its_principal_is_told_what_to_write(found: list[int]) -> None:
    service = small_service(public={"GET /x"})
    service.get("/x")(wrongly_marked)
    async with asking(service, raises=True) as client:
        assert (await client.get("/x")).json() is False
        with pytest.raises(RuntimeError, match="add the parameter `caller: Caller`"):
            await client.get("/x", headers=bearer(MEMBER))


@pytest.mark.parametrize("dependency", [get_caller, is_superuser])
async def test_a_dependency_of_the_application_that_asks_for_the_principal_gets_it(
    dependency: Any, found: list[int]
) -> None:
    service = small_service(dependencies=[Depends(dependency)], public={"GET /x"})
    service.get("/x")(marked)
    async with asking(service) as client:
        assert (await client.get("/health/live", headers=bearer(MEMBER))).status_code == 200
        assert found == []  # these dependencies are not for health checks
        assert (await client.get("/x", headers=bearer(MEMBER))).status_code == 200
    assert found == [MEMBER]


async def test_a_route_for_superusers_that_needs_no_principal_still_checks_its_permission(found: list[int]) -> None:
    service = small_service()
    service.get("/x")(plain)
    async with asking(service) as client:
        assert (await client.get("/x", headers=bearer(MEMBER))).status_code == 403
    assert found == [MEMBER]


async def test_a_user_who_is_not_found_in_time_is_a_504(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small, "find", lambda *_: asyncio.sleep(60))
    service = small_service(public={"GET /x"})
    service.runtime.request_timeout = 0.05
    service.get("/x")(with_request)
    async with asking(service) as client:
        answer = await client.get("/x", headers=bearer(MEMBER))
    assert (answer.status_code, answer.json()["type"]) == (504, "urn:problem:timeout")


async def test_examples_have_no_ids_if_the_database_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docs, "newest", lambda *_: asyncio.sleep(60))
    monkeypatch.setattr(docs, "IDS_SECONDS", 0.05)
    async with asking(small_service(auth=False)) as client:
        assert (await client.get("/openapi.json?ids=newest")).status_code == 200


def test_a_principal_that_is_not_determined_can_be_shown_but_not_asked() -> None:
    assert UNDETERMINED.__class__.__name__ == "UndeterminedPrincipal"
    with pytest.raises(RuntimeError, match="was not looked up"):
        UNDETERMINED.roles  # noqa: B018  reading it raises
