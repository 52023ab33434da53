# SPDX-License-Identifier: MIT
"""The built dashboard in a real browser, on a real chain."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from mrv_core.manager import BlockchainManager
from mrv_devnet.nodes import AnvilNode
from mrv_service import tokens
from mrv_service.database import Database
from mrv_service.tokens import Scope
from tests.mrv.registry_place import Place

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "mrv_service" / "static" / "index.html"
SCREENSHOTS = ROOT / "artifacts" / "dashboard"
# Nothing of the browser's own goes anywhere; --no-sandbox, because tests run as root in containers.
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_WORDS = {
    "TAMPERED": "tampered",
    "DISAGREE": "disagree",
    "VALID": "valid",
    "NOT_FOUND": "not_found",
    "PENDING": "pending",
    "UNREACHABLE": "unreachable",
}


class Gate:
    """Stands before a node: lets pages of other origins in, as a public node does, and answers wrongly where told to.

    Attributes:
        lie: Takes the method, the parameters and the node's answer, and returns what is answered instead; bytes are
            sent as they are.
    """

    def __init__(self, node_url: str) -> None:
        self.lie: Callable[[str, Any, Any], Any] | None = None
        gate = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_OPTIONS(self) -> None:
                self._send(b"")

            def do_GET(self) -> None:
                self._send(PAGE.read_bytes(), "text/html; charset=utf-8")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                request = urllib.request.Request(node_url, body, {"content-type": "application/json"})  # noqa: S310
                with urllib.request.urlopen(request) as response:  # noqa: S310
                    data = response.read()
                asked, answer = json.loads(body), json.loads(data)
                if gate.lie is not None:
                    told = gate.lie(asked["method"], asked["params"], answer.get("result"))
                    data = told if isinstance(told, bytes) else json.dumps({**answer, "result": told}).encode()
                self._send(data)

            def _send(self, data: bytes, kind: str = "application/json") -> None:
                self.send_response(200)
                for name, value in (
                    ("access-control-allow-origin", "*"),
                    ("access-control-allow-headers", "content-type"),
                    ("content-type", kind),
                    ("content-length", str(len(data))),
                ):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Served:
    """A registry as `mrv serve` runs it, on SQLite in a folder.

    Attributes:
        url: Where its page is.
        database: The file that it keeps everything in.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        program = str(Path(sys.executable).with_name("mrv"))
        command = [program, "serve", "--port", "0", "--base-dir", str(folder), *options]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        said = re.search(r"http://127.0.0.1:\d+", self._process.stderr.readline())
        assert said is not None
        self._reading = threading.Thread(target=self._process.stderr.read)  # or the pipe of its log fills up
        self._reading.start()
        self.url = f"{said[0]}/"
        self.database = folder / "registry.sqlite3"
        self._client = httpx.Client(
            base_url=f"{self.url}api/v1/", headers={"authorization": f"Bearer {self.token(Scope.WRITE)}"}
        )

    def token(self, *scopes: Scope) -> str:
        """Make a token."""
        database = Database(f"sqlite:///{self.database}")
        try:
            return tokens.create(database, "test", scopes)[1]
        finally:
            database.close()

    def submit(self, path: Path, samples: bytes | None = None, receipts: Path | None = None) -> None:
        """Submit a record, and what belongs to it."""
        self._done(self._client.post("records", content=path.read_bytes()))
        for name, data in (("samples", samples), ("receipts", receipts and receipts.read_bytes())):
            if data is not None:
                self._done(self._client.put(f"records/{path.stem}/{name}", content=data))

    def submit_bundle(self, path: Path) -> None:
        self._done(self._client.post("bundles", content=path.read_bytes()))

    def change(self, statement: str, *values: object) -> None:
        """Change the database behind the registry's back, as whoever runs it can."""
        connection = sqlite3.connect(self.database)
        with connection:
            assert connection.execute(statement, values).rowcount == 1
        connection.close()

    def stop(self) -> None:
        self._client.close()
        self._process.kill()
        self._process.wait()
        self._reading.join()
        if self._process.stderr is not None:
            self._process.stderr.close()

    @staticmethod
    def _done(answer: httpx.Response) -> None:
        assert answer.status_code in (200, 201), answer.text


class Dashboard:
    """The page, as a visitor uses it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        self.requested: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        page.on("request", lambda request: self.requested.append(request.url))

    def open(self, after: str = "", url: str = PAGE.as_uri()) -> Dashboard:
        self.page.goto(url + after)
        return self

    def connect(self, place: Place, gate: Gate, **fields: str) -> Dashboard:
        """Fill in the chain's fields and press the button."""
        for name, value in {"contract": place.registry, "rpc": gate.url, **fields}.items():
            self.page.fill(f"#{name}", value)
        self.page.click("#connect")
        self.page.wait_for_selector("#connection:is(.on, .failed)")
        return self

    def give(self, *files: Path | tuple[str, bytes]) -> str:
        """Choose files and return the verdict, as it is named everywhere else."""
        named = [(each.name, each.read_bytes()) if isinstance(each, Path) else each for each in files]
        chosen: list[Any] = [{"name": name, "mimeType": "text/plain", "buffer": data} for name, data in named]
        self.page.set_input_files("#file", chosen)
        return self.verdict()

    def verdict(self) -> str:
        self.page.wait_for_selector("#verdict:not(.busy):not(.none)", timeout=20_000)
        shown = self.page.get_attribute("#verdict", "class")
        return next((word for word, name in _WORDS.items() if name == shown), str(shown).upper())

    @property
    def summary(self) -> str:
        return self.page.inner_text("#summary")

    @property
    def text(self) -> str:
        return self.page.inner_text("body")

    def photograph(self, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is not installed; run: apt-get install chromium")
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context()
    yield context
    context.close()


@pytest.fixture
def dashboard(context: BrowserContext) -> Iterator[Dashboard]:
    dashboard = Dashboard(context.new_page())
    yield dashboard.open()
    assert not [error for error in dashboard.errors if "ERR_" not in error], "a page without errors of its own"


@pytest.fixture(scope="session")
def place(anvil: AnvilNode, tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(anvil, tmp_path_factory.mktemp("dashboard"))


@pytest.fixture
def gate(place: Place) -> Iterator[Gate]:
    gate = Gate(place.node.url)
    yield gate
    gate.close()


@pytest.fixture
def new_registry(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Start registries; the arguments are options of `mrv serve`. All of them are stopped after the test."""
    made: list[Served] = []

    def make(*options: str) -> Served:
        made.append(Served(tmp_path / f"registry-{len(made)}", *options))
        return made[-1]

    yield make
    for each in made:
        each.stop()


def flush(place: Place, manager: BlockchainManager) -> None:
    """Bring the receipts up to date: anvil answers before it has mined, where the machine is busy."""
    place.node.rpc("evm_mine")
    manager.flush()


def strangers(requested: Iterable[str], allowed: Sequence[str]) -> list[str]:
    """Return the requests that went anywhere else than to these origins, the page's own file or text in the page."""
    own = (PAGE.as_uri(), "data:", *allowed)
    return [url for url in requested if not url.startswith(own)]
