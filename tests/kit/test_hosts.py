"""Several hosts in a URL: the service finds the primary, whichever of them hangs, is down, or was demoted."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL

from kit import Database
from kit.commands.clients import environment_of
from kit.commands.postgresql_backup import backup
from kit.database.errors import FAILURES
from kit.database.migrating import connected, engine_for
from kit.database.urls import parsed
from tests import engines
from tests.kit.probes import value_of
from tests.replication import Cluster, replication

pytestmark = pytest.mark.no_fast_path

postgres_programs = engines.postgres_programs
PORT = "SELECT current_setting('port')::int"


@pytest.fixture(scope="module")
def pair() -> Iterator[Cluster]:
    with replication(standbys=1) as cluster:
        yield cluster


@pytest.fixture
def hanging() -> Iterator[str]:
    """Provide a host that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def url_of(*names: str, options: str = "") -> URL:
    return parsed(f"postgresql://postgres@{','.join(names)}/postgres{options}")


async def port_of(url: URL) -> int:
    database = Database(url)
    try:
        return int(await value_of(database, PORT))
    finally:
        await database.dispose()


async def test_the_primary_is_found_beside_a_host_that_hangs_one_that_is_down_and_a_standby(
    pair: Cluster, hanging: str
) -> None:
    for _ in range(3):  # the order is random
        url = url_of(hanging, "127.0.0.1:1", pair.standbys[0].host, pair.primary.host, options="?connect_timeout=1")
        assert await port_of(url) == pair.primary.port


@pytest.mark.parametrize("attributes", ["standby", "read-only", "prefer-standby"])
async def test_a_standby_is_found_if_the_url_asks_for_it(pair: Cluster, attributes: str) -> None:
    url = url_of(pair.primary.host, pair.standbys[0].host, options=f"?target_session_attrs={attributes}")
    assert await port_of(url) == pair.standbys[0].port


async def test_the_primary_is_taken_if_no_standby_is_there(pair: Cluster) -> None:
    url = url_of(pair.primary.host, "127.0.0.1:1", options="?target_session_attrs=prefer-standby")
    assert await port_of(url) == pair.primary.port


async def test_hosts_are_tried_as_they_are_written_if_the_url_asks_for_it(pair: Cluster) -> None:
    url = url_of(
        pair.standbys[0].host, pair.primary.host, options="?target_session_attrs=any&load_balance_hosts=disable"
    )
    assert await port_of(url) == pair.standbys[0].port


@pytest.mark.parametrize("names", [["127.0.0.1:1", "127.0.0.1:2"], ["standby", "127.0.0.1:1"]])
async def test_without_a_primary_the_database_is_unreachable(pair: Cluster, names: list[str]) -> None:
    places = [pair.standbys[0].host if name == "standby" else name for name in names]
    with pytest.raises(FAILURES):
        await port_of(url_of(*places))


async def test_migrations_and_backups_find_the_primary(pair: Cluster, tmp_path: Path, postgres_programs: None) -> None:
    url = url_of("127.0.0.1:1", pair.standbys[0].host, pair.primary.host)
    async with connected(engine_for(url)) as connection:
        assert (await connection.exec_driver_sql(PORT)).scalar_one() == pair.primary.port
    await backup(url, tmp_path / "backup")
    given = environment_of(url)
    assert (given["PGHOST"], given["PGTARGETSESSIONATTRS"]) == ("127.0.0.1,127.0.0.1,127.0.0.1", "read-write")


def test_a_host_without_a_port_has_that_of_postgresql() -> None:
    assert parsed("postgresql://a,c,b:1/d").query["host"] == ("a:5432", "c:5432", "b:1")
