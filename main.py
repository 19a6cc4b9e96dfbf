"""The application: its resources, and what surrounds them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from fastapi import FastAPI

import demo
from heroes import (
    category,
    dashboard,
    hero,
    item,
    me,
    overview,
    post,
    power_transfer,
    product,
    product_deletion,
    review,
    stock_movement,
    stock_transfer,
    team,
    token,
    user,
)
from kit.auth.login_limits import Throttle
from kit.auth.permissions import Guard
from kit.auth.tokens import Tokens
from kit.database import migrations as migration
from kit.database.databases import Database
from kit.database.engines import Pool
from kit.http import problems as problem
from kit.openapi import docs
from kit.server import garbage_collection as collector
from kit.server import health, middleware
from kit.server import request_log as observe
from kit.server.shutdown import Shutdown
from settings import Settings, listed, load

PEOPLE = (hero, team, power_transfer, token, me, user, item, post)
SHOP = (category, product, product_deletion, overview, review, stock_movement, stock_transfer)
RESOURCES = (*PEOPLE, *SHOP, dashboard)
NO_SECRET = bytes(32)
"""Where no token is needed, and so nothing is to be won by forging one."""


def create_app(settings: Settings) -> FastAPI:
    observe.configure_logging(as_json=not settings.in_development, level=settings.log_level)
    app = FastAPI(
        title="Heroes",
        version="1.0.0",
        description="Heroes and their teams, users and what is theirs, and a shop, over REST.",
        lifespan=lifespan,
        openapi_url=None,  # the kit serves the docs
        redirect_slashes=False,
    )
    app.state.settings = settings
    together = {"coalesce": settings.coalesce_reads, "group": settings.group_commit}
    app.state.database = Database(settings.database, Pool(**settings.pool), **together)
    app.state.secrets = settings.secret_keys or [NO_SECRET]
    app.state.max_body_size = settings.max_body_size
    app.state.request_timeout = settings.request_timeout
    tokens = Tokens(app.state.secrets, settings.token_audience, timedelta(minutes=settings.token_minutes))
    app.state.guard = Guard(settings.auth, settings.registration, tokens, token.find_caller)
    app.state.throttle = Throttle(
        settings.limits_url.get_secret_value(),
        per_account=settings.login_failures,
        per_address=settings.login_failures_address,
        window=settings.login_window,
    )
    app.state.shutdown = Shutdown(settings.shutdown_delay, settings.shutdown_timeout)
    for module in (*RESOURCES, health):
        app.router.routes.extend(module.router.routes)  # flat: included routers are matched twice for every request
    docs.install(app)
    problem.install(app)
    hosts, origins = listed(settings.trusted_hosts), listed(settings.cors_origins)
    middleware.install(
        app, limit=settings.max_in_flight, hosts=hosts, origins=origins, credentials=settings.cors_credentials
    )
    return app


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    if app.state.shutdown.listen():
        collector.relax()
    if app.state.settings.in_development:
        await migration.prepare(app.state.database, demo.fill if app.state.settings.demo_data else None)
    yield
    await app.state.database.dispose()


app = create_app(load())
