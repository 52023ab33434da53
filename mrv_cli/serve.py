# SPDX-License-Identifier: MIT
"""`mrv serve` and `mrv token`: a registry of records and bundles over HTTP, and who may use it."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mrv_cli.options import ConfigOption, JsonOption, read_config
from mrv_cli.output import console, guarded, note, print_json
from mrv_core.errors import ConfigurationError

if TYPE_CHECKING:
    from mrv_service.settings import ServiceSettings

SERVE_EXAMPLES = """\b
Examples:
  mrv serve                                http://127.0.0.1:8000, data in registry/
  mrv serve --host 0.0.0.0 --port 80 --private
  MRV_DATABASE_URL=postgresql+psycopg://mrv@db/mrv mrv serve --cors https://lab.example

\b
Make a token for each program that submits: mrv token create NAME --scope write
Exit status: 0 stopped, 2 usage, 4 the database or the port cannot be used.
"""

ACCESS_EXAMPLES = """\b
Examples:
  mrv token create "training cluster" --scope write
  mrv token list
  mrv token revoke 1f0c2a7e9b44
"""

_DATABASE_VARIABLE = "MRV_DATABASE_URL"

WORKER_EXAMPLES = """\b
Examples:
  mrv worker --config configs/blockchain_config.sepolia.json
  mrv worker --every-records 10000 --after 600
  mrv worker --once --after 0              from a scheduler

\b
Records that were submitted with receipts of their own are left alone. Several workers may run on one database; they
share a journal where they share a folder.
Exit status: 0 stopped, or nothing left to do now; 2 usage; 4 the database or the journal cannot be used.
"""

_PAUSE_S = 1.0

BaseOption = Annotated[
    Path, typer.Option("--base-dir", metavar="DIR", help="Folder of the embedded database.", readable=False)
]
token_app = typer.Typer(no_args_is_help=True, help="Make, list and revoke the tokens of a registry.")


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
    settings = _settings(base_dir, **given, **({} if rate is None else {"rate_per_minute": rate}))
    with _needed():
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


@guarded
def worker(
    base_dir: BaseOption = Path("registry"),
    config: ConfigOption = None,
    every_records: Annotated[
        int, typer.Option("--every-records", metavar="N", help="Most records in a batch.", min=1, max=1_000_000)
    ] = 1000,
    after_s: Annotated[
        float, typer.Option("--after", metavar="S", help="Longest that a record waits for its batch.", min=0)
    ] = 60.0,
    once: Annotated[bool, typer.Option("--once", help="Do what is to be done now, and end.")] = False,
) -> None:
    """Anchor the records of a registry in batches, on the networks of the configuration, until they are final."""
    from mrv_core.manager import BlockchainManager

    with _needed():
        from mrv_service.worker import Pace, Worker, waiting
    database = _database(base_dir)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with BlockchainManager(read_config(config), base_dir=base_dir) as manager:
        made = Worker(database, manager, f"{socket.gethostname()}:{os.getpid()}", Pace(every_records, after_s))
        note(f"anchoring on {', '.join(manager.config.require_networks(None))}")
        if once:
            while not stop.is_set() and made.step():
                pass
        else:
            made.run(stop, _PAUSE_S)
    alone, unfinished = waiting(database)
    note(f"{alone} records wait for a batch, {unfinished} batches are not final")


@token_app.command("create", epilog=ACCESS_EXAMPLES)
@guarded
def create_token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the token is for.", show_default=False)],
    scope: Annotated[list[str], typer.Option("--scope", metavar="SCOPE", help="What it allows: read, write.")],
    base_dir: BaseOption = Path("registry"),
    as_json: JsonOption = False,
) -> None:
    """Make a token, and print it: it is shown this once, and kept nowhere."""
    with _needed():
        from mrv_service import tokens
        from mrv_service.tokens import Scope
    unknown = sorted(set(scope) - set(Scope))
    if unknown:
        raise ConfigurationError(f"there is no scope {unknown[0]!r:.40}", hint=f"scopes: {', '.join(Scope)}")
    made, text = tokens.create(_database(base_dir), name, [Scope(each) for each in scope])
    if as_json:
        print_json({"id": made.id, "name": made.name, "scopes": sorted(made.scopes), "token": text})
        return
    console().print(text, soft_wrap=True, markup=False, highlight=False)
    note(f"id {made.id}; it is not shown again")


@token_app.command("list", epilog=ACCESS_EXAMPLES)
@guarded
def list_tokens(base_dir: BaseOption = Path("registry"), as_json: JsonOption = False) -> None:
    """List the tokens: what each is for, and never the token itself."""
    from mrv_core.report.terminal import line

    with _needed():
        from mrv_service import tokens
    found = tokens.all_tokens(_database(base_dir))
    if as_json:
        print_json({"tokens": [{**asdict(each), "scopes": sorted(each.scopes)} for each in found]})
        return
    for each in found:
        state = "revoked" if each.revoked_at else " ".join(sorted(each.scopes))
        console().print(line(f"{each.id}  {each.created_at}  {state:<10}  {each.name}"), soft_wrap=True)
    if not found:
        note("there is no token")


@token_app.command("revoke", epilog=ACCESS_EXAMPLES)
@guarded
def revoke_token(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the token, not the token.", show_default=False)],
    base_dir: BaseOption = Path("registry"),
) -> None:
    """Revoke a token, for good and at once."""
    with _needed():
        from mrv_service import tokens
    if not tokens.revoke(_database(base_dir), token_id):
        raise ConfigurationError("there is no token of this id that is valid", hint="see 'mrv token list'")
    note(f"revoked {token_id}")


def _database(base_dir: Path) -> Any:
    from mrv_service.database import Database

    database = Database(_settings(base_dir).url)
    database.upgrade()
    return database


def _settings(base_dir: Path, **given: Any) -> ServiceSettings:
    with _needed():
        from pydantic import SecretStr

        from mrv_service.settings import service_settings
    url = os.environ.get(_DATABASE_VARIABLE)
    return service_settings({"base_dir": base_dir, "database_url": SecretStr(url) if url else None, **given})


@contextmanager
def _needed() -> Iterator[None]:
    """Name the extra where its libraries are missing."""
    try:
        yield
    except ImportError as error:
        raise ConfigurationError(
            f"the registry needs {error.name}", hint="install the extra: pip install 'mrv-provenance[service]'"
        ) from error
