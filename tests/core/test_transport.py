# SPDX-License-Identifier: MIT
"""What the transport sends and to whom, how it keeps connections, and what it refuses to send at all."""

from __future__ import annotations

import base64
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fault_modes import Case, Do, Reply, Request, Steps
from faulty import FaultServer, always, honest
from watchdog import outcome_of

from mrv_core.errors import FormatError
from mrv_core.transport import HttpTransport, JsonRpcClient, TransportError, http1

Connect = Callable[..., HttpTransport]


# --- what is sent ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "path", "target"),
    [
        ("", "", "/"),
        ("/", "", "/"),
        ("", "/wallet/mrv", "/wallet/mrv"),
        ("/v3/key", "", "/v3/key"),
        ("/v3/key/", "", "/v3/key"),
        ("/v3/key", "/wallet/mrv", "/v3/key/wallet/mrv"),
        ("/api/v0", "block/put?format=raw", "/api/v0/block/put?format=raw"),
        ("?apikey=k", "", "/?apikey=k"),
        ("/v3?apikey=k&x=1", "", "/v3?apikey=k&x=1"),
        ("/v3?apikey=k", "/add?pin=true", "/v3/add?pin=true&apikey=k"),
        ("/v3#fragment", "", "/v3"),
        ("/a%20b", "/c%2Fd", "/a%20b/c%2Fd"),
    ],
)
def test_paths_and_queries_are_put_together(
    connect: Connect, server: FaultServer, base: str, path: str, target: str
) -> None:
    connect(server.url + base).request("GET", path)
    assert server.requests[0].target == target


def test_the_bytes_of_a_request_are_those_that_were_meant(connect: Connect, server: FaultServer) -> None:
    transport = connect(server.url)
    transport.request("POST", "/x", body=b"\x00\xff\r\n", headers={"Content-Type": "image/png"})
    transport.request("POST", "/x")
    transport.request("GET", "/x")
    first, second, third = server.requests
    common = {"host": f"127.0.0.1:{server.port}", "user-agent": "mrv-provenance", "accept-encoding": "identity"}
    assert first == Request(
        "POST", "/x", {**common, "content-type": "image/png", "content-length": "4"}, b"\x00\xff\r\n"
    )
    assert second == Request("POST", "/x", {**common, "content-length": "0"}, b"")
    assert third == Request("GET", "/x", common, b"")


@pytest.mark.parametrize(
    ("userinfo", "options", "credentials"),
    [
        ("user:password@", {}, "user:password"),
        ("user:p%40ss%3Aw%C3%B6rd@", {}, "user:p@ss:wörd"),
        ("user:p@ss@", {}, "user:p@ss"),
        ("token@", {}, "token:"),
        (":password@", {}, ":password"),
        ("", {"user": "user", "password": "p%40ss"}, "user:p%40ss"),
        ("user:old@", {"password": "new"}, "user:new"),
        ("", {}, None),
        ("@", {}, None),
    ],
)
def test_credentials_become_basic_authentication(
    connect: Connect, server: FaultServer, userinfo: str, options: dict[str, str], credentials: str | None
) -> None:
    connect(server.url.replace("//", f"//{userinfo}"), **options).request("GET")
    sent = server.requests[0].headers.get("authorization")
    assert sent == (None if credentials is None else f"Basic {base64.b64encode(credentials.encode()).decode()}")


def test_a_token_becomes_bearer_authentication(connect: Connect, server: FaultServer) -> None:
    transport = connect(server.url.replace("//", "//user:password@"), token="the-token")
    transport.request("GET")
    assert server.requests[0].headers["authorization"] == "Bearer the-token"
    assert transport.mask("the-token of user with password") == "*** of *** with ***"
    with pytest.raises(FormatError):
        connect(server.url, token="two\r\nlines").request("GET")


def test_a_head_request_has_no_body_to_wait_for(connect: Connect) -> None:
    with FaultServer(plan=always(lambda case: iter([case.honest().head()]))) as server:
        transport = connect(server.url)
        responses = [transport.request("HEAD", "/x") for _ in range(2)]
        assert [(response.status, response.body) for response in responses] == [(200, b""), (200, b"")]
        assert responses[0].headers["content-type"] == "text/plain"
        assert server.connections == 1


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_that_has_no_body_ends_with_its_headers(connect: Connect, status: int) -> None:
    steps = [f"HTTP/1.1 {status} None\r\nContent-Length: 7\r\n\r\n".encode()]
    with FaultServer(plan=always(lambda _: iter(steps))) as server:
        transport = connect(server.url, timeout_s=50)
        outcome = outcome_of(lambda: transport.request("GET"))
        assert isinstance(outcome, TransportError) if status == 304 else outcome.body == b""


def test_headers_have_lower_case_names_and_are_joined(connect: Connect) -> None:
    reply = Reply(200, (("X-Thing", "a"), ("x-tHING", "  b "), ("X-Empty", "")), b"body")
    with FaultServer(answer=lambda _: reply) as server:
        headers = connect(server.url).request("GET").headers
    assert headers == {"x-thing": "a, b", "x-empty": "", "content-length": "4"}


