# SPDX-License-Identifier: MIT
"""`mrv serve`: a registry of records and bundles over HTTP."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from mrv_cli.output import guarded, note
from mrv_cli.registry import BaseOption, database_of, needed, settings_of
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

LOOPBACK_NAMES: Final = ("127.0.0.1", "localhost", "[::1]", "::1")
_BACKLOG: Final = 2048
"""Connections that wait to be accepted, as uvicorn has it."""


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
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="NAME",
            help="Name that it is asked by; by default any, on loopback its own.",
        ),
    ] = None,
    processes: Annotated[
        int, typer.Option("--processes", metavar="N", help="Processes that share the port.", min=1, max=64)
    ] = 1,
) -> None:
    """Run a registry of records and bundles. The database is SQLite, or PostgreSQL by MRV_DATABASE_URL."""
    given: dict[str, Any] = {"reads": "private" if private else "public", "cors_origins": tuple(cors or ())}
    hosts = tuple(allow_host or ()) or (LOOPBACK_NAMES if host in LOOPBACK_NAMES else ())
    settings = settings_of(
        base_dir, allowed_hosts=hosts, **given, **({} if rate is None else {"rate_per_minute": rate})
    )
    with needed():
        from mrv_service.serving import Serving, run

    # Opened here, where it can be told in one line what is wrong.
    database_of(base_dir).close()
    try:
        listening = _listen(host, port)
    except OSError as error:
        why = error.strerror or str(error)
        raise ConfigurationError(f"{host}:{port} cannot be listened on: {why}", hint="choose another --port") from error
    with listening:
        place = f"[{host}]" if ":" in host else host
        note(f"registry on http://{place}:{listening.getsockname()[1]}, stop it with Ctrl-C")
        run(Serving(settings), listening, processes)


def _listen(host: str, port: int) -> socket.socket:
    """Open the socket, as TCP by name: asyncio leaves Nagle's algorithm on for any other, 40 ms an answer."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening
