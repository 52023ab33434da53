# SPDX-License-Identifier: MIT
"""`mrv serve`: a registry of records and bundles over HTTP."""

from __future__ import annotations

import logging
import socket
from pathlib import Path
from typing import Annotated, Any

import typer

from mrv_cli.output import guarded, note
from mrv_cli.registry import BaseOption, needed, settings_of
from mrv_core.errors import ConfigurationError

SERVE_EXAMPLES = """\b
Examples:
  mrv serve                                http://127.0.0.1:8000, data in registry/
  mrv serve --host 0.0.0.0 --port 80 --private
  MRV_DATABASE_URL=postgresql+psycopg://mrv@db/mrv mrv serve --cors https://lab.example

\b
Make a token for each program that submits: mrv token create NAME --scope write
Exit status: 0 stopped, 2 usage, 4 the database or the port cannot be used.
"""


@guarded
def serve(
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", help="Port; 0 takes a free one.", min=0, max=65535)
    ] = 8000,
    base_dir: BaseOption = Path("registry"),
    private: Annotated[bool, typer.Option("--private", help="Ask for a token of the scope 'read' to read.")] = False,
    cors: Annotated[
        list[str] | None, typer.Option("--cors", metavar="ORIGIN", help="Page that may read from a browser.")
    ] = None,
    rate: Annotated[int | None, typer.Option("--rate", metavar="N", help="Requests a minute for each address.")] = None,
) -> None:
    """Run a registry of records and bundles. The database is SQLite, or PostgreSQL by MRV_DATABASE_URL."""
    given: dict[str, Any] = {"reads": "private" if private else "public", "cors_origins": tuple(cors or ())}
    settings = settings_of(base_dir, **given, **({} if rate is None else {"rate_per_minute": rate}))
    with needed():
        import uvicorn

        from mrv_service.app import create_app
        from mrv_service.observing import JsonLines

        app = create_app(settings)
    app.state.database.upgrade()  # here, where it can be told in one line what is wrong
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    for name in ("mrv_service", "mrv_core", "uvicorn.error"):
        logging.getLogger(name).handlers = [handler]
        logging.getLogger(name).setLevel(logging.INFO)
        logging.getLogger(name).propagate = False
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        why = error.strerror or str(error)
        raise ConfigurationError(f"{host}:{port} cannot be listened on: {why}", hint="choose another --port") from error
    with listening:
        place = f"[{host}]" if ":" in host else host
        note(f"registry on http://{place}:{listening.getsockname()[1]}, stop it with Ctrl-C")
        uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False)).run(sockets=[listening])
