"""Settings: safe defaults, and a message for each invalid value. `tests/kit` has the texts that are of the kit."""

import os
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from main import rate_limits
from settings import NAME, Settings, load
from tests.application import production, settings_for

SECRET = "0123456789abcdef0123456789abcdef"  # noqa: S105  a test's


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def database_of(url: str) -> str:
    return Settings.model_validate({"database_url": url}).database.render_as_string(hide_password=False)


def test_the_default_database_is_a_sqlite_file_beside_the_project() -> None:
    assert load().database.drivername == "sqlite+aiosqlite"
    assert load().database.database == str(Path(__file__).parents[1] / f"{NAME}.db")


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_every_form_of_a_postgresql_url_uses_asyncpg(scheme: str) -> None:
    assert database_of(f"{scheme}://a:b@host/db") == "postgresql+asyncpg://a:b@host/db"


def test_the_pooler_is_an_option_of_the_url() -> None:
    settings = Settings.model_validate({"database_url": "postgresql://host/db", "database_pooler": "transaction"})
    assert settings.database.query == {"pgbouncer": "true"}


def test_sqlite_has_no_pooler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_POOLER", "transaction")
    with pytest.raises(SystemExit, match="DATABASE_POOLER is for PostgreSQL"):
        load()


@pytest.mark.each_engine
@pytest.mark.parametrize(
    ("urls", "sentence"),
    [
        (
            "postgresql://secret@host/db",
            "Setting REPLICA_URL is for PostgreSQL, and DATABASE_URL is",
        ),
        ("sqlite:///secret.db", "Setting REPLICA_URL: "),
        ("postgresql://secret@host/db?pgbouncer=true", "Setting REPLICA_URL: "),
    ],
)
def test_standbys_that_cannot_be_read_end_the_process(
    urls: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPLICA_URL", urls)
    with pytest.raises(SystemExit) as end:
        load()
    assert str(end.value).startswith(sentence)
    assert "secret" not in str(end.value)


def test_standbys_are_hosts_of_the_url() -> None:
    given = {"database_url": "postgresql://a,b/db", "replica_url": "postgresql://a,b/db"}
    assert [url.host for url in Settings.model_validate(given).standbys] == ["a", "b"]


@pytest.mark.parametrize("url", ["mysql://secret@host/db", "secret", "", "http://secret"])
def test_an_unknown_database_ends_the_process_without_showing_the_url(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(SystemExit) as end:
        load()
    assert str(end.value).startswith("Setting DATABASE_URL: ")
    assert "secret" not in str(end.value)
    assert len(str(end.value).splitlines()) == 1


def test_variables_of_opentelemetry_may_be_in_the_file_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = ("OTEL_TRACES_SAMPLER", "OTEL_SERVICE_NAME", "OTEL_EXPORTER_OTLP_HEADERS")
    for name in names:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "orders")
    lines = ("OTEL_TRACES_SAMPLER=always_on", "OTEL_SERVICE_NAME=other", "OTEL_EXPORTER_OTLP_HEADERS=", "OTHER=1")
    (tmp_path / ".env").write_text("\n".join(lines))
    load()
    assert [os.environ.get(name) for name in names] == ["always_on", "orders", None]
    assert "OTHER" not in os.environ


def test_a_sqlite_file_needs_an_existing_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/data/shop.db")
    with pytest.raises(SystemExit, match=rf"^Setting DATABASE_URL: .* {tmp_path}/data"):
        load()
    (tmp_path / "data").mkdir()
    assert load().database.database == f"{tmp_path}/data/shop.db"


def test_a_storage_of_limits_is_memory_or_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMITS_URL", "memcached://:secret@host")
    with pytest.raises(SystemExit, match=r"^Setting LIMITS_URL: ") as end:
        load()
    assert "secret" not in str(end.value)


@pytest.mark.parametrize("place", ["host:99999", "host:x", "host:0", "host/abc", ":secret@[::1]:/1"])
def test_a_redis_has_numbers_as_port_and_database(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMITS_URL", f"redis://{place}")
    with pytest.raises(SystemExit, match=r"^Setting LIMITS_URL: ") as end:
        load()
    assert "secret" not in str(end.value)


@pytest.mark.parametrize("place", ["host", "u:p:x@host:6379/0?health_check_interval=5", "[::1]", ":secret@[::1]:1/1"])
def test_a_redis_may_have_a_user_and_an_address_of_each_kind(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMITS_URL", f"redis://{place}")
    assert load().limits_url.get_secret_value() == f"redis://{place}"


@pytest.mark.parametrize("place", ["[", "[::1", "host?db=x", "host?foo=1", "secret@[x]", "host?protocol=7"])
def test_a_redis_has_a_host_and_options_with_which_it_can_be_reached(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIMITS_URL", f"redis://{place}")
    with pytest.raises(SystemExit, match=r"^Setting LIMITS_URL: ") as end:
        load()
    assert "secret" not in str(end.value)


@pytest.mark.parametrize("name", ["SECRET_KEY", "METRICS_TOKEN", "METRICS_HOST", "APPLICATION_NAME"])
def test_a_setting_is_text_in_utf_8(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "secret\udcff")
    with pytest.raises(SystemExit, match=rf"^Setting {name}: must be text in UTF-8: write random bytes as") as end:
        load()
    assert "secret" not in str(end.value)


@pytest.mark.parametrize("names", ["a b", "traceparent, é", "a\nb", "a:b"])
def test_a_header_that_no_page_can_send_is_refused(names: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_HEADERS", names)
    with pytest.raises(SystemExit, match=r"^Setting CORS_HEADERS: "):
        load()
    monkeypatch.setenv("CORS_HEADERS", "traceparent, X-Tenant, *")
    assert load().cors_headers


@pytest.mark.parametrize("url", ["localhost:4318", "http://", "http://[", "http://collector:x", "redis://host"])
def test_a_collector_of_traces_is_an_http_server(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    with pytest.raises(SystemExit, match=r"^Setting OTEL_EXPORTER_OTLP_ENDPOINT: must be a URL, as in http://"):
        load()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://[::1]:4318")
    assert load().otel_exporter_otlp_endpoint == "http://[::1]:4318"


ORIGINS = [
    "shop.example.com",
    "https://shop.example.com/",
    "*, https://a.example.com/shop",
    "https://*.example.com",
    "https://App.example",
    "HTTPS://app.example",
    "https://b.example:443",
    "http://b.example:80",
    "https://b.example:99999",
    "https://user@b.example",
    "https://b\u00fccher.example",
]


@pytest.mark.parametrize("origins", ORIGINS)
def test_an_origin_that_no_browser_sends_is_refused(origins: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ORIGINS", origins)
    with pytest.raises(SystemExit, match=r"^Setting CORS_ORIGINS: "):
        load()


@pytest.mark.parametrize("origins", ["", "*", "https://a.example:8443, capacitor://localhost", "http://[::1]:3000"])
def test_origins_are_accepted_as_browsers_send_them(origins: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ORIGINS", origins)
    assert load().cors_origins == origins


@pytest.mark.parametrize("addresses", ["10.0.0.1/8", "10.0.0.0/33", "foo", "*, 10.0.0.1", "[::1]", "/run/proxy.sock"])
def test_an_address_that_no_proxy_has_is_refused(addresses: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", addresses)
    with pytest.raises(SystemExit, match=r"^Setting FORWARDED_ALLOW_IPS: "):
        load()


@pytest.mark.parametrize("addresses", ["", "*", "10.0.0.0/8, 127.0.0.1,::1", "fd00::/8"])
def test_addresses_and_networks_of_proxies_are_accepted(addresses: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", addresses)
    assert load().forwarded_allow_ips == addresses


@pytest.mark.parametrize("name", ["STATEMENT_TIMEOUT", "LOCK_TIMEOUT"])
def test_a_timeout_that_would_be_none_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "0.0004")
    with pytest.raises(SystemExit, match=rf"^Setting {name}: Input should be greater than or equal to 0.001"):
        load()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite+aiosqlite://"])
def test_a_database_in_memory_is_refused_for_a_service(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(SystemExit, match=r"^Setting DATABASE_URL: "):
        load()


@pytest.mark.parametrize("hosts", ["", "https://api.example.com", "api.example.com:8000", "a.example.com/b", "a.*.com"])
def test_a_host_that_no_request_has_is_refused(hosts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUSTED_HOSTS", hosts)
    with pytest.raises(SystemExit, match=r"^Setting TRUSTED_HOSTS: must be like api\.example\.com or \*\.example\.com"):
        load()


@pytest.mark.parametrize("hosts", ["*", "*.example.com, localhost", "127.0.0.1,[::1]"])
def test_hosts_are_accepted_as_requests_have_them(hosts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUSTED_HOSTS", hosts)
    assert load().trusted_hosts == hosts


def test_each_invalid_setting_has_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POOL_SIZE", "0")
    monkeypatch.setenv("LOG_LEVEL", "LOUD")
    with pytest.raises(SystemExit) as end:
        load()
    assert [line.split(":")[0] for line in str(end.value).splitlines()] == ["Setting LOG_LEVEL", "Setting POOL_SIZE"]


@pytest.mark.parametrize("secret", ["", "short"])
def test_production_needs_a_long_secret_key(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    monkeypatch.setenv("SECRET_KEY", secret)
    with pytest.raises(
        SystemExit,
        match=r"^Setting SECRET_KEY must have at least 32 bytes in production, and if requests need a token\.$",
    ):
        load()


def test_production_refuses_to_log_values(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ENVIRONMENT": "production", "SECRET_KEY": SECRET, "SQL_ECHO": "true"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=r"^Setting SQL_ECHO must be off in production"):
        load()


def test_the_repr_of_settings_shows_no_secret() -> None:
    settings = Settings.model_validate({"database_url": "postgres://a:hidden@host/db", "secret_key": SECRET})
    assert "hidden" not in repr(settings)
    assert SECRET not in repr(settings)


def test_a_statement_ends_before_its_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUEST_TIMEOUT", "5")
    with pytest.raises(SystemExit, match=r"^Setting STATEMENT_TIMEOUT must be shorter than REQUEST_TIMEOUT\.$"):
        load()


@pytest.mark.parametrize("secret", ["", "short", f"{SECRET},short", f"short,{SECRET}", ",", "ä" * 15])
def test_with_authentication_every_key_must_be_long(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUIRE_AUTH", "true")
    monkeypatch.setenv("SECRET_KEY", secret)
    with pytest.raises(SystemExit, match=r"^Setting SECRET_KEY must have at least 32 bytes") as end:
        load()
    assert len(str(end.value).splitlines()) == 1


def test_an_old_key_can_be_listed_beside_the_new_one() -> None:
    settings = Settings.model_validate({"environment": "production", "secret_key": f" {SECRET[::-1]} , {SECRET}"})
    assert settings.secret_keys == [SECRET[::-1].encode(), SECRET.encode()]


@pytest.mark.parametrize(
    ("environment", "require_auth", "is_on"),
    [
        ("development", None, False),
        ("production", None, True),
        ("development", True, True),
        ("production", False, False),
    ],
)
def test_tokens_are_required_in_production_by_default(environment: str, require_auth: bool | None, is_on: bool) -> None:
    fields = {"environment": environment, "require_auth": require_auth, "secret_key": SECRET}
    assert Settings.model_validate(fields).auth is is_on


@pytest.mark.parametrize("origins", ["*", "https://shop.example.com,*"])
def test_production_refuses_credentials_for_all_origins(origins: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {"ENVIRONMENT": "production", "SECRET_KEY": SECRET, "CORS_ORIGINS": origins, "CORS_CREDENTIALS": "true"}
    for name, value in fields.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=r"^Setting CORS_ORIGINS must not be \* in production if CORS_CREDENTIALS .*$"):
        load()
    monkeypatch.setenv("CORS_CREDENTIALS", "false")
    assert load().cors_origins == origins


def test_each_fault_of_production_settings_has_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ENVIRONMENT": "production", "SQL_ECHO": "true", "SECRET_KEY": "Zq9-swordfish"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as end:
        load()
    assert len(str(end.value).splitlines()) == 1
    assert "Zq9" not in str(end.value)


def test_printed_settings_show_no_secret() -> None:
    secrets = {
        "database_url": "postgres://natasha:Zq9-database@host/db",
        "secret_key": f"Zq9-{SECRET},Zq9-{SECRET}",
        "limits_url": "redis://:Zq9-redis@host:6379",
    }
    settings = Settings.model_validate(secrets)
    printed = (repr(settings), str(settings), settings.model_dump_json(), f"{settings.model_dump()}", f"{settings}")
    assert not [text for text in printed if "Zq9" in text]
    assert "Zq9" not in repr(settings.database)


def test_invalid_settings_are_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://natasha:Zq9-database@host/db")
    monkeypatch.setenv("LOGIN_WINDOW", "Zq9")
    with pytest.raises(SystemExit) as end:
        load()
    assert "Zq9" not in str(end.value)
    assert len(str(end.value).splitlines()) == 2
    with pytest.raises(ValidationError) as failure:
        Settings.model_validate({"database_url": "mysql://natasha:Zq9-database@host/db"})
    assert "Zq9" not in str(failure.value)


def test_production_needs_a_key_even_without_authentication(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    monkeypatch.setenv("REQUIRE_AUTH", "false")
    with pytest.raises(SystemExit, match="SECRET_KEY must have at least 32 bytes"):
        load()


def test_requests_per_minute_are_limited_in_production_by_default() -> None:
    assert settings_for("sqlite://").rates == (0, 0)
    assert settings_for("sqlite://", user_rate=5).rates == (5, 0)
    assert production("sqlite://", user_rate=None, address_rate=None).rates == (6000, 600)
    assert production("sqlite://", user_rate=0, address_rate=7).rates == (0, 7)
    assert rate_limits(settings_for("sqlite://")) is None


@pytest.mark.parametrize("contact", ["security@example.com", "mailto:a@example.com, http://example.com"])
def test_a_security_contact_is_a_url(contact: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECURITY_CONTACT", contact)
    with pytest.raises(SystemExit, match=r"^Setting SECURITY_CONTACT: must be URLs that start with mailto:, https://"):
        load()
    monkeypatch.setenv("SECURITY_CONTACT", contact.replace("security@", "mailto:s@").replace("http:", "https:"))
    assert "mailto:" in load().security_contact


@pytest.mark.parametrize("levels", ["LOUD", "kit=LOUD", "=INFO", "kit=INFO,asyncio", "kit:INFO"])
def test_levels_of_loggers_are_written_as_name_and_level(levels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVELS", levels)
    with pytest.raises(
        SystemExit, match=r"^Setting LOG_LEVELS: must be like sqlalchemy\.engine=INFO, with one of DEBUG"
    ):
        load()


def test_levels_of_loggers_are_given_by_name() -> None:
    settings = Settings.model_validate({"log_levels": "sqlalchemy.engine=INFO, asyncio = DEBUG"})
    assert settings.levels == {"sqlalchemy.engine": "INFO", "asyncio": "DEBUG"}


def test_production_refuses_to_log_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {"ENVIRONMENT": "production", "SECRET_KEY": SECRET, "LOG_LEVELS": "sqlalchemy.engine=DEBUG"}
    for name, value in fields.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=r"^Setting LOG_LEVELS must not set sqlalchemy to DEBUG in production"):
        load()
    monkeypatch.setenv("LOG_LEVELS", "sqlalchemy.engine=INFO,asyncio=DEBUG")
    assert load().levels["asyncio"] == "DEBUG"


def test_the_token_of_the_metrics_is_long_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ENVIRONMENT": "production", "SECRET_KEY": SECRET, "METRICS_TOKEN": "Zq9"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=r"^Setting METRICS_TOKEN must have at least 32 bytes in production\.$"):
        load()
    monkeypatch.setenv("METRICS_TOKEN", SECRET)
    assert load().metrics_secret == SECRET


def test_the_token_of_the_metrics_is_not_for_a_port_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METRICS_TOKEN", SECRET)
    monkeypatch.setenv("METRICS_PORT", "9100")
    with pytest.raises(SystemExit, match=r"^Setting METRICS_TOKEN is for /metrics on the port of the service") as end:
        load()
    assert SECRET not in str(end.value)


@pytest.mark.parametrize("form", [" {} ", "{}\n", "{}\r\n", "\t{}"])
def test_blanks_and_line_ends_around_a_value_are_no_part_of_it(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"DATABASE_URL": "postgresql://a/b", "SECRET_KEY": SECRET, "POOL_SIZE": "4", "ENVIRONMENT": "production"}
    for name, value in given.items():
        monkeypatch.setenv(name, form.format(value))
    settings = load()
    assert (settings.database.database, settings.secret_keys) == ("b", [SECRET.encode()])
    assert (settings.pool_size, settings.in_development) == (4, False)


@pytest.mark.parametrize("name", ["DATABASE_URL", "SECRET_KEY", "LOG_LEVEL", "POOL_SIZE", "REQUIRE_AUTH"])
def test_a_value_in_quotes_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for quote in "\"'":
        monkeypatch.setenv(name, f"{quote}secret{quote}")
        with pytest.raises(SystemExit, match=rf"^Setting {name}: is in quotes, .*: leave them out\.$"):
            load()


def test_each_line_of_the_example_is_valid_without_its_mark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / ".env.example").read_text()
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(re.sub("^#(?=[A-Z_]+=)", "", text, flags=re.MULTILINE))
    assert list(load().changed) == ["DATABASE_URL"]  # a path in the example, instead of an absolute one