def test_headers_of_almost_64_kib_are_read(connect: Connect) -> None:
    reply = Reply(200, (("X-Long", "a" * 65_000),), b"body")
    with FaultServer(answer=lambda _: reply) as server:
        assert connect(server.url).request("GET").headers["x-long"] == "a" * 65_000


@pytest.mark.parametrize("length", [0, 1, 65_535, 65_536, 65_537, 1_000_000])
@pytest.mark.parametrize("mode", ["chunks", "body-to-the-end", "line-feeds-only", None])
def test_every_byte_of_a_body_arrives(connect: Connect, length: int, mode: str | None) -> None:
    body = bytes(index * 7 % 251 for index in range(min(length, 1000))) * (length // 1000 or 1)
    with FaultServer(lambda _: Reply(200, (), body), always(mode) if mode else honest) as server:
        transport = connect(server.url, max_bytes=len(body))
        assert transport.request("GET").body == body
        too_small = connect(server.url, max_bytes=max(0, len(body) - 1))
        outcome = outcome_of(lambda: too_small.request("GET"))
        assert isinstance(outcome, TransportError) if body else outcome.body == b""


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8545",
        "ftp://host/",
        "file:///etc/passwd",
        "http://",
        "http:///path",
        "http://:80/",
        "http://host:port/",
        "http://host:0/",
        "http://host:65536/",
        "http://host:-1/",
        "http://[::1/",
        "http://[::zz]/",
        "http://[evil.example]/",
        "http://ho st/",
        "http://host%0d%0aX-A:b/",
        "http://host/a b",
        "http://host/\x00",
        "http://host/ä",
        "http://host/?key=ä",
        "http://ex\u2100mple.org/",
        f"http://{'a' * 64}.example/",
        f"http://{'a.' * 200}example/",
    ],
)
def test_what_is_no_address_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(FormatError) as refused:
        HttpTransport(url)
    assert refused.value.hint
    assert len(url) < 8 or url not in f"{refused.value} {refused.value.hint}"
    assert (refused.value.__cause__, refused.value.__context__) == (None, None)


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET /evil HTTP/1.1\r\nX: ", "/", {}),
        ("get", "/", {}),
        ("", "/", {}),
        ("GET", "/a b", {}),
        ("GET", "/a HTTP/1.1\r\nX-A: b\r\n\r\nGET /evil", {}),
        ("GET", "/a\nb", {}),
        ("GET", "/ä", {}),
        ("GET", "/\x7f", {}),
        ("GET", "/", {"X-A": "b\r\nX-B: c"}),
        ("GET", "/", {"X-A": "b\r\n c"}),
        ("GET", "/", {"X-A": "b\nc"}),
        ("GET", "/", {"X-A": "b\rc"}),
        ("GET", "/", {"X-A": "b\x00c"}),
        ("GET", "/", {"X-A": "\u20ac"}),
        ("GET", "/", {"X-A: b\r\nX-B": "c"}),
        ("GET", "/", {"X A": "c"}),
        ("GET", "/", {"": "c"}),
    ],
)
def test_what_would_be_another_request_is_not_sent(
    connect: Connect, server: FaultServer, method: str, path: str, headers: dict[str, str]
) -> None:
    with pytest.raises(FormatError):
        connect(server.url).request(method, path, headers=headers)
    assert server.connections == 0


def test_a_header_may_have_latin_letters(connect: Connect, server: FaultServer) -> None:
    connect(server.url).request("GET", headers={"X-A": "ä\tb"})
    assert server.requests[0].headers["x-a"] == "ä\tb"


# --- whom it talks to --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "written"),
    [("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "localhost"), ("127.0.0.1", "LOCALHOST"), ("::1", "[::1]")],
)
def test_names_and_both_kinds_of_addresses(connect: Connect, host: str, written: str) -> None:
    with FaultServer(host=host) as server:
        transport = connect(f"http://{written}:{server.port}/v3/key-that-is-secret")
        assert JsonRpcClient(transport).call("method") == {"method": "method", "params": []}
        assert server.requests[0].headers["host"] == f"{written.lower()}:{server.port}"
        assert transport.name == f"http://{written.lower()}:{server.port}"
        assert repr(transport) == f"HttpTransport({transport.name})"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://host", "http://host:80"),
        ("https://host/path", "https://host:443"),
        ("https://user:password@host:1/", "https://host:1"),
        ("HTTP://HOST/", "http://host:80"),
        ("http://b\u00fccher.example/", "http://xn--bcher-kva.example:80"),
        ("http://[fe80::1%eth0]:5/", "http://[fe80::1%eth0]:5"),
    ],
)
def test_the_name_is_scheme_host_and_port(url: str, name: str) -> None:
    assert HttpTransport(url).name == name
    assert JsonRpcClient(HttpTransport(url)).name == name


