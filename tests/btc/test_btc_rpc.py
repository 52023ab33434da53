# SPDX-License-Identifier: MIT
"""The client library on our transport: every fault ends in an error of ours, nothing is shown, and nothing is dead."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from btc.support import MakeDriver, MakeNode, anchor, commitment_of, settings_for
from fault_modes import MODES, Reply, Request
from faulty import FaultServer, always, forward_to, honest

from mrv_backends_btc.replies import Balances, FeeEstimate, to_satoshis
from mrv_backends_btc.rpc import NodeRpc
from mrv_backends_btc.settings import BitcoinSettings
from mrv_core.errors import BackendError, BackendUnavailableError, ConfigurationError
from mrv_core.transport import RpcError, TransportError
from mrv_devnet.nodes import BitcoinNode

PASSWORD = "correct-horse-battery"
HARMLESS = {
    "body-to-the-end",
    "chunks",
    "close-while-idle",
    "drip",
    "early-hints",
    "line-feeds-only",
    "surplus",
    "two-answers",
    "wrong-content-type",
}
"""Faults of which the answer survives."""


def says(result: Any, error: Any = None, status: int = 200) -> Callable[[Request], Reply]:
    """Return an honest server that answers every call with the same."""

    def answer(request: Request) -> Reply:
        return Reply.json({"result": result, "error": error, "id": json.loads(request.body)["id"]}, status)

    return answer


def settings(url: str, **changes: Any) -> BitcoinSettings:
    given = {"network": "regtest", "rpc_url": url, "rpc_user": "mrv", "rpc_password": PASSWORD, **changes}
    return BitcoinSettings.model_validate_json(json.dumps({k: v for k, v in given.items() if v is not None}))


@contextmanager
def connected(server: FaultServer, **changes: Any) -> Iterator[NodeRpc]:
    rpc = NodeRpc(settings(server.url, **changes))
    yield rpc
    rpc.close()


class TestFaults:
    @pytest.mark.parametrize("mode", sorted(MODES))
    def test_every_fault_ends_in_one_of_our_errors(self, mode: str) -> None:
        """And the very next call works: the library alone is dead after one dropped connection."""
        patience = 20 if mode == "gzip-bomb" else 0.4  # which a busy machine does not make within a moment
        with (
            FaultServer(says({"chain": "regtest"}), always(mode)) as server,
            connected(server, timeout=patience) as rpc,
        ):
            try:
                result, failure = rpc.call("getblockchaininfo"), None
            except BackendError as error:
                result, failure = None, error
            assert server.fired[mode.replace("-", "_")] or server.fired[mode], "the fault must have happened"
            server.plan = honest
            server.drop_connections()
            server.wait_until_all_are_closed()  # not in the middle of the next call
            assert rpc.call("getblockchaininfo") == {"chain": "regtest"}
        if failure is None:
            assert mode in HARMLESS
            assert result == {"chain": "regtest"}
            return
        assert mode not in HARMLESS - {"drip"}
        self._assert_nothing_shown(failure)

    def _assert_nothing_shown(self, failure: BaseException | None) -> None:
        while failure is not None:
            assert PASSWORD not in f"{failure!r} {failure} {getattr(failure, 'hint', '')}"
            failure = failure.__cause__ or failure.__context__

    @pytest.mark.parametrize("limit", [1_000, 100_000])
    def test_deep_nesting_does_not_end_the_process(self, limit: int) -> None:
        """Other libraries raise the recursion limit, and then the parser that this one uses would crash."""
        before = sys.getrecursionlimit()
        sys.setrecursionlimit(limit)
        try:
            with FaultServer(says(1), always("deep")) as server, connected(server) as rpc:
                with pytest.raises(TransportError):
                    rpc.call("getblockcount")
        finally:
            sys.setrecursionlimit(before)

    @pytest.mark.parametrize(
        "error", ["it failed", ["code"], {"code": 1}, {"message": "x"}, {"code": True, "message": "x"}, 7, True]
    )
    def test_an_error_of_another_form_is_no_answer(self, error: Any) -> None:
        with (
            FaultServer(says(None, error)) as server,
            connected(server) as rpc,
            pytest.raises(TransportError) as failure,
        ):
            rpc.call("getblockcount")
        assert failure.value.maybe_delivered

    def test_a_number_that_the_library_cannot_hold(self) -> None:
        """Its debug log rounds every number to eight places, which fails beyond 28 digits."""
        body = b'{"result": 12345678901234567890123.123456789, "error": null, "id": %d}'

        def answer(request: Request) -> Reply:
            identity = json.loads(request.body)["id"]
            return Reply(200, (("Content-Type", "application/json"),), body % identity)

        with FaultServer(answer) as server, connected(server) as rpc:
            with pytest.raises(TransportError, match="cannot read"):
                rpc.call("getdifficulty")

    def test_an_error_of_the_node_has_its_code(self) -> None:
        error = {"code": -26, "message": f"min relay fee not met\n{PASSWORD}"}
        with FaultServer(says(None, error, 500)) as server, connected(server) as rpc:
            with pytest.raises(RpcError) as failure:
                rpc.call("sendrawtransaction", "00")
        assert failure.value.code == -26
        assert "min relay fee not met" in failure.value.reason
        assert PASSWORD not in str(failure.value)
        assert "\n" not in str(failure.value)
        assert failure.value.__cause__ is failure.value.__context__ is None, "nothing of the library hangs on to it"

    def test_a_node_that_is_starting_is_waited_for(self) -> None:
        error = {"code": -28, "message": "Loading block index"}
        with FaultServer(says(None, error, 500)) as server, connected(server) as rpc:
            with pytest.raises(BackendUnavailableError, match="is starting: Loading block index") as failure:
                rpc.call("getblockcount")
        assert failure.value.retryable

    def test_threads_share_one_object(self) -> None:
        """One proxy of the library fails in 200 of 200 calls of four threads."""

        def answer(request: Request) -> Reply:
            call = json.loads(request.body)
            return Reply.json({"result": call["params"][0], "error": None, "id": call["id"]})

        start = threading.Barrier(8)
        with FaultServer(answer) as server, connected(server) as rpc, ThreadPoolExecutor(8) as pool:

            def ask(number: int) -> list[Any]:
                start.wait()
                return [rpc.call("getblockhash", number * 100 + each) for each in range(25)]

            assert list(pool.map(ask, range(8))) == [[n * 100 + each for each in range(25)] for n in range(8)]

    def test_what_is_sent(self) -> None:
        with FaultServer(says(1)) as server, connected(server) as rpc:
            rpc.call("sendtoaddress", Decimal("0.00000001"), [{"a": Decimal("1.5")}], wallet="my/wallet ü")
        [request] = server.requests
        assert json.loads(request.body)["params"] == [1e-8, [{"a": 1.5}]]
        assert request.target == "/wallet/my%2Fwallet%20%C3%BC"
        assert request.headers["content-type"] == "application/json"


class TestAmounts:
    @pytest.mark.parametrize(
        ("amount", "satoshis"),
        [
            ("0.00000001", 1),
            ("20999999.97690000", 2_099_999_997_690_000),
            ("-0.000003590", -359),
            ("1e-8", 1),
            (3, 300_000_000),
        ],
    )
    def test_are_whole_satoshis(self, amount: Any, satoshis: int) -> None:
        assert to_satoshis(Decimal(amount)) == satoshis

    @pytest.mark.parametrize(
        "amount", [Decimal("0.000000001"), Decimal("NaN"), Decimal("1e30"), Decimal("Infinity"), 1.5, "1", None, True]
    )
    def test_anything_else_is_refused(self, amount: Any) -> None:
        with pytest.raises((ValueError, ArithmeticError)):
            to_satoshis(amount)

    def test_arrive_exactly(self) -> None:
        """0.1 + 0.2 as binary fractions is not 0.3; through Decimal nothing is lost."""
        mine = {"trusted": 0.3, "untrusted_pending": 0.1, "immature": 20999999.9769}
        with FaultServer(says({"mine": mine})) as server, connected(server) as rpc:
            found = rpc.ask(Balances, "getbalances").mine
        assert (found.trusted, found.untrusted_pending, found.immature) == (
            30_000_000,
            10_000_000,
            2_099_999_997_690_000,
        )

    @pytest.mark.parametrize("result", [None, [], "x", {"feerate": "1"}, {"feerate": 0.123456789}, {"feerate": True}])
    def test_a_result_of_another_form_is_no_answer(self, result: Any) -> None:
        with FaultServer(says(result)) as server, connected(server) as rpc, pytest.raises(TransportError):
            rpc.ask(FeeEstimate, "estimatesmartfee", 6)


class TestCredentials:
    def test_a_wrong_password(self, regtest: BitcoinNode, make_driver: MakeDriver) -> None:
        driver = make_driver(regtest, rpc_password="wrong-" + PASSWORD)
        with pytest.raises(BackendError, match="refuses our credentials") as failure:
            driver.lookup("ab" * 32)
        assert not failure.value.retryable
        assert PASSWORD not in repr(failure.value)
        assert "refuses our credentials" in driver.status().detail

    def test_a_password_file(self, regtest: BitcoinNode, make_driver: MakeDriver, tmp_path: Path) -> None:
        file = tmp_path / "password"
        driver = make_driver(regtest, rpc_password=None, rpc_password_file=str(file))
        with pytest.raises(ConfigurationError, match="rpc_password_file"):
            driver.lookup("ab" * 32)
        file.write_text(regtest.password + "\n")
        file.chmod(0o640)
        with pytest.raises(ConfigurationError, match="can be read by others") as failure:
            driver.lookup("ab" * 32)
        assert "chmod 600" in str(failure.value.hint)
        file.chmod(0o600)
        assert driver.status().ready

    @pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe"])
    def test_a_password_file_without_one(
        self, regtest: BitcoinNode, make_driver: MakeDriver, tmp_path: Path, content: bytes
    ) -> None:
        file = tmp_path / "password"
        file.write_bytes(content)
        file.chmod(0o600)
        with pytest.raises(ConfigurationError):
            make_driver(regtest, rpc_password=None, rpc_password_file=str(file)).lookup("ab" * 32)

    def test_a_url_with_both(self, regtest: BitcoinNode, make_driver: MakeDriver) -> None:
        url = regtest.url.replace("//", f"//{regtest.user}:{regtest.password}@")
        driver = make_driver(regtest, rpc_url=url, rpc_user=None, rpc_password=None)
        assert driver.status().ready
        assert regtest.password not in repr(driver)
        assert regtest.password not in driver.status().detail

    def test_the_nodes_own_cookie(self, new_bitcoind: MakeNode, make_driver: MakeDriver) -> None:
        """It is another one after every start, and gone while the node is down."""
        node = new_bitcoind()
        cookie = node.folder / "regtest" / ".cookie"
        driver = make_driver(node, rpc_user=None, rpc_password=None, cookie_file=str(cookie))
        first = cookie.read_text()
        assert anchor(driver, node, commitment_of("cookie"))
        node.stop()
        with pytest.raises(BackendUnavailableError, match="cookie_file") as failure:
            driver.lookup("ab" * 32)
        assert failure.value.retryable
        node.start()
        assert cookie.read_text() != first
        assert driver.status().ready

    def test_a_cookie_that_is_none(self, regtest: BitcoinNode, make_driver: MakeDriver, tmp_path: Path) -> None:
        cookie = tmp_path / ".cookie"
        cookie.write_text("no colon")
        driver = make_driver(regtest, rpc_user=None, rpc_password=None, cookie_file=str(cookie))
        with pytest.raises(ConfigurationError, match="no cookie of a node"):
            driver.lookup("ab" * 32)

    def test_the_library_logs_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        """By itself it writes down every question and answer, and a node may repeat in one what it was told."""
        caplog.set_level("DEBUG")
        with FaultServer(says(1)) as server, connected(server) as rpc:
            rpc.call("getblockcount")
            server.plan = always("echo-in-error")
            with pytest.raises(RpcError):
                rpc.call("getblockcount")
        encoded = server.requests[0].headers["authorization"].removeprefix("Basic ")
        assert "HTTP 200" in caplog.text, "the transport's own log says what happened"
        assert not [record for record in caplog.records if record.name == "BitcoinRPC"]
        for secret in (PASSWORD, encoded):
            assert secret.lower() not in caplog.text.lower()


def test_every_method_of_a_driver_survives_every_fault(regtest: BitcoinNode, make_driver: MakeDriver) -> None:
    """A fault in front of a real node, at every call of an anchor in turn: an error of ours, and no second anchor."""
    modes = ["forward-then-reset", "status-503", "html", "wrong-id", "deep", "json-null"]
    commitment = commitment_of("faults")
    with FaultServer(forward_to(regtest.url)) as server:
        driver = make_driver(regtest, name="faulty", rpc_url=server.url, timeout=5)
        receipt = anchor(driver, regtest, commitment)
        methods = sorted(set(server.calls()))
        assert {"sendrawtransaction", "gettxoutproof", "walletcreatefundedpsbt"} <= set(methods)
        for method in methods:
            for mode in modes:
                server.plan = lambda request, method=method, mode=mode: mode if request.call == method else None
                for call in (
                    lambda: driver.lookup(receipt.reference),
                    lambda: driver.verify(receipt, commitment),
                    lambda: driver.upgrade(receipt),
                    lambda: driver.find(commitment, {}),
                    driver.status,
                ):
                    with contextlib.suppress(BackendError):  # anything else, a verdict above all, fails the test
                        call()
        server.plan = honest
        assert driver.verify(receipt, commitment).confirmations == 1


def test_nothing_is_asked_before_it_is_needed(regtest: BitcoinNode, make_driver: MakeDriver) -> None:
    with FaultServer(forward_to(regtest.url)) as server:
        driver = make_driver(regtest, name="idle", rpc_url=server.url)
        assert "http://127.0.0.1" in repr(driver)
        assert server.requests == []
    assert settings_for(regtest).address == regtest.url
    assert os.environ.get("BTC_RPC_PASSWORD") is None
