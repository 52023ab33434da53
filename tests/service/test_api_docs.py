# SPDX-License-Identifier: MIT
"""docs/API.md has every route of the application and no other, and its examples do what they say."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.routing import APIRoute

from mrv_core.config import load_config
from mrv_core.manager import BlockchainManager
from mrv_core.mrv.storage import RecordReceipts
from mrv_core.registry import Registry
from mrv_service.app import create_app
from mrv_service.settings import ServiceSettings
from tests.mrv.making import steady

from .conftest import record

ROOT = Path(__file__).parents[2]
MRV = str(Path(sys.executable).with_name("mrv"))
PAGE = (ROOT / "docs" / "API.md").read_text(encoding="utf-8")
BUNDLE = ROOT / "tests" / "bundles" / "golden" / "bundle-1" / "real.mrv.json"
METHODS = "GET|POST|PUT|DELETE|PATCH"


def plain(path: str) -> str:
    """Return a path without the names of its parameters."""
    return re.sub(r"\{[^}]*\}", "{}", path)


def test_the_page_has_every_route_and_no_other(tmp_path: Path) -> None:
    app = create_app(ServiceSettings(base_dir=tmp_path))
    paths = app.openapi()["paths"]
    routes = {(method.upper(), plain(path)) for path, methods in paths.items() for method in methods}
    shown = re.findall(rf"^## ({METHODS}) (/\S*)$", PAGE, re.MULTILINE)
    assert {(method, plain(path)) for method, path in shown} == routes
    assert len(shown) == len(routes)


def test_the_page_has_every_route_beside_the_api(tmp_path: Path) -> None:
    app = create_app(ServiceSettings(base_dir=tmp_path))
    hidden = {route.path for route in every_route(app.routes) if not route.include_in_schema}
    beside = re.findall(r"^\| `GET (/\S*)` \|", PAGE, re.MULTILINE)
    assert set(beside) == hidden | {"/api/v1/openapi.json"}


def every_route(routes: object) -> Iterator[APIRoute]:
    """Yield the routes, also those of routers inside."""
    for route in routes:  # type: ignore[attr-defined]
        if isinstance(route, APIRoute):
            yield route
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from every_route(inner.routes)


def test_every_status_is_explained(tmp_path: Path) -> None:
    paths = create_app(ServiceSettings(base_dir=tmp_path)).openapi()["paths"]
    answers = {int(status) for methods in paths.values() for each in methods.values() for status in each["responses"]}
    rows = re.findall(r"^\| ([0-9, ]+) \|", PAGE, re.MULTILINE)
    explained = {int(status) for row in rows for status in row.split(",")}
    assert {status for status in answers if status >= 400} <= explained


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Start a registry, and lay out what the page's first lines name."""
    made = record()
    folder = tmp_path / "mrv_data"
    folder.mkdir()
    (folder / f"{made.mrv_id}.json").write_bytes(made.to_bytes())
    (folder / f"{made.mrv_id}.samples.csv").write_bytes(b"".join(line + b"\n" for line in steady(20).lines))
    known = Registry.load()
    config = load_config({"blockchain": {"networks": ["log"]}}, registry=known, environment={})
    with BlockchainManager(config, base_dir=folder, registry=known) as manager:
        outcomes = manager.anchor(made.hash, {"mrv_id": made.mrv_id})
    receipts = {name: outcome.receipt for name, outcome in outcomes.items() if outcome.receipt is not None}
    held = RecordReceipts(mrv_id=made.mrv_id, commitment=made.hash, receipts=receipts)
    (folder / f"{made.mrv_id}.receipts.json").write_bytes(held.to_bytes())
    (tmp_path / "results.mrv.json").write_bytes(BUNDLE.read_bytes())

    base = ["--base-dir", str(tmp_path / "registry")]
    create = [MRV, "token", "create", "test", "--scope", "write", "--scope", "read", *base]
    token = subprocess.run(create, capture_output=True, text=True, check=True).stdout.strip()
    with subprocess.Popen([MRV, "serve", "--port", "0", *base], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = re.search(r"http://\S+:\d+", process.stderr.readline())
        assert said is not None
        yield {
            **{name: value for name, value in os.environ.items() if not name.startswith("MRV_")},
            "MRV_REGISTRY_URL": said[0],
            "MRV_REGISTRY_TOKEN": token,
            "ID": made.mrv_id,
            "BUNDLE": "results.mrv.json",
        }
        process.kill()
        process.communicate()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language} no-run\n((?:.*\n)*?)```$", PAGE, re.MULTILINE)


def test_the_python_runs(environment: dict[str, str], tmp_path: Path) -> None:
    program = "\n".join(blocks("python"))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def test_the_commands_run(environment: dict[str, str], tmp_path: Path) -> None:
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    commands = re.findall(r"^\$ (.*)$", "\n".join(blocks("console")), re.MULTILINE)
    assert len(commands) == len(re.findall(rf"^## ({METHODS}) ", PAGE, re.MULTILINE))
    for command in commands:
        failing = command.replace("curl", "curl --silent --show-error --fail", 1)
        assert shlex.split(command)[0] == "curl"
        done = subprocess.run(failing, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True)  # noqa: S602
        assert done.returncode == 0, command + done.stderr
    assert (tmp_path / "record.json").read_bytes() == (tmp_path / "mrv_data" / f"{environment['ID']}.json").read_bytes()
    assert (tmp_path / "fetched.mrv.json").read_bytes() == BUNDLE.read_bytes()
