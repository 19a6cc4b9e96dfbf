"""Database URLs, as they are pasted from providers; TLS is that of a PgBouncer with a certificate of its own."""

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
from sqlalchemy import make_url, text

from kit import Database
from kit.database import hosts, urls
from kit.database.engines import Pool
from kit.database.errors import FAILURES
from kit.database.migrating import engine_for
from kit.database.postgresql_engines import RefusedConnection, connect_to_postgres, names_in
from kit.database.url_options import driver_options
from kit.database.urls import parsed, usable
from tests.pgbouncer import MISSING, PROGRAM, PgBouncer

pytestmark = [pytest.mark.each_engine, pytest.mark.no_fast_path]

has_tls = pytest.mark.skipif(PROGRAM is None or not shutil.which("openssl"), reason=f"{MISSING} openssl")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("postgresql://h/d?timeout=3", "write connect_timeout"),
        ("postgresql://h/d?connect_timeout=0", "must be a whole number"),
        ("postgresql://h/d?connect_timeout=secret", "must be a whole number"),
        ("postgresql://h/d?colour=red", "has the option 'colour', which is not supported: remove it; known are "),
        ("postgresql://h/d?sslmode=secret", "has the option 'sslmode', which must be one of disable, allow"),
        ("postgresql://h/d?sslmode=require&sslmode=prefer", "has the option 'sslmode' more than once"),
        ("postgresql://h/d?sslmode=require&ssl=prefer", "has the option 'sslmode' more than once"),
        ("postgresql://h/d?sslmode=verify-full", "needs sslrootcert: a file, or `system`"),
        ("postgresql://h/d?sslmode=verify-ca&sslrootcert=/secret", "'sslrootcert', which must be the name of a file"),
        ("postgresql://h/d?sslcert=/secret", "'sslcert', which must be the name of a file"),
        ("postgresql://h/d?sslmode=require&channel_binding=require", "write sslmode=verify-full instead"),
        ("postgresql://h/d?gssencmode=require", "must be one of prefer, disable"),
        ("postgresql://h/d?statement_cache_size=few", "must be a whole number"),
        ("postgresql://h/d?target_session_attrs=secret", "must be one of any, primary"),
        ("postgresql://h/d?pgbouncer=yes", "must be one of true, false"),
        ("postgresql://h/d?schema=secret", "write options=-csearch_path%3Dname"),
        ("postgresql://h/d?connection_limit=3", "set POOL_SIZE"),
        ("postgresql://h/d?hostaddr=secret", "write the address as the host"),
        ("postgresql://h/d?host=a:1&host=b", "ports are required"),
        ("postgresql://h/d?port=x", "non-integer port"),
        ("postgresql://u:secret@x@h/d", "write %40 for an @ in the password"),
        ("sqlite:///a.db?mode=ro&uri=true", "has the option 'mode', which is not supported: remove it"),
        ("sqlite:///a.db?timeout=5", "LOCK_TIMEOUT"),
        ("sqlite:///a.db?pgbouncer=true", "which is not supported: remove it"),
        ("sqlite://a.db", "write three slashes"),
        ("sqlite://user:secret@host/a.db", "write three slashes"),
        ("mysql://secret@host/db", "must start with sqlite:// or postgresql://"),
        ("secret", "is not a database URL"),
        ("postgresql://h:secret/d", "is not a database URL"),
        ("postgresql://h:99999/d", "has a port that does not exist: write one from 1 to 65535"),
        ("postgresql://a:1,b:70000/d", "has a port that does not exist"),
        ("postgresql://secret..x/d", "has a host that no name can have: write it as in db.example.com"),
        ("sqlite:////", "write a file in it"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_with_a_sentence(
    url: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PGSSLROOTCERT", raising=False)
    with pytest.raises(ValueError) as refused:  # noqa: PT011  its text is compared
        parsed(url)
    assert sentence in str(refused.value)
    assert "secret" not in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@ep-cool-1.eu-central-1.aws.neon.tech/neondb?sslmode=require&channel_binding=prefer",
        "postgres://postgres.abc:p@aws-0-eu-central-1.pooler.supabase.com:6543/postgres?pgbouncer=true",
        "postgres://u:p@ec2-1.compute.amazonaws.com:5432/d6?sslmode=require&connect_timeout=10",
        "postgresql://u%40server:p@server.postgres.database.azure.com:5432/postgres?sslmode=require",
        "postgresql://u:p@h/d?application_name=app&options=-c%20search_path%3Dapp&client_encoding=utf8",
        "postgresql://u:p@h/d?keepalives=1&sslcompression=0&gssencmode=disable&sslsni=1&load_balance_hosts=disable",
        "postgresql://u:p@h/d?sslmode=require&ssl_min_protocol_version=TLSv1.3&sslnegotiation=direct",
        "postgresql://u:p@[::1]:5432/d",
    ],
)
def test_urls_of_providers_are_understood(url: str) -> None:
    engine = Database(parsed(url)).writer
    assert engine.url.username
    assert usable(usable(make_url(url))) == parsed(url)


def test_the_authorities_of_the_system_must_be_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: SimpleNamespace(cafile=None, openssl_cafile=""))
    monkeypatch.setattr(urls, "SYSTEM_FILE", str(tmp_path / "none"))
    with pytest.raises(ValueError, match="no authorities are installed: write a file"):
        parsed("postgresql://h/d?sslmode=verify-full&sslrootcert=system")


@pytest.mark.parametrize("password", ["a/b", "a#b", "a?b", "a:b", "a%2Fb", "ü ß", "%25", "a%40b"])
def test_a_password_may_have_any_character(password: str) -> None:
    expected = password.replace("%2F", "/").replace("%25", "%").replace("%40", "@")
    assert parsed(f"postgresql://u:{password}@h/d").password == expected


