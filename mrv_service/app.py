# SPDX-License-Identifier: MIT
"""The application: routes, limits and what observes them, around one database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from mrv_core.registry import Registry
from mrv_service import dashboard, observing, problems, routes
from mrv_service.bundles import Bundles
from mrv_service.database import CONNECTIONS, Database
from mrv_service.gauges import Gauges
from mrv_service.idempotency import IdempotencyKeys
from mrv_service.limits import BodyLimit, HostLimit, RateLimit
from mrv_service.log import RegistryLog
from mrv_service.records import Records
from mrv_service.settings import ServiceSettings
from mrv_service.verifications import Verifications


def create_app(settings: ServiceSettings, registry: Registry | None = None) -> FastAPI:
    """Build the application; its database is opened, and brought up to date, when it starts.

    Args:
        settings: Checked settings.
        registry: Known drivers; by default those installed.

    Raises:
        ConfigurationError: the database's URL cannot be used.
    """
    database = Database(settings.url)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        database.upgrade()
        app.state.log.enter_missing()
        # Each needs a connection: more of them would wait for one, and keep the others from working.
        current_default_thread_limiter().total_tokens = CONNECTIONS
        yield
        database.close()

    app = FastAPI(
        title="MRV registry",
        version=version("mrv-provenance"),
        openapi_url=f"{routes.PREFIX}/openapi.json",
        docs_url=None,  # both pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # to a name that the request gave, and without TLS
        lifespan=lifespan,
    )
    app.state.settings = settings
    app.state.database = database
    app.state.metrics = observing.Metrics()
    app.state.gauges = Gauges(database)
    app.state.records = Records(database, registry or Registry.load())
    app.state.bundles = Bundles(database)
    app.state.log = RegistryLog(database)
    app.state.verifications = Verifications(database)
    app.state.idempotency_keys = IdempotencyKeys(database)
    app.include_router(routes.router)
    app.include_router(observing.router)
    app.include_router(dashboard.router)
    problems.install(app)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET"],
            expose_headers=["ETag"],
        )
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    app.add_middleware(HostLimit, allowed=settings.allowed_hosts)
    app.add_middleware(RateLimit, per_minute=settings.rate_per_minute)
    app.add_middleware(observing.Observing, metrics=app.state.metrics)
    return app
