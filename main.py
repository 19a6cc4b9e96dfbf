"""The application: its resources, and what surrounds them."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

import demo
from heroes import (
    category,
    dashboard,
    hero,
    item,
    overview,
    post,
    power_transfer,
    product,
    product_deletion,
    review,
    stock_movement,
    stock_transfer,
    team,
    user,
)
from heroes.kit import docs, health, migration, observe, problem
from heroes.kit.admission import Admission
from heroes.kit.database import Database
from heroes.kit.engine import Pool
from heroes.kit.fault import FAILURES
from heroes.kit.shutdown import Shutdown
from settings import Settings, load

log = logging.getLogger("heroes")
PEOPLE = (hero, team, power_transfer, user, item, post)
SHOP = (category, product, product_deletion, overview, review, stock_movement, stock_transfer)
RESOURCES = (*PEOPLE, *SHOP, dashboard)
DESCRIPTION = "Heroes and their teams, users and what is theirs, and a shop, over REST."


def create_app(settings: Settings) -> FastAPI:
    observe.configure_logging(as_json=not settings.in_development, level=settings.log_level)
    app = FastAPI(
        title="Heroes",
        version="1.0.0",
        description=DESCRIPTION,
        lifespan=lifespan,
        openapi_url=None,  # the kit serves the docs
        redirect_slashes=False,
    )
    app.state.settings = settings
    app.state.database = Database(settings.database, Pool(**settings.pool))
    app.state.secret = settings.secret_key.get_secret_value().encode()
    app.state.max_body_size = settings.max_body_size
    app.state.request_timeout = settings.request_timeout
    app.state.shutdown = Shutdown(settings.shutdown_delay, settings.shutdown_timeout)
    for module in (*RESOURCES, health):
        app.router.routes.extend(module.router.routes)  # flat: included routers are matched twice for every request
    docs.install(app)
    problem.install(app)
    app.add_middleware(Admission, limit=settings.max_in_flight)
    app.add_middleware(observe.Observe)
    return app


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.shutdown.listen()
    if app.state.settings.in_development:
        await prepare(app.state.settings, app.state.database)
    yield
    await app.state.database.dispose()


async def prepare(settings: Settings, database: Database) -> None:
    """Bring the database up to date. Without one the service starts all the same, and says that it is not ready."""
    try:
        await migration.upgrade(settings.database)
        if settings.demo_data:
            await demo.fill(database)
    except FAILURES as failure:
        log.error("The database cannot be prepared: %s", str(failure).partition("\n")[0])  # noqa: TRY400  no traceback


app = create_app(load())