def test_several_hosts_are_written_as_libpq_does() -> None:
    several = parsed("postgresql://u:p@a:1,b:2/d?target_session_attrs=primary")
    assert several.query["host"] == ("a:1", "b:2")
    assert (several.username, several.password, several.database) == ("u", "p", "d")
    assert parsed("postgresql://a:1,b:2").query["host"] == ("a:1", "b:2")


@pytest.mark.parametrize("form", ["postgresql://{host}/{database}", "postgresql:///{database}?host={path}"])
async def test_the_folder_of_a_socket_may_be_the_host(postgres_server: str, form: str) -> None:
    server = make_url(postgres_server)
    folder = str(server.query.get("host", server.host))
    if not folder.startswith("/"):
        pytest.skip("the server of TEST_POSTGRES_URL has no socket here")
    written = form.format(host=f"postgres@{folder.replace('/', '%2F')}", path=folder, database=server.database)
    database = Database(parsed(written).set(username="postgres"))
    assert await value_of(database, "SELECT 1") == 1
    await database.dispose()


async def test_options_of_the_server_have_their_effect(postgres_server: str) -> None:
    given = make_url(postgres_server).update_query_pairs(
        [("application_name", "pasted"), ("options", "-c search_path=pasted -c work_mem=5MB"), ("connect_timeout", "9")]
    )
    url = parsed(given.render_as_string(hide_password=False))
    database = Database(url, Pool(application_name="other"))
    assert await value_of(database, "SELECT current_setting('application_name')") == "pasted"
    assert await value_of(database, "SHOW search_path") == "pasted"
    assert await value_of(database, "SHOW statement_timeout") == "10s"
    await database.dispose()
    engine = engine_for(url)
    async with engine.connect() as connection:
        assert (await connection.execute(text("SHOW work_mem"))).scalar_one() == "5MB"
    await engine.dispose()
    assert driver_options(url)[1]["timeout"] == 9


async def value_of(database: Database, statement: str) -> Any:
    async with database.connect() as connection:
        return (await connection.execute(text(statement))).scalar_one()


@pytest.fixture(scope="module")
def with_tls(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PgBouncer, Path]]:
    """Provide a PgBouncer that requires TLS, and its certificate, which is for `localhost`."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = Path(f"/tmp/{folder.name}.key"), folder / "certificate"  # noqa: S108  another user reads it
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    public = key.with_suffix(".crt")
    shutil.copy(certificate, public)
    key.chmod(0o644)
    tls = f"client_tls_sslmode = require\nclient_tls_key_file = {key}\nclient_tls_cert_file = {public}"
    with PgBouncer(make_url(postgres_server), more=tls) as pooler:
        yield pooler, certificate
    key.unlink()
    public.unlink()


@has_tls
@pytest.mark.parametrize(
    ("host", "options", "works"),
    [
        ("localhost", "sslmode=require", True),
        ("localhost", "ssl=require", True),
        ("localhost", "sslmode=prefer", True),
        ("localhost", "sslmode=disable", False),
        ("localhost", "sslmode=verify-full&sslrootcert={certificate}", True),
        ("127.0.0.1", "sslmode=verify-ca&sslrootcert={certificate}", True),
        ("127.0.0.1", "sslmode=verify-full&sslrootcert={certificate}", False),
        ("localhost", "sslmode=verify-full&sslrootcert=system", False),
        ("localhost", "sslmode=require&sslrootcert={certificate}&ssl_min_protocol_version=TLSv1.3", True),
    ],
)
async def test_each_sslmode_does_what_libpq_says(
    with_tls: tuple[PgBouncer, Path], host: str, options: str, works: bool
) -> None:
    pooler, certificate = with_tls
    url = (
        f"postgresql://postgres@{host}:{pooler.port}/postgres?pgbouncer=true&{options.format(certificate=certificate)}"
    )
    database = Database(parsed(url), Pool(timeout=5))
    if works:
        assert await value_of(database, "SELECT 1") == 1
    else:
        with pytest.raises((*FAILURES, OSError)):
            await value_of(database, "SELECT 1")
    await database.dispose()


@pytest.mark.parametrize("given", ["servicefile", "PGSERVICEFILE"])
def test_a_service_needs_its_definition(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "services.conf"
    file.write_text("[shop]\nhost=h%1\n")
    option = f"&servicefile={file}" if given == "servicefile" else ""
    if not option:
        monkeypatch.setenv("PGSERVICEFILE", str(file))
    assert parsed(f"postgresql://u@h/d?service=shop{option}").query["service"] == "shop"
    with pytest.raises(ValueError, match=r"services.conf has no definition of this service: add it there"):
        parsed(f"postgresql://u@h/d?service=nope{option}")
    file.write_text("host=h\n")
    with pytest.raises(ValueError, match=r"services.conf is not a file of services"):
        parsed(f"postgresql://u@h/d?service=shop{option}")


def test_the_names_of_settings_in_options_are_found_as_the_server_reads_them() -> None:
    assert names_in("-c statement_timeout=5s -clock_timeout=1s --jit=on --Work-Mem=1MB -c a.b=c") == {
        "statement_timeout", "lock_timeout", "jit", "work_mem", "a.b"
    }  # fmt: skip


async def test_a_server_that_refuses_the_options_of_a_connection_is_not_taken_for_a_wrong_statement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise asyncpg.UndefinedObjectError("unrecognized configuration parameter")

    monkeypatch.setattr(hosts, "connect", refuse)
    with pytest.raises(RefusedConnection, match="see the options in DATABASE_URL"):
        await connect_to_postgres()
