"""The settings: safe defaults, and one clear sentence for each that is wrong."""

from pathlib import Path

import pytest

from settings import Settings, load

SECRET = "0123456789abcdef0123456789abcdef"  # noqa: S105  a test's


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def database_of(url: str) -> str:
    return Settings.model_validate({"database_url": url}).database.render_as_string(hide_password=False)


def test_without_any_setting_a_file_of_sqlite_lies_beside_the_project() -> None:
    assert load().database.drivername == "sqlite+aiosqlite"
    assert load().database.database == str(Path(__file__).parents[1] / "heroes.db")


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_every_way_to_write_a_postgresql_url_leads_to_asyncpg(scheme: str) -> None:
    assert database_of(f"{scheme}://a:b@host/db") == "postgresql+asyncpg://a:b@host/db"


def test_libpqs_sslmode_is_understood() -> None:
    assert database_of("postgres://host/db?sslmode=require").endswith("/db?ssl=require")


@pytest.mark.parametrize("url", ["mysql://secret@host/db", "secret", "", "http://secret"])
def test_an_unknown_database_ends_the_process_with_a_sentence_without_the_url(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(SystemExit) as end:
        load()
    assert str(end.value).startswith("Setting DATABASE_URL: ")
    assert "secret" not in str(end.value)


def test_each_wrong_setting_has_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POOL_SIZE", "0")
    monkeypatch.setenv("LOG_LEVEL", "LOUD")
    with pytest.raises(SystemExit) as end:
        load()
    assert [line.split(":")[0] for line in str(end.value).splitlines()] == ["Setting LOG_LEVEL", "Setting POOL_SIZE"]


@pytest.mark.parametrize("secret", ["", "short"])
def test_production_wants_a_long_secret_key(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    monkeypatch.setenv("SECRET_KEY", secret)
    with pytest.raises(SystemExit, match=r"^Setting SECRET_KEY must have at least 32 bytes in production\.$"):
        load()


def test_production_refuses_to_log_values(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ENVIRONMENT": "production", "SECRET_KEY": SECRET, "SQL_ECHO": "true"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=r"^Setting SQL_ECHO must be off in production"):
        load()


def test_no_secret_is_shown() -> None:
    settings = Settings.model_validate({"database_url": "postgres://a:hidden@host/db", "secret_key": SECRET})
    assert "hidden" not in repr(settings)
    assert SECRET not in repr(settings)


def test_a_statement_ends_before_its_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUEST_TIMEOUT", "5")
    with pytest.raises(SystemExit, match=r"^Setting STATEMENT_TIMEOUT must be shorter than REQUEST_TIMEOUT\.$"):
        load()
