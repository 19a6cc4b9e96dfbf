"""Every knob of the service. Set them in the environment or in `.env`; the defaults are for development."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

HERE = Path(__file__).parent
DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True)

    environment: Literal["development", "production"] = Field(
        default="development", description="Production logs JSON, waits for `make migrate`, and wants a `SECRET_KEY`."
    )
    database_url: SecretStr = Field(
        default=SecretStr(f"sqlite+aiosqlite:///{HERE / 'heroes.db'}"), description="SQLite or PostgreSQL."
    )
    secret_key: SecretStr = Field(default=SecretStr(""), description="Signs cursors; at least 32 bytes in production.")
    demo_data: bool = Field(default=True, description="Fill an empty database at the first start, in development only.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="What is logged at least."
    )
    max_body_size: int = Field(default=1024 * 1024, ge=1024, description="Of a request, in bytes; over it, 413.")
    request_timeout: float = Field(default=15, gt=0, le=3600, description="Seconds for one request; then 504.")
    max_in_flight: int = Field(
        default=100, ge=1, le=100_000, description="Requests in work; as many wait for up to 0.5 s, others get a 503."
    )
    shutdown_timeout: float = Field(
        default=20, ge=0, le=3600, description="Seconds that running requests have to finish, once told to stop."
    )
    shutdown_delay: float = Field(
        default=1, ge=0, le=600, description="Seconds of serving on while not ready, so that a balancer looks away."
    )
    pool_size: int = Field(default=20, ge=1, le=1000, description="Connections kept open.")
    pool_overflow: int = Field(default=10, ge=0, le=1000, description="More of them under load; PostgreSQL only.")
    pool_timeout: float = Field(default=3, gt=0, le=60, description="Seconds to wait for a connection; then 503.")
    pool_recycle: float = Field(
        default=1800, ge=-1, description="Seconds after which a connection is renewed; -1 for never."
    )
    pool_pre_ping: bool = Field(default=False, description="Ask before each use whether a connection lives.")
    application_name: str = Field(default="heroes", max_length=63, description="How PostgreSQL lists our connections.")
    statement_timeout: float = Field(
        default=10, gt=0, le=3600, description="Seconds until a statement is given up; then 504."
    )
    lock_timeout: float = Field(default=5, gt=0, le=3600, description="Seconds to wait for another writer; then 503.")
    jit: bool = Field(
        default=False, description="PostgreSQL's compiler of query plans; it does not pay for short queries."
    )
    sql_echo: bool = Field(default=False, description="Log every statement, with its values; never in production.")

    @field_validator("database_url")
    @classmethod
    def known_database(cls, url: SecretStr) -> SecretStr:
        try:
            driver = make_url(url.get_secret_value()).drivername
        except (ArgumentError, ValueError):
            raise ValueError("is not a database URL") from None
        if driver not in DRIVERS:
            raise ValueError("must start with sqlite:// or postgresql://")
        return url

    @model_validator(mode="after")
    def safe_in_production(self) -> Self:
        if self.environment == "production" and len(self.secret_key.get_secret_value().encode()) < 32:
            raise ValueError("SECRET_KEY must have at least 32 bytes in production")
        if self.environment == "production" and self.sql_echo:
            raise ValueError("SQL_ECHO must be off in production: it logs values")
        return self

    @model_validator(mode="after")
    def statements_end_first(self) -> Self:
        if self.statement_timeout >= self.request_timeout:
            raise ValueError("STATEMENT_TIMEOUT must be shorter than REQUEST_TIMEOUT")
        return self

    @property
    def database(self) -> URL:
        """The URL with the driver that we use; libpq's `sslmode` is asyncpg's `ssl`."""
        url = make_url(self.database_url.get_secret_value())
        query = {"ssl" if name == "sslmode" else name: value for name, value in url.query.items()}
        return url.set(drivername=DRIVERS[url.drivername], query=query)

    @property
    def pool(self) -> dict[str, Any]:
        """The knobs of the connections, by the kit's names."""
        return {
            "size": self.pool_size,
            "overflow": self.pool_overflow,
            "timeout": self.pool_timeout,
            "recycle": self.pool_recycle,
            "pre_ping": self.pool_pre_ping,
            "application_name": self.application_name,
            "statement_timeout": self.statement_timeout,
            "lock_timeout": self.lock_timeout,
            "jit": self.jit,
            "echo": self.sql_echo,
        }

    @property
    def in_development(self) -> bool:
        return self.environment == "development"


def load() -> Settings:
    """The settings, or the end of the process with a sentence for each that is wrong."""
    try:
        return Settings()
    except ValidationError as failure:
        raise SystemExit("\n".join(sentence(error["loc"], error["msg"]) for error in failure.errors())) from None


def sentence(location: tuple[int | str, ...], message: str) -> str:
    name = " ".join(str(part).upper() for part in location)
    return f"Setting {name}: {message.removeprefix('Value error, ')}".replace("Setting : ", "Setting ") + "."
