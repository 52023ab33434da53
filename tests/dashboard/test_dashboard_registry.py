# SPDX-License-Identifier: MIT
"""The page of a registry, served by `mrv serve`: its list, what is chosen from it, and links to its records."""

from __future__ import annotations

import functools
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from dashboard.conftest import PAGE, ROOT, Dashboard, Gate, Served, flush, strangers
from playwright.sync_api import Browser, BrowserContext, Route, expect

from mrv_core.manager import BlockchainManager
from mrv_core.mrv.record import generate_mrv_id
from mrv_core.mrv.storage import collect_receipts, receipts_path
from mrv_core.mrv.verification import read_record
from mrv_service.tokens import Scope
from tests.mrv.making import steady
from tests.mrv.registry_place import Place

AXE = ROOT / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
BUNDLE = min((ROOT / "tests" / "bundles" / "golden").rglob("*.mrv.json"))
SAMPLES = b"".join(line + b"\n" for line in steady(60).lines)
HOSTILE = "<script>window.hit=1</script><img src=x onerror='window.hit=1'>\u202egnp.exe\u200b\x1b[31m\x00"
COUNT = 45


def named(place: Place, name: str, **changes: Any) -> Path:
    """Make a record of an experiment."""
    experiment = {"experiment_name": name, "model_name": "ResNet18", "dataset_name": "CIFAR-10"}
    return place.record(generate_mrv_id(), **{"experiment": experiment, **changes})


@pytest.fixture(scope="module")
def kept(place: Place) -> dict[str, Path]:
    """Return the records of the registry by what is special about them."""
    registered = named(place, "the registered one")
    anchored = named(place, "the anchored one")
    with BlockchainManager(place.config(place.key), base_dir=registered.parent) as manager:
        manager.anchor(read_record(registered.read_bytes(), what="record")[1], {"mrv_id": registered.stem})
        flush(place, manager)
    with BlockchainManager(place.config(place.key), base_dir=anchored.parent) as manager:
        manager.anchor(read_record(anchored.read_bytes(), what="record")[1], {"mrv_id": anchored.stem})
        flush(place, manager)
        collect_receipts(anchored.parent, manager.journal)
    hostile = named(
        place,
        HOSTILE,
        experiment={"experiment_name": HOSTILE, "model_name": "x" * 1000, "dataset_name": HOSTILE},
        status="interrupted",
        interruption="KeyboardInterrupt",
    )
    return {"registered": registered, "anchored": anchored, "hostile": hostile}