def test_proxies_of_the_environment_are_not_used(
    connect: Connect, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultServer() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        connect(server.url).request("GET")
        assert (server.connections, proxy.connections) == (1, 0)


def refusing_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port


def test_a_server_that_is_not_there_got_nothing(connect: Connect) -> None:
    with pytest.raises(TransportError, match="refuses the connection") as refused:
        connect(f"http://127.0.0.1:{refusing_port()}").request("POST", body=b"x")
    assert not refused.value.maybe_delivered
    assert refused.value.retryable
    assert refused.value.hint is not None
    assert "start what should answer there" in refused.value.hint


def test_a_name_that_nobody_has_is_said_to_be_one(connect: Connect) -> None:
    with pytest.raises(TransportError, match="its name cannot be resolved") as refused:
        connect("http://nobody.invalid").request("GET")
    assert not refused.value.maybe_delivered


def test_no_free_file_descriptor_is_said_to_be_the_reason(server: FaultServer) -> None:
    program = f"""
import os, resource
from mrv_core.transport import HttpTransport, TransportError
transport = HttpTransport({server.url!r})
resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 1, 4096))
try:
    transport.request("GET")
except TransportError as error:
    print(error, "|", error.hint, "|", error.maybe_delivered)
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said == f"{server.url}: Too many open files | raise the limit of open files (ulimit -n) | False\n"


# --- connections -------------------------------------------------------------------------------------------------


def test_a_connection_is_used_again(connect: Connect, server: FaultServer) -> None:
    client = JsonRpcClient(connect(server.url))
    assert [client.call("method", n)["params"] for n in range(20)] == [[n] for n in range(20)]
    assert server.connections == 1


def test_a_transport_that_was_closed_connects_again(connect: Connect, server: FaultServer) -> None:
    transport = connect(server.url)
    transport.request("GET")
    transport.close()
    transport.close()
    transport.request("GET")
    assert server.connections == 2


def test_a_connection_that_the_server_closed_while_idle_is_not_used(connect: Connect) -> None:
    with FaultServer(plan=always("close-while-idle")) as server:
        client = JsonRpcClient(connect(server.url))
        for number in range(5):
            assert client.call("send", number)["params"] == [number]
            server.wait_until_all_are_closed()
        assert len(server.requests) == 5  # none was sent twice
        assert server.connections == 5


def test_a_connection_that_was_idle_for_long_is_not_used(
    connect: Connect, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = connect(server.url)
    transport.request("GET")
    monkeypatch.setattr(http1, "MAX_IDLE_S", -1.0)
    transport.request("GET")
    assert server.connections == 2


def test_a_request_on_a_kept_connection_is_not_repeated(connect: Connect) -> None:
    """A server that took the second request and went away cannot be told from one that never saw it."""
    for mode in ("fin", "reset"):
        with FaultServer() as server:
            client = JsonRpcClient(connect(server.url))
            client.call("first")
            server.plan = always(mode)
            with pytest.raises(TransportError) as unknown:
                client.call("second")
            assert unknown.value.maybe_delivered
            assert server.calls() == ["first", "second"]
            assert server.connections == 1


def test_threads_share_a_transport(connect: Connect, server: FaultServer) -> None:
    client = JsonRpcClient(connect(server.url))

    def call(number: int) -> Any:
        return client.call("method", number)["params"]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(call, range(600))) == [[number] for number in range(600)]
    assert server.connections <= 8
    assert len(server.requests) == 600


def test_not_every_connection_is_kept(connect: Connect) -> None:
    everybody_is_here = threading.Barrier(12)

    def answer(_: Request) -> Reply:
        everybody_is_here.wait(60)
        return Reply(200, (), b"")

    with FaultServer(answer) as server:
        transport = connect(server.url, timeout_s=50)
        with ThreadPoolExecutor(12) as pool:
            list(pool.map(lambda _: transport.request("GET"), range(12)))
            assert server.connections == 12
            list(pool.map(lambda _: transport.request("GET"), range(12)))
            assert 12 < server.connections <= 16


def test_a_forked_child_leaves_the_connections_of_its_parent_alone(server: FaultServer) -> None:
    program = f"""
import os, sys
from mrv_core.transport import HttpTransport, JsonRpcClient
transport = HttpTransport({server.url!r})
client = JsonRpcClient(transport)
client.call("parent")
child = os.fork()
if not child:
    client.call("child")
    client.call("child")
    transport.close()
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
client.call("parent")
transport.close()
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    assert server.calls() == ["parent", "child", "child", "parent"]
    assert server.connections == 2


def test_an_interrupted_call_leaves_nothing_behind(connect: Connect) -> None:
    """As after Ctrl-C: a connection on which an answer may still come must not serve the next call."""

    def interrupt(case: Case) -> Steps:
        yield case.honest().head()
        os.kill(os.getpid(), signal.SIGINT)
        yield Do.HANG

    with FaultServer() as server:
        transport = connect(server.url, timeout_s=50)
        transport.request("GET")
        server.plan = always(interrupt)
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # what starts the tests may ignore it
        try:
            with pytest.raises(KeyboardInterrupt):
                transport.request("GET")
        finally:
            signal.signal(signal.SIGINT, before)
        server.plan = honest
        assert transport.request("GET").body.startswith(b"hello")
        assert server.connections == 2
