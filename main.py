"""The application: its resources, and what surrounds them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

import demo
from heroes import hero, team
from heroes.kit import docs, health, migration, observe, problem
from heroes.kit.database import Database, Pool
from settings import Settings, load

RESOURCES = (hero, team)
DESCRIPTION = "Heroes and their teams, over REST. Errors are [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) problems."


def create_app(settings: Settings) -> FastAPI:
    app = FastAPI(
        title="Heroes",
        version="1.0.0",
        description=DESCRIPTION,
        lifespan=lifespan,
        openapi_url=None,  # the kit serves the docs
        redirect_slashes=False,
    )
    app.state.settings = settings
    app.state.database = Database(settings.database, pool_of(settings))
    app.state.secret = settings.secret_key.get_secret_value().encode()
    app.state.max_body_size = settings.max_body_size
    for module in (*RESOURCES, health):
        app.router.routes.extend(module.router.routes)  # flat: included routers are matched twice for every request
    docs.install(app)
    problem.install(app)
    app.add_middleware(observe.Observe)
    return app


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings: Settings = app.state.settings
    observe.configure_logging(as_json=not settings.in_development, level=settings.log_level)
    if settings.in_development:
        await migration.upgrade(settings.database)
        if settings.demo_data:
            await demo.fill(app.state.database)
    yield
    await app.state.database.dispose()


def pool_of(settings: Settings) -> Pool:
    return Pool(
        size=settings.pool_size,
        overflow=settings.pool_overflow,
        timeout=settings.pool_timeout,
        recycle=settings.pool_recycle,
        pre_ping=settings.pool_pre_ping,
        application_name=settings.application_name,
        statement_timeout=settings.statement_timeout,
        jit=settings.jit,
        echo=settings.sql_echo,
    )


app = create_app(load())