@pytest.fixture(scope="module")
def served(place: Place, kept: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A registry of 45 records and a bundle."""
    served = Served(tmp_path_factory.mktemp("served") / "registry", "--rate", "1000000")
    for number in range(COUNT - len(kept)):
        served.submit(named(place, f"run {number}"))
    served.submit(kept["hostile"])
    served.submit(kept["registered"])
    served.submit(kept["anchored"], SAMPLES, receipts_path(kept["anchored"]))
    served.submit_bundle(BUNDLE)
    yield served
    served.stop()


@pytest.fixture
def opened(context: BrowserContext, served: Served) -> Iterator[Dashboard]:
    """The page of the registry with its list."""
    dashboard = Dashboard(context.new_page()).open(url=served.url)
    expect(dashboard.page.locator("#listed")).to_have_text("20 records, the newest first; there are more.")
    yield dashboard
    assert not dashboard.errors


def said(dashboard: Dashboard, text: str) -> None:
    """Wait until the list says so."""
    expect(dashboard.page.locator("#listed")).to_contain_text(text)


def search(dashboard: Dashboard, text: str) -> None:
    dashboard.page.fill("#query", text)
    dashboard.page.press("#query", "Enter")


def chosen(dashboard: Dashboard, title: str) -> str:
    """Choose a row, and return the verdict."""
    dashboard.page.click(f'#list button[aria-label="Verify {title}"]')
    return dashboard.verdict()


def test_the_list_is_paged_and_searched(opened: Dashboard, served: Served, kept: dict[str, Path]) -> None:
    page = opened.page
    rows = page.locator("#list tbody tr")
    assert rows.count() == 20
    text = rows.first.inner_text()
    for shown in ("the anchored one", "ResNet18", kept["anchored"].stem, "2026-01-11 08:01", "Wh", "g", "ethereum"):
        assert shown in text
    assert "nowhere yet" in rows.nth(1).inner_text()
    page.click("#more")
    said(opened, "40 records, the newest first; there are more.")
    assert page.evaluate("document.activeElement.closest('tr').rowIndex") == 21, "keys go on where the new rows begin"
    page.click("#more")
    said(opened, "45 records, the newest first.")
    assert page.is_hidden("#more")
    shown = rows.locator("code").all_inner_texts()
    assert len(set(shown)) == COUNT
    search(opened, "RUN 1")
    said(opened, "11 records with \u201cRUN 1\u201d in an id or a name, the newest first.")
    search(opened, kept["registered"].stem)
    said(opened, "1 record with")
    search(opened, "100%_\\")
    said(opened, "No records with \u201c100%_\\\u201d in an id or a name.")
    assert page.locator("#list table").count() == 0
    search(opened, "")
    page.check("#search input[value=bundles]")
    said(opened, "1 bundle, the newest first.")
    assert hashlib.sha256(BUNDLE.read_bytes()).hexdigest() in page.inner_text("#list")
    assert not strangers(opened.requested, [served.url])


def test_more_goes_on_with_what_is_shown(opened: Dashboard) -> None:
    opened.page.fill("#query", "typed, and not asked for")
    opened.page.click("#more")
    said(opened, "40 records, the newest first")


def test_what_is_chosen_is_verified_on_the_connected_chain(
    opened: Dashboard, served: Served, place: Place, gate: Gate, kept: dict[str, Path]
) -> None:
    assert chosen(opened, kept["registered"].stem) == "UNREACHABLE", "nobody was asked but the registry"
    assert not strangers(opened.requested, [served.url])
    opened.connect(place, gate, submitter=place.address)
    assert opened.verdict() == "VALID"
    assert opened.page.inner_text("#given").splitlines() == [
        f"record: {kept['registered'].stem}.json ({kept['registered'].stat().st_size} bytes)"
    ]
    assert chosen(opened, kept["anchored"].stem) == "VALID"
    assert "samples of cpu, ram" in opened.text
    assert "Power over time" in opened.text
    assert [line.split(":")[0] for line in opened.page.inner_text("#given").splitlines()] == [
        "record",
        "receipts",
        "samples",
    ]
    for name in ("contract", "submitter"):
        opened.page.fill(f"#{name}", "")
    opened.page.click("#verify")
    assert opened.verdict() == "VALID", "by its receipts alone"
    assert f"?id={kept['anchored'].stem}" in str(opened.page.get_attribute("#permalink", "href"))
    assert not strangers(opened.requested, [served.url, gate.url])


def test_a_chosen_record_is_not_compared_with_the_id_of_another(
    opened: Dashboard, place: Place, gate: Gate, kept: dict[str, Path]
) -> None:
    opened.page.fill("#id", kept["anchored"].stem)
    opened.connect(place, gate, submitter=place.address)
    assert opened.verdict() == "REGISTERED"
    assert chosen(opened, kept["registered"].stem) == "VALID"
    assert opened.page.input_value("#id") == ""


def test_a_bundle_is_chosen(opened: Dashboard) -> None:
    opened.page.check("#search input[value=bundles]")
    said(opened, "1 bundle")
    assert chosen(opened, json.loads(BUNDLE.read_bytes())["run_id"]) == "UNREACHABLE"
    assert "The root is in the batch" in opened.text


def test_what_was_changed_in_the_database_is_tampered(
    context: BrowserContext, served: Served, place: Place, gate: Gate
) -> None:
    path = named(place, "the changed one")
    place.register(path)
    served.submit(path)
    dashboard = Dashboard(context.new_page()).open(url=served.url).connect(place, gate)
    assert chosen(dashboard, path.stem) == "VALID"
    data = path.read_bytes()
    digit = data.index(b'"total_uwh":') + len(b'"total_uwh":')
    changed = data[:digit] + (b"1" if data[digit : digit + 1] != b"1" else b"2") + data[digit + 1 :]
    served.change("UPDATE records SET content = ? WHERE mrv_id = ?", changed, path.stem)
    assert chosen(dashboard, path.stem) == "TAMPERED"
    other = named(place, "another").read_bytes()
    served.change("UPDATE records SET content = ? WHERE mrv_id = ?", other, path.stem)
    assert chosen(dashboard, path.stem) == "NOT_ASKED_FOR"
    assert f"asked for {path.stem}, this registry gave the record of MRV-" in dashboard.summary
    assert dashboard.page.inner_text("#given") == ""
    served.change("UPDATE records SET content = ? WHERE mrv_id = ?", b"no record", path.stem)
    assert chosen(dashboard, path.stem) == "UNREADABLE"
    served.change("UPDATE records SET content = ? WHERE mrv_id = ?", data, path.stem)
    assert chosen(dashboard, path.stem) == "VALID"
    served.change("DELETE FROM records WHERE mrv_id = ?", path.stem)


def test_a_bundle_of_another_name_is_refused(context: BrowserContext, new_registry: Callable[..., Served]) -> None:
    served = new_registry()
    served.submit_bundle(BUNDLE)
    data = BUNDLE.read_bytes()
    served.change("UPDATE bundles SET content = ?", data.replace(b'"run_id":"', b'"run_id":"x', 1))
    dashboard = Dashboard(context.new_page()).open(url=served.url)
    said(dashboard, "There are no records here yet. They are brought here with: mrv submit")
    dashboard.page.check("#search input[value=bundles]")
    assert chosen(dashboard, json.loads(data)["run_id"]) == "NOT_ASKED_FOR"
    assert f"asked for the bundle sha256:{hashlib.sha256(data).hexdigest()}" in dashboard.summary


def test_a_link_to_a_record_fetches_it_and_asks_no_chain(
    context: BrowserContext, served: Served, place: Place, gate: Gate, kept: dict[str, Path]
) -> None:
    dashboard = Dashboard(context.new_page())
    mrv_id = kept["anchored"].stem
    dashboard.open(f"?id={mrv_id}#rpc={gate.url}&contract={place.registry}", url=served.url)
    assert dashboard.verdict() == "UNREACHABLE", "the evidence holds, and its block is nobody's word yet"
    assert "samples of cpu, ram" in dashboard.text
    assert not strangers(dashboard.requested, [served.url]), "a link does not choose which node is asked"
    dashboard.page.click("#connect")
    assert dashboard.verdict() == "VALID"
    assert "whoever made the link to this page: it chose rpc, contract" in dashboard.text
    assert context.cookies() == []
    assert not dashboard.errors


def test_a_link_to_a_record_that_the_registry_has_not(
    context: BrowserContext, served: Served, place: Place, gate: Gate
) -> None:
    path = named(place, "registered, and not here")
    place.register(path)
    dashboard = Dashboard(context.new_page()).open(f"?id={path.stem}", url=served.url)
    assert dashboard.verdict() == "NOT_HERE"
    assert dashboard.page.inner_text("#word") == "NO COPY HERE"
    assert f"keeps no copy of {path.stem}" in dashboard.summary
    assert "NOT FOUND" not in dashboard.text
    assert dashboard.connect(place, gate).verdict() == "REGISTERED", "the chain has it"
    dashboard.open("?id=%3Cimg/src=x/onerror=window.hit=1%3E", url=served.url)
    assert dashboard.verdict() == "NOT_HERE"


def test_a_private_registry_asks_for_a_token(
    context: BrowserContext, place: Place, new_registry: Callable[..., Served]
) -> None:
    served = new_registry("--private")
    path = named(place, "a private one")
    served.submit(path)
    dashboard = Dashboard(context.new_page())
    shown: dict[str, str | None] = {}
    dashboard.page.on("request", lambda request: shown.update({request.url: request.headers.get("authorization")}))
    dashboard.open(f"?id={path.stem}", url=served.url)
    assert dashboard.verdict() == "UNREACHABLE"
    assert "this registry is private: give a token to read it" in dashboard.summary
    said(dashboard, "This registry is private")
    field = dashboard.page.locator("#token")
    assert field.get_attribute("type") == "password"
    for wrong, words in {
        "mrv_0123456789ab_" + "x" * 43: "does not take that token",
        served.token(Scope.WRITE): "lets this token not read",
        "no token": "printable ASCII",
    }.items():
        field.fill(wrong)
        field.press("Enter")
        said(dashboard, words)
    token = served.token(Scope.READ)
    field.fill(token)
    field.press("Enter")
    said(dashboard, "1 record, the newest first.")
    assert dashboard.page.is_hidden("#access")
    assert dashboard.page.evaluate("document.activeElement.id") == "query"
    expect(dashboard.page.locator("#given")).to_contain_text(path.stem)
    assert dashboard.verdict() == "UNREACHABLE", "no chain was asked"
    assert "no MRVRegistry contract was asked" in dashboard.summary
    assert {url for url, header in shown.items() if header == f"Bearer {token}"} == {
        f"{served.url}api/v1/records?limit=20",
        f"{served.url}api/v1/records/{path.stem}",
        f"{served.url}api/v1/records/{path.stem}/content",
    }
    assert token not in dashboard.page.url + dashboard.page.content() + field.input_value()
    assert not strangers(dashboard.requested, [served.url])
    assert dashboard.page.evaluate("localStorage.length + sessionStorage.length") == 0
    dashboard.open(url=served.url)
    said(dashboard, "This registry is private")


def test_names_are_only_ever_text(opened: Dashboard, kept: dict[str, Path]) -> None:
    page = opened.page
    row = page.locator("#list tbody tr", has_text=kept["hostile"].stem)
    text = row.inner_text()
    assert "<script>window.hit=1</script><img" in text
    assert "x" * 80 + "\u2026" in text
    assert "interrupted" in text
    assert not set("\u202e\u200b\x1b\x00") & set(opened.text)
    search(opened, HOSTILE[:30])
    said(opened, f"1 record with \u201c{HOSTILE[:30]}\u201d")
    search(opened, "\u202e")
    said(opened, "with \u201c\\u{202e}\u201d")
    assert chosen(opened, kept["hostile"].stem) == "UNREACHABLE"
    assert page.evaluate("window.hit") is None
    assert page.locator("img, iframe, #list script, #result script").count() == 0


def test_a_server_that_goes_away(
    context: BrowserContext, place: Place, gate: Gate, new_registry: Callable[..., Served]
) -> None:
    served = new_registry()
    path = named(place, "a lost one")
    place.register(path)
    served.submit(path)
    dashboard = Dashboard(context.new_page()).open(url=served.url).connect(place, gate)
    said(dashboard, "1 record, the newest first.")
    served.stop()
    assert chosen(dashboard, path.stem) == "UNREACHABLE"
    assert "the server that this page came from does not answer" in dashboard.summary
    search(dashboard, "x")
    said(dashboard, "The server that this page came from does not answer: is it running, and is there a network?")
    assert dashboard.page.locator("#list table").count() == 0
    assert dashboard.page.is_visible("#again")
    assert dashboard.give(path) == "VALID", "files do without it"


def _answered(route: Route, status: int, body: str = "{}", **headers: str) -> None:
    kind = "application/json" if status == 200 else "application/problem+json"
    route.fulfill(status=status, body=body, content_type=kind, headers={"content-type": kind, **headers})


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda route: _answered(route, 429, **{"retry-after": "7"}), "was asked too often; try again in 7 s."),
        (lambda route: _answered(route, 503, '{"detail":"the database is busy"}'), "cannot answer now: the database"),
        (
            lambda route: _answered(route, 200, '{"items":[{}],"next":null}'),
            "for a list of records is none that this page knows",
        ),
        (lambda route: route.abort(), "does not answer"),
    ],
)
def test_a_list_that_did_not_come_is_asked_for_again(
    context: BrowserContext, served: Served, answer: Callable[[Route], None], words: str
) -> None:
    dashboard = Dashboard(context.new_page())
    dashboard.page.route("**/api/v1/records?*", answer)
    dashboard.open(url=served.url)
    said(dashboard, words)
    dashboard.page.unroute("**/api/v1/records?*")
    dashboard.page.click("#again")
    said(dashboard, "20 records")
    assert dashboard.page.is_hidden("#again")
    dashboard.page.route("**/api/v1/records?*", answer)
    dashboard.page.click("#more")
    said(dashboard, words)
    assert dashboard.page.locator("#list tbody tr").count() == 20
    dashboard.page.unroute("**/api/v1/records?*")
    dashboard.page.click("#again")
    said(dashboard, "40 records")


def test_a_slow_answer_never_shows_over_a_later_question(
    opened: Dashboard, place: Place, gate: Gate, kept: dict[str, Path]
) -> None:
    page = opened.page
    waiting: list[Route] = []
    page.route("**/api/v1/records?*q=slow*", lambda route: waiting.append(route))
    page.route(f"**/{kept['hostile'].stem}/content", lambda route: waiting.append(route))
    with page.expect_request("**q=slow*"):
        search(opened, "slow")
    search(opened, "registered one")
    said(opened, "1 record with \u201cregistered one\u201d")
    search(opened, "")
    said(opened, "20 records")
    with page.expect_request("**/content"):
        page.click(f'#list button[aria-label="Verify {kept["hostile"].stem}"]')
    assert chosen(opened, kept["registered"].stem) == "UNREACHABLE"
    for route in waiting:
        route.continue_()
    opened.connect(place, gate)
    assert opened.verdict() == "VALID"
    assert kept["registered"].stem in page.inner_text("#given")
    assert kept["hostile"].stem not in page.inner_text("#given")
    said(opened, "20 records")


def test_connecting_waits_for_the_file_that_a_link_names(
    context: BrowserContext, served: Served, place: Place, gate: Gate, kept: dict[str, Path]
) -> None:
    dashboard = Dashboard(context.new_page())
    waiting: list[Route] = []
    dashboard.page.route("**/content", lambda route: waiting.append(route))
    with dashboard.page.expect_request("**/content"):
        dashboard.open(f"?id={kept['registered'].stem}", url=served.url)
    dashboard.connect(place, gate)
    expect(dashboard.page.locator("#verdict")).to_have_class("busy")
    waiting[0].continue_()
    assert dashboard.verdict() == "VALID", "and not that it is registered, and was not compared"


@pytest.fixture
def plain_server(tmp_path: Path) -> Iterator[str]:
    """A web server that has the page as a file."""
    (tmp_path / "index.html").write_bytes(PAGE.read_bytes())

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/index.html"
    server.shutdown()
    server.server_close()


def test_a_plain_web_server_has_no_list(
    context: BrowserContext, plain_server: str, place: Place, gate: Gate, kept: dict[str, Path]
) -> None:
    dashboard = Dashboard(context.new_page())
    with dashboard.page.expect_event("requestfinished", lambda request: "/api/v1/records/" in request.url):
        dashboard.open(f"?id={kept['registered'].stem}", url=plain_server)
    expect(dashboard.page.locator("#verdict")).to_have_class("none")
    assert "The link filled in the fields" in dashboard.summary
    assert dashboard.page.is_hidden("#registry")
    assert dashboard.connect(place, gate).verdict() == "REGISTERED"
    assert dashboard.give(kept["registered"]) == "VALID"
    assert dashboard.page.is_hidden("#registry")


def test_a_page_from_a_disk_asks_nobody(context: BrowserContext, kept: dict[str, Path]) -> None:
    dashboard = Dashboard(context.new_page()).open(f"?id={kept['registered'].stem}")
    assert dashboard.give(kept["registered"]) == "UNREACHABLE"
    assert dashboard.page.is_hidden("#registry")
    assert not strangers(dashboard.requested, [])
    assert not dashboard.errors


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 360)])
def test_anyone_can_use_the_list(
    browser: Browser, served: Served, place: Place, gate: Gate, kept: dict[str, Path], scheme: Any, width: int
) -> None:
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})
    dashboard = Dashboard(context.new_page()).open(url=served.url)
    page = dashboard.page
    said(dashboard, "20 records")
    page.focus("#search input[value=records]")
    page.keyboard.press("Tab")
    page.keyboard.type("ed one")
    page.keyboard.press("Enter")
    said(dashboard, "2 records")
    for _ in range(3):
        page.keyboard.press("Tab")  # the button, the table that may scroll, its first row
    page.keyboard.press("Enter")
    dashboard.verdict()
    assert kept["anchored"].stem in dashboard.text
    search(dashboard, "")
    said(dashboard, "20 records")
    dashboard.connect(place, gate)
    assert dashboard.verdict() == "VALID"
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate("axe.run()")["violations"]
    assert not [(each["id"], each["nodes"][0]["html"]) for each in found], "of any weight"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for live in ("#listed", "#verdict"):
        assert page.get_attribute(live, "role") == "status"
    dashboard.photograph(f"registry-{scheme}-{width}")
    page.check("#search input[value=bundles]")
    said(dashboard, "1 bundle")
    page.locator("#registry").screenshot(path=ROOT / "artifacts" / "dashboard" / f"bundles-{scheme}-{width}.png")
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_field_for_a_token_can_be_used_by_anyone(
    browser: Browser, new_registry: Callable[..., Served], scheme: Any
) -> None:
    context = browser.new_context(color_scheme=scheme)
    dashboard = Dashboard(context.new_page()).open(url=new_registry("--private").url)
    said(dashboard, "This registry is private")
    dashboard.page.evaluate(AXE.read_text("utf-8"))
    assert not dashboard.page.evaluate("axe.run()")["violations"]
    dashboard.photograph(f"private-{scheme}")
    context.close()
