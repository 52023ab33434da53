# SPDX-License-Identifier: MIT
"""User, password, API key and query: in no error, however a server repeats them, and in no log at any level."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pytest
from fault_modes import FOR_A_GREETING, JSON_RPC_MODES, MODES, Case, Reply, Steps, timeouts
from faulty import FaultServer, always
from watchdog import outcome_of

import mrv_core.transport
from mrv_core.errors import BackendError, FormatError
from mrv_core.transport import HttpTransport, JsonRpcClient, RpcError
from mrv_core.transport.masking import Mask, url_secrets

USER, PASSWORD = "s3ntinel-user", "s3ntinel p@ss/word"
PATH_KEY, QUERY_KEY, BARE_KEY = "s3ntinelpathkey", "s3ntinel+query=key", "s3ntinelbare"
USERINFO = f"{USER}:{quote(PASSWORD, safe='')}"
SECRET_PATH = f"/v3/{PATH_KEY}?apikey={quote(QUERY_KEY)}&{BARE_KEY}"
CREDENTIALS = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
FORMS = {
    form.lower()
    for secret in (USER, PASSWORD, PATH_KEY, QUERY_KEY, BARE_KEY, CREDENTIALS)
    for form in (secret, quote(secret), quote(secret, safe=""), unquote(secret), secret.replace(" ", "+"))
}

Connect = Callable[..., HttpTransport]


def leaks(thing: object) -> list[str]:
    """Return the secrets that an object shows."""
    text = f"{thing} {thing!r}".lower()
    return [form for form in FORMS if form in text]


def shown_by(error: BaseException | None) -> Iterator[Any]:
    """Yield what a report of an error may show: it, what it holds, variables of our frames, the same of its causes."""
    while error is not None:
        yield from (error, error.args, vars(error), getattr(error, "hint", None))
        yield from variables(error.__traceback__)
        error = error.__cause__ or error.__context__


def variables(trace: TracebackType | None) -> Iterator[Any]:
    while trace is not None:
        if trace.tb_frame.f_globals["__name__"].startswith(mrv_core.transport.__name__):
            yield from trace.tb_frame.f_locals.values()
        trace = trace.tb_next


def secret_url(server: FaultServer) -> str:
    return server.url.replace("//", f"//{USERINFO}@") + SECRET_PATH


def test_the_sentinels_would_be_found() -> None:
    url = f"http://{USERINFO}@host{SECRET_PATH}"
    assert {USER, PATH_KEY, BARE_KEY, quote(QUERY_KEY).lower(), quote(PASSWORD, safe="").lower()} <= set(leaks(url))
    assert any(leaks(item) for item in shown_by(ValueError(url)))
    with pytest.raises(FormatError) as refused:
        HttpTransport(url.replace("@host", "@host:port"))
    assert any(leaks(item) for item in variables(refused.value.__traceback__))  # the argument of the constructor


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode not in FOR_A_GREETING])
def test_no_fault_shows_a_secret(connect: Connect, caplog: pytest.LogCaptureFixture, mode: str) -> None:
    caplog.set_level(logging.DEBUG)
    asks: list[Callable[[HttpTransport], Any]] = [
        lambda transport: JsonRpcClient(transport).call("method"),
        lambda transport: JsonRpcClient(transport).batch([("method", [])]),
        lambda transport: transport.request("GET", "/x"),
    ]
    for ask in asks[:2] if mode in JSON_RPC_MODES else asks:
        for timeout_s in timeouts(mode):
            with FaultServer(plan=always(mode)) as server:
                transport = connect(secret_url(server), timeout_s=timeout_s, max_bytes=300_000)
                outcome = outcome_of(lambda ask=ask, transport=transport: ask(transport))
            if server.fired:
                break
        assert server.fired == {mode: 1}
        assert server.requests[0].headers["authorization"] == f"Basic {CREDENTIALS}"
        assert PATH_KEY in server.requests[0].target
        for error in outcome if isinstance(outcome, list) else [outcome]:
            if isinstance(error, BaseException):
                assert isinstance(error, BackendError)
                assert [leak for item in shown_by(error) for leak in leaks(item)] == []
        assert leaks(transport) == leaks(JsonRpcClient(transport)) == leaks(transport.name) == []
    assert leaks(caplog.text) == []


@pytest.mark.parametrize(
    "url",
    [
        f"http://{USERINFO}@127.0.0.1:1{SECRET_PATH}",
        f"http://{USERINFO}@nobody.invalid{SECRET_PATH}",
        f"https://{USERINFO}@127.0.0.1:1{SECRET_PATH}",
    ],
)
def test_no_failure_to_connect_shows_a_secret(connect: Connect, url: str) -> None:
    outcome = outcome_of(lambda: connect(url).request("GET"))
    assert isinstance(outcome, BackendError)
    assert [leak for item in shown_by(outcome) for leak in leaks(item)] == []


@pytest.mark.parametrize(
    "url",
    [
        f"http://{USERINFO}@host:port{SECRET_PATH}",
        f"ftp://{USERINFO}@host{SECRET_PATH}",
        f"http://[{USERINFO}@{PATH_KEY}]/",
        f"http://{USERINFO}@ex\u2100mple.org{SECRET_PATH}",
        f"http://{USERINFO}@host/{PATH_KEY} with a blank",
        f"http://{USERINFO}@/{PATH_KEY}",
    ],
)
def test_an_address_that_is_refused_is_not_repeated(url: str) -> None:
    with pytest.raises(FormatError) as refused:
        HttpTransport(url)
    error: BaseException | None = refused.value
    assert [leak for item in (error, vars(error), str(error), repr(error)) for leak in leaks(item)] == []
    assert (refused.value.__cause__, refused.value.__context__) == (None, None)


def test_what_a_server_says_is_shown_without_the_secrets(connect: Connect) -> None:
    def tell(case: Case) -> Steps:
        message = f"{PATH_KEY.upper()} of {PASSWORD} at http://host/?apikey={quote(QUERY_KEY)} is over its limit"
        error = {"code": 1, "message": message, "data": f"0x08c379a0{'00' * 600}"}
        yield Reply.json({"id": 1, "error": error}).encode()

    with FaultServer(plan=always(tell)) as server, pytest.raises(RpcError) as refused:
        JsonRpcClient(connect(secret_url(server))).call("method")
    assert refused.value.reason == "*** of *** at http://host/?apikey=*** is over its limit"
    assert refused.value.data == f"0x08c379a0{'00' * 600}"


def test_a_text_becomes_one_short_printable_line() -> None:
    mask = Mask(["secret"], shown="")
    assert mask("a\r\nb\x1b[31m\u202ec\u0000\td") == "a b [31m c d"
    assert mask("x" * 10_000) == "x" * 300
    assert mask("secret" * 10_000) == "***" * 100
    assert mask("SECRET and secret") == "*** and ***"
    assert Mask(["k%20ey!"], shown="")("k%20ey!, k ey!, k%20ey%21") == "***, ***, ***"
    assert mask(" " * 5_000_000 + "secret") == ""
    assert repr(mask) == "Mask(***)"


def test_what_everybody_sees_anyway_and_what_is_in_every_text_is_not_masked() -> None:
    mask = Mask(["node", "abc", "", "password"], shown="https://node.example:443")
    assert mask("the node says abc of password") == "the node says abc of ***"
    assert Mask([], shown="")("everything") == "everything"


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        ("http://host:80/api/v0", []),
        ("http://host/v3/0123456789abcdef", ["0123456789abcdef"]),
        ("http://token@host", ["token", "token"]),
        ("http://a:b@c@host/?k=v%20w&x", ["a:b@c", "a", "b@c", "k=v%20w&x", "v w", "x"]),
    ],
)
def test_what_counts_as_a_secret_in_an_address(url: str, secrets: list[str]) -> None:
    assert [secret for secret in url_secrets(urlsplit(url)) if secret] == secrets
