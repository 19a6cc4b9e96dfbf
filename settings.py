"""Settings: read from environment variables or the file `.env`. The defaults are for development."""

import os
import re
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import URL

from kit.auth.counters import refuse_other_storage
from kit.database.poolers import pooled
from kit.database.servers import standby_urls
from kit.database.urls import parsed, refuse_in_memory
from kit.http.origins import refuse_other_origin
from kit.http.request_headers import refuse_other_name
from kit.http.urls import is_http_url
from kit.server.proxies import refuse_other_addresses

HERE = Path(__file__).parent
S = TypeVar("S", bound=BaseSettings)
NAME = "heroes"
"""The name of the service: the issuer of tokens; by default also the SQLite file, the audience, `APPLICATION_NAME`."""

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
HOST = re.compile(r"\*|(\*\.)?[\w.-]+|\[[0-9A-Fa-f:.]+\]")
"""A host name without scheme, port and path; an IPv6 address in brackets."""


class Settings(BaseSettings):
    """The settings of the service. Each has the name of its environment variable, in lower case."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True)

    environment: Literal["development", "production"] = Field(
        default="development",
        description="`production` logs JSON, needs a `SECRET_KEY`, and does not migrate the database at start.",
    )
    database_url: SecretStr = Field(
        default=SecretStr(f"sqlite+aiosqlite:///{HERE / NAME}.db"), description="SQLite or PostgreSQL."
    )
    database_pooler: Literal["none", "transaction"] = Field(
        default="none",
        description="`transaction` if `DATABASE_URL` leads to PgBouncer in transaction mode; or write the option "
        "`pgbouncer=true` in the URL.",
    )
    replica_url: SecretStr = Field(
        default=SecretStr(""),
        description="Standbys of PostgreSQL that answer reads, as in `postgresql://app@b,c/app`: several hosts, or "
        "several URLs separated by spaces; see docs/replicas.md.",
    )
    max_replica_lag: float = Field(
        default=10, ge=0.5, le=3600, description="The longest lag of a standby that is read, in seconds."
    )
    secret_key: SecretStr = Field(
        default=SecretStr(""),
        description="Signs tokens and cursors; at least 32 bytes. `new,old` while the key is being replaced.",
    )
    require_auth: bool | None = Field(
        default=None, description="Whether requests need a token. The default is true in production only."
    )
    registration: bool = Field(default=True, description="Whether anyone may register with `POST /users/`.")
    token_minutes: int = Field(default=60, ge=1, le=525_600, description="Minutes for which a token is valid.")
    token_audience: str = Field(
        default=NAME, min_length=1, description="The audience (`aud`) of tokens. Tokens for others are refused."
    )
    login_failures: int = Field(
        default=10, ge=1, description="Failed logins of one account within the window; more get a 429."
    )
    login_failures_address: int = Field(
        default=100, ge=1, description="Failed logins from one address within the window; more get a 429."
    )
    login_window: int = Field(
        default=300, ge=1, le=86_400, description="Seconds for which a failed login or a registration counts."
    )
    registrations_address: int = Field(
        default=50, ge=1, description="Registrations from one address within the window of logins; more get a 429."
    )
    limits_url: SecretStr = Field(
        default=SecretStr("memory://"),
        description="The storage that counts failed logins, registrations and requests per minute; `redis://…` for "
        "several workers.",
    )
    cors_origins: str = Field(
        default="", description="Web origins whose pages may call the service, comma-separated; none if empty."
    )
    cors_credentials: bool = Field(default=False, description="Whether browsers may send credentials such as cookies.")
    cors_headers: str = Field(
        default="",
        description="Request headers that these pages may send in addition to those of the service, comma-separated, "
        "as in `traceparent`; `*` for all.",
    )
    forwarded_allow_ips: str = Field(
        default="127.0.0.1,::1",
        description="Addresses and networks of proxies whose `X-Forwarded-…` headers are believed, comma-separated, or "
        "`*`; uvicorn reads the same variable.",
    )
    trusted_hosts: str = Field(
        default="*", description="Accepted host names, comma-separated, as in `*.example.com`; `*` for all."
    )
    security_contact: str = Field(
        default="",
        description="Where to report vulnerabilities, as in `mailto:security@example.com`, comma-separated; shown in "
        "`/.well-known/security.txt`, which does not exist if empty.",
    )
    demo_data: bool = Field(
        default=True, description="Whether an empty database is filled with examples at start, in development only."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="The lowest level that is logged."
    )
    log_levels: str = Field(
        default="",
        description="Levels of other loggers, comma-separated, as in `sqlalchemy.engine=INFO,asyncio=DEBUG`; their "
        "records are written like those of the service.",
    )
    metrics_token: SecretStr = Field(
        default=SecretStr(""),
        description="The bearer token that reads `/metrics`, in addition to those of superusers; at least 32 bytes in "
        "production.",
    )
    metrics_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="A port of its own for `/metrics`, which needs no token there, and is not served elsewhere.",
    )
    metrics_host: str = Field(default="127.0.0.1", description="The address that `METRICS_PORT` listens on.")
    metrics_dir: str = Field(
        default="",
        description="The folder in which workers share their metrics; a folder for temporary files if empty.",
    )
    otel_exporter_otlp_endpoint: str = Field(
        default="",
        description="The OpenTelemetry collector that gets traces, as in `http://localhost:4318`; none if empty. Needs "
        "`make tracing`; the other variables of OpenTelemetry are in `docs/tracing.md`.",
    )
    max_body_size: int = Field(
        default=2**20, ge=1024, description="The largest JSON body, in bytes; a larger one gets a 413."
    )
    max_body_values: int = Field(
        default=40_000, ge=1000, description="The largest number of values in a JSON body; more get a 413."
    )
    max_upload_size: int = Field(
        default=10 * 2**20, ge=1024, description="The largest form or upload, in bytes; a larger one gets a 413."
    )
    max_page_size: int = Field(
        default=12 * 2**20,
        ge=1024,
        description="The largest page of a list, in bytes of its JSON; a page of larger rows ends earlier.",
    )
    request_timeout: float = Field(
        default=15, gt=0, le=3600, description="The longest time for a request, in seconds; then it gets a 504."
    )
    max_in_flight: int = Field(
        default=100,
        ge=1,
        le=100_000,
        description="Requests served at the same time. As many more wait for up to 0.5 s, and callers take turns; "
        "others get a 503 or a 429.",
    )
    max_streams: int = Field(
        default=100,
        ge=1,
        le=100_000,
        description="Streaming responses and WebSockets served at the same time; others get a 503.",
    )
    caller_share: float = Field(
        default=0.2,
        gt=0,
        le=1,
        description="The part of `MAX_STREAMS`, and of the memory for slow bodies, that one caller has at most.",
    )
    user_rate: int | None = Field(
        default=None,
        ge=0,
        le=10**9,
        description="Requests of one user per minute; more get a 429. 0 is no limit, as by default in development; in "
        "production the default is 6,000.",
    )
    address_rate: int | None = Field(
        default=None,
        ge=0,
        le=10**9,
        description="The same for requests without a valid token from one address (IPv6: one /64 network); in "
        "production the default is 600.",
    )
    shutdown_timeout: float = Field(
        default=20,
        ge=0,
        le=3600,
        description="Seconds for running requests to finish when the service is stopped.",
    )
    shutdown_delay: float = Field(
        default=1,
        ge=0,
        le=600,
        description="Seconds to go on serving, but not ready, before a stop, so that load balancers notice it.",
    )
    pool_size: int = Field(
        default=30, ge=1, le=1000, description="Database connections of each worker, opened when needed and then kept."
    )
    pool_overflow: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="Additional connections under load, which are opened and closed for each use; PostgreSQL only.",
    )
    pool_timeout: float = Field(
        default=3, gt=0, le=60, description="Seconds to wait for a connection; then the request gets a 503."
    )
    pool_recycle: float = Field(
        default=1800, ge=-1, description="Seconds after which a connection is replaced; -1 for never."
    )
    pool_pre_ping: bool = Field(default=False, description="Whether a connection is tested before each use.")
    coalesce_reads: bool = Field(
        default=True, description="Whether identical reads that run at the same time share one query."
    )
    group_commit: bool = Field(default=True, description="Whether writes that arrive together share one transaction.")
    fast_path: bool = Field(
        default=True,
        description="Whether cheaper steps replace those of FastAPI and SQLAlchemy where the result is the same.",
    )
    application_name: str = Field(
        default=NAME, max_length=63, description="The `application_name` of PostgreSQL's connections."
    )
    statement_timeout: float = Field(
        default=10, ge=0.001, le=3600, description="The longest time for a statement, in seconds; then a 504."
    )
    lock_timeout: float = Field(
        default=5, ge=0.001, le=3600, description="The longest wait for a database lock, in seconds; then a 503."
    )
    slow_statement: float = Field(
        default=0.2,
        ge=0.01,
        le=3600,
        description="Seconds from which on a statement is logged as slow, with its text and without values.",
    )
    jit: bool = Field(default=False, description="Whether PostgreSQL compiles query plans, which delays short queries.")
    sql_echo: bool = Field(
        default=False, description="Whether every statement is logged with its values; not allowed in production."
    )

    @field_validator("*", mode="before")
    @classmethod
    def texts_in_utf8(cls, value: Any) -> Any:
        if isinstance(value, str) and value != value.encode(errors="replace").decode():
            raise ValueError("must be text in UTF-8: write random bytes as `openssl rand -hex 32` does")
        return value

    @field_validator("*", mode="before")
    @classmethod
    def plain_text(cls, value: Any, info: ValidationInfo) -> Any:
        """Ignore spaces and line ends around a value, and an empty value of a setting whose default is None."""
        if not isinstance(value, str):
            return value
        text = value.strip()
        if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
            raise ValueError("is in quotes, which are part of its value here: leave them out")
        is_absent = text == "" and cls.model_fields[str(info.field_name)].default is None
        return None if is_absent else text

    @field_validator("database_url")
    @classmethod
    def known_database(cls, url: SecretStr) -> SecretStr:
        parsed(url.get_secret_value())
        return url

    @field_validator("replica_url")
    @classmethod
    def known_standbys(cls, urls: SecretStr) -> SecretStr:
        standby_urls(urls.get_secret_value())
        return urls

    @field_validator("limits_url")
    @classmethod
    def known_storage(cls, url: SecretStr) -> SecretStr:
        refuse_other_storage(url.get_secret_value())
        return url

    @field_validator("cors_origins")
    @classmethod
    def web_origins(cls, origins: str) -> str:
        for origin in comma_separated(origins):
            refuse_other_origin(origin)
        return origins

    @field_validator("cors_headers")
    @classmethod
    def names_of_headers(cls, names: str) -> str:
        for name in comma_separated(names):
            refuse_other_name(name)
        return names

    @field_validator("forwarded_allow_ips")
    @classmethod
    def addresses_of_proxies(cls, addresses: str) -> str:
        refuse_other_addresses(addresses)
        return addresses

    @field_validator("trusted_hosts")
    @classmethod
    def host_names(cls, hosts: str) -> str:
        names = comma_separated(hosts)
        if not names or not all(map(HOST.fullmatch, names)):
            raise ValueError("must be like api.example.com or *.example.com, without scheme and port, or *")
        return hosts

    @field_validator("security_contact")
    @classmethod
    def contact_urls(cls, contacts: str) -> str:
        if not all(contact.startswith(("mailto:", "https://", "tel:")) for contact in comma_separated(contacts)):
            raise ValueError("must be URLs that start with mailto:, https:// or tel:")
        return contacts

    @field_validator("otel_exporter_otlp_endpoint")
    @classmethod
    def url_of_collector(cls, url: str) -> str:
        if url and not is_http_url(url):
            raise ValueError("must be a URL, as in http://localhost:4318")
        return url

    @field_validator("log_levels")
    @classmethod
    def levels_of_loggers(cls, levels: str) -> str:
        for part in comma_separated(levels):
            name, is_given, level = part.partition("=")
            if not is_given or not name.strip() or level.strip() not in LEVELS:
                raise ValueError(f"must be like sqlalchemy.engine=INFO, with one of {', '.join(LEVELS)}")
        return levels

    @model_validator(mode="after")
    def metrics_are_closed(self) -> Self:
        token = self.metrics_secret
        if token and self.metrics_port is not None:
            raise ValueError("METRICS_TOKEN is for /metrics on the port of the service: leave METRICS_PORT out, or it")
        if token and not self.in_development and len(token.encode()) < 32:
            raise ValueError("METRICS_TOKEN must have at least 32 bytes in production")
        return self

    @model_validator(mode="after")
    def safe_in_production(self) -> Self:
        if (self.auth or not self.in_development) and (not self.secret_keys or min(map(len, self.secret_keys)) < 32):
            raise ValueError("SECRET_KEY must have at least 32 bytes in production, and if requests need a token")
        if self.environment == "production" and self.sql_echo:
            raise ValueError("SQL_ECHO must be off in production: it logs values")
        if not self.in_development and any(map(shows_rows, self.levels.items())):
            raise ValueError("LOG_LEVELS must not set sqlalchemy to DEBUG in production: it logs rows")
        if self.environment == "production" and self.cors_credentials and "*" in comma_separated(self.cors_origins):
            raise ValueError("CORS_ORIGINS must not be * in production if CORS_CREDENTIALS is on")
        return self

    @model_validator(mode="after")
    def pooler_of_postgresql(self) -> Self:
        if self.database_pooler != "none" and self.database.get_backend_name() == "sqlite":
            raise ValueError("DATABASE_POOLER is for PostgreSQL, and DATABASE_URL is a SQLite database")
        return self

    @model_validator(mode="after")
    def standbys_of_postgresql(self) -> Self:
        if self.standbys and self.database.get_backend_name() == "sqlite":
            raise ValueError("REPLICA_URL is for PostgreSQL, and DATABASE_URL is a SQLite database")
        return self

    @model_validator(mode="after")
    def statements_end_first(self) -> Self:
        if self.statement_timeout >= self.request_timeout:
            raise ValueError("STATEMENT_TIMEOUT must be shorter than REQUEST_TIMEOUT")
        return self

    @property
    def database(self) -> URL:
        """The URL of the database for SQLAlchemy, with the asynchronous driver."""
        url = parsed(self.database_url.get_secret_value())
        return pooled(url) if self.database_pooler == "transaction" else url

    @property
    def standbys(self) -> list[URL]:
        """The URL of each standby."""
        return standby_urls(self.replica_url.get_secret_value())

    @property
    def changed(self) -> dict[str, str]:
        """The settings that differ from their defaults, by environment variable. Secrets are replaced by `…`."""
        fields = type(self).model_fields.items()
        values = {name: getattr(self, name) for name, field in fields if getattr(self, name) != field.default}
        shown = {name: "…" if isinstance(value, SecretStr) else str(value) for name, value in values.items()}
        if "database_url" in shown:
            shown["database_url"] = self.database.set(query={}).render_as_string()
        return {name.upper(): value for name, value in shown.items()}

    @property
    def auth(self) -> bool:
        """Whether requests need a token."""
        return not self.in_development if self.require_auth is None else self.require_auth

    @property
    def rates(self) -> tuple[int, int]:
        """The maximum requests per minute of a user, and of an address without a valid token. 0 is no limit."""
        defaults = (0, 0) if self.in_development else (6_000, 600)
        given = (self.user_rate, self.address_rate)
        user, address = (default if rate is None else rate for rate, default in zip(given, defaults, strict=True))
        return user, address

    @property
    def secret_keys(self) -> list[bytes]:
        return [key.encode() for key in comma_separated(self.secret_key.get_secret_value())]

    @property
    def metrics_secret(self) -> str:
        """The text of `METRICS_TOKEN`; empty for none."""
        return self.metrics_token.get_secret_value().strip()

    @property
    def levels(self) -> dict[str, str]:
        """The levels in `LOG_LEVELS`, by name of the logger."""
        pairs = (part.split("=", 1) for part in comma_separated(self.log_levels))
        return {name.strip(): level.strip() for name, level in pairs}

    @property
    def in_development(self) -> bool:
        return self.environment == "development"


def shows_rows(level_of_logger: tuple[str, str]) -> bool:
    """Return whether a logger with this level logs rows of the database, as SQLAlchemy's do at DEBUG."""
    name, level = level_of_logger
    return level == "DEBUG" and name.partition(".")[0] == "sqlalchemy"


def comma_separated(text: str) -> list[str]:
    """Return the non-empty parts of a comma-separated setting."""
    return [part.strip() for part in text.split(",") if part.strip()]


def load() -> Settings:
    """Read the settings. Exits the process with a message for each invalid setting.

    OpenTelemetry reads its variables from the environment only, so those of `.env` are added to it.
    """
    for name, value in dotenv_values(".env").items():
        if name.startswith("OTEL_") and value:
            os.environ.setdefault(name, value)
    settings = read(Settings)
    try:
        refuse_in_memory(settings.database)
    except ValueError as failure:
        raise SystemExit(explain(("database_url",), str(failure))) from None
    return settings


def read(kind: type[S]) -> S:
    """Return an instance of this class of settings. Exits the process with a message for each invalid setting."""
    try:
        return kind()
    except ValidationError as failure:
        raise SystemExit("\n".join(explain(error["loc"], error["msg"]) for error in failure.errors())) from None


def explain(location: tuple[int | str, ...], message: str) -> str:
    """Return the message for an invalid setting, as in `Setting POOL_SIZE: Input should be …`."""
    setting = "".join(f"{part}: ".upper() for part in location)
    return f"Setting {setting}{message.removeprefix('Value error, ')}."
