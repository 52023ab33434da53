# SPDX-License-Identifier: MIT
"""What the Ethereum tests share: drivers on an embedded chain and on a real node, and other views of both.

Nothing that looks at a chain here shares code with the driver: py-evm reads the embedded chain's file, raw JSON-RPC
asks the node.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from nodes import new_anvil  # noqa: F401 - a fixture
from pydantic import SecretStr

from mrv_backends_eth.driver import EthereumDriver
from mrv_backends_eth.settings import EthereumSettings
from mrv_core.driver import DriverContext

_limit = sys.getrecursionlimit()
from eth.chains.base import MiningChain  # noqa: E402
from eth.db.atomic import AtomicDB  # noqa: E402
from eth.db.backends.memory import MemoryDB  # noqa: E402
from eth.vm.forks.prague import PragueVM  # noqa: E402
from eth_account import Account  # noqa: E402
from eth_utils import keccak  # noqa: E402
from web3 import Web3  # noqa: E402

from mrv_backends_eth.contract import artifact  # noqa: E402
from mrv_core.hashing import Digest  # noqa: E402
from mrv_devnet.nodes import AnvilNode  # noqa: E402

sys.setrecursionlimit(_limit)  # py_ecc raises it


@pytest.fixture(scope="session")
def vectors() -> Path:
    """Folder of public test vectors, which are read where they are and never copied."""
    folder = os.environ.get("MRV_VECTORS")
    if not folder:
        pytest.skip("set MRV_VECTORS to the folder of public test vectors")
    return Path(folder)


@pytest.fixture
def context(tmp_path: Path) -> DriverContext:
    return DriverContext("ethereum", EthereumSettings(), tmp_path / "networks" / "ethereum")


@pytest.fixture
def driver(context: DriverContext) -> EthereumDriver:
    return EthereumDriver(context)


@pytest.fixture
def chain_file(context: DriverContext) -> Path:
    return context.store_dir / "chain.sqlite3"


class EvmView:
    """A chain's file as py-evm understands it, read into memory: an oracle that shares no code with ours."""

    def __init__(self, path: Path) -> None:
        connection = sqlite3.connect(path)
        self.table = dict(connection.execute("SELECT key, value FROM chain"))
        connection.close()
        chain = type("Chain", (MiningChain,), {"chain_id": 131277322940537, "vm_configuration": ((0, PragueVM),)})
        self.chain = chain(AtomicDB(MemoryDB(self.table)))

    def blocks(self) -> list:
        head = self.chain.get_canonical_head().block_number
        return [self.chain.get_canonical_block_by_number(number) for number in range(head + 1)]

    def logs(self, topic: bytes, root: bytes) -> int:
        """Count the logs with this event and this root in all blocks."""
        wanted = [int.from_bytes(topic, "big"), int.from_bytes(root, "big")]
        receipts = [each for block in self.blocks() for each in block.get_receipts(self.chain.chaindb)]
        return sum(list(log.topics[:2]) == wanted for receipt in receipts for log in receipt.logs)


@pytest.fixture
def evm_view(chain_file: Path) -> Callable[[], EvmView]:
    return lambda: EvmView(chain_file)


ETHER, GWEI = 10**18, 10**9
HASH_SUBMITTED = "0x" + keccak(text="HashSubmitted(bytes32,address,string,uint256)").hex()
MRV_REGISTERED = "0x" + keccak(text="MRVRegistered(bytes32,address,bytes32,string,uint256)").hex()


class DevChain:
    """A real node with the contract on it and a funded key of our own, spoken to in raw JSON-RPC.

    It mines when told to: `mine()`.
    """

    def __init__(self, node: AnvilNode, folder: Path) -> None:
        self.node, self.folder = node, folder
        self.drivers: list[EthereumDriver] = []
        self.rpc = node.rpc
        self.url = node.url
        self.key = "0x" + secrets.token_hex(32)
        self.address = Account.from_key(self.key).address
        self.fund(self.address)
        self.contract = self.deploy(artifact()["bytecode"])
        self.registry = self.deploy(artifact("MRVRegistry")["bytecode"])

    def fund(self, address: str, wei: int = 10 * ETHER) -> None:
        self.rpc("anvil_setBalance", address, hex(wei))

    def deploy(self, bytecode: str) -> str:
        """Create a contract from one of the node's own accounts."""
        sender = self.rpc("eth_accounts")[0]
        fields = {"from": sender, "data": bytecode, "gas": hex(5_000_000), "gasPrice": hex(10 * GWEI)}
        created = self.rpc("eth_sendTransaction", fields)  # with a price, which chains of every age understand
        self.mine()
        address: str = self.rpc("eth_getTransactionReceipt", created)["contractAddress"]
        return address

    def mine(self, blocks: int = 1) -> None:
        for _ in range(blocks):
            self.rpc("evm_mine")

    def reorg(self, depth: int) -> None:
        """Replace the last blocks by empty ones; what was in them is in no block and in no pool."""
        self.rpc("anvil_reorg", depth, [])

    def settings(self, **changes: Any) -> EthereumSettings:
        values = {"rpc_url": self.url, "private_key": SecretStr(self.key), "contract_address": self.contract}
        return EthereumSettings(**{"chain_id": self.node.chain_id, **values, **changes})

    def driver(self, **changes: Any) -> EthereumDriver:
        driver = EthereumDriver(DriverContext("ethereum", self.settings(**changes), self.folder / "unused"))
        self.drivers.append(driver)
        return driver

    def close(self) -> None:
        for driver in self.drivers:
            driver.close()

    def raise_base_fee(self, gwei: int, blocks: int = 3) -> None:
        """Mine blocks that cost more, with no room for what waits: anvil would throw out what pays too little.

        The base fee falls by an eighth a block after them.
        """
        self.rpc("evm_setBlockGasLimit", hex(21_000))
        for _ in range(blocks):
            self.rpc("anvil_setNextBlockBaseFeePerGas", hex(gwei * GWEI))
            self.mine()
        self.rpc("evm_setBlockGasLimit", hex(30_000_000))

    def send_as(self, key: str, **fields: Any) -> str:
        """Sign a transaction as another program of the key's owner would, send it, and return its hash."""
        sender = Account.from_key(key).address
        nonce = int(self.rpc("eth_getTransactionCount", sender, "latest"), 16)
        common = {"nonce": nonce, "gas": 200_000, "value": 0, "chainId": self.node.chain_id, "to": sender}
        if fields.get("to"):
            fields["to"] = Web3.to_checksum_address(fields["to"])
        if "gasPrice" not in fields:
            common |= {"maxFeePerGas": 400 * GWEI, "maxPriorityFeePerGas": 30 * GWEI}
        signed = Account.sign_transaction({**common, **fields}, key)
        sent: str = self.rpc("eth_sendRawTransaction", signed.raw_transaction.to_0x_hex())
        return sent

    def anchor_by_another(self, commitment: Digest, text: str = "") -> str:
        """Anchor with one of the node's own accounts."""
        abi = artifact()["abi"]
        data = Web3().eth.contract(abi=abi).encode_abi("storeHash", [commitment.value, text])
        fields = {"from": self.rpc("eth_accounts")[1], "to": self.contract, "data": data}
        sent: str = self.rpc("eth_sendTransaction", fields)
        self.mine()
        return sent

    def register_by_another(self, mrv_id: str, value: bytes, number: int = 1) -> str:
        """Register with one of the node's own accounts, and return its address."""
        data = Web3().eth.contract(abi=artifact("MRVRegistry")["abi"]).encode_abi("registerMRV", [mrv_id, value])
        account: str = self.rpc("eth_accounts")[number]
        self.rpc("eth_sendTransaction", {"from": account, "to": self.registry, "data": data})
        self.mine()
        return Web3.to_checksum_address(account)

    def register_through_a_contract(self, mrv_id: str, value: bytes, number: int = 1) -> str:
        """Register from the constructor of a contract, and return the contract's address."""
        data = bytes.fromhex(
            Web3().eth.contract(abi=artifact("MRVRegistry")["abi"]).encode_abi("registerMRV", [mrv_id, value])[2:]
        )
        size, start = len(data).to_bytes(2, "big"), (44).to_bytes(2, "big")
        code = bytes.fromhex(
            # CODECOPY(0, start, size); CALL(gas, registry, 0, 0, size, 0, 0); STOP
            f"61{size.hex()}61{start.hex()}6000396000600061{size.hex()}6000600073{self.registry[2:]}5af100"
        )
        assert len(code) == 44
        sender = self.rpc("eth_accounts")[number]
        fields = {"from": sender, "data": "0x" + (code + data).hex(), "gas": hex(1_000_000)}
        sent = self.rpc("eth_sendTransaction", fields)
        self.mine()
        done = self.rpc("eth_getTransactionReceipt", sent)
        assert len(done["logs"]) == 1
        return Web3.to_checksum_address(done["contractAddress"])

    def registrations(self, commitment: Digest) -> int:
        """Count the registrations of a hash in the chain, by whomever."""
        place = {"address": self.registry, "fromBlock": "0x0", "toBlock": "latest"}
        topics = [MRV_REGISTERED, None, None, "0x" + commitment.value.hex()]
        return len(self.rpc("eth_getLogs", {**place, "topics": topics}))

    def events(self, commitment: Digest, contract: str | None = None) -> int:
        """Count the statements of a commitment in the chain, by whomever."""
        place = {"address": contract or self.contract, "fromBlock": "0x0", "toBlock": "latest"}
        return len(self.rpc("eth_getLogs", {**place, "topics": [HASH_SUBMITTED, "0x" + commitment.value.hex()]}))

    def transactions(self, data: str) -> int:
        """Count the transactions of all blocks that carry these data, hexadecimal digits without `0x`."""
        return sum(
            transaction["input"] == "0x" + data
            for number in range(int(self.rpc("eth_blockNumber"), 16) + 1)
            for transaction in self.rpc("eth_getBlockByNumber", hex(number), True)["transactions"]
        )


class Proxy:
    """Stands in front of a node and can lie, redirect, and break off.

    Attributes:
        alter: Called with method, parameters and result of every call; returns the result to hand on.
        cut: Called with a method; `before` closes the connection without asking the node, `after` asks it first.
        refuse: Called with method and parameters; whether the node is said not to know the method.
        takes_batches: Whether batches are taken; some public nodes take none.
        redirect: Where to send the client instead, if anywhere.
        asked: Methods in the order in which they were asked for.
    """

    def __init__(self, target: str) -> None:
        self.alter: Callable[[str, list[Any], Any], Any] = lambda method, parameters, result: result
        self.cut: Callable[[str], str | None] = lambda method: None
        self.refuse: Callable[[str, list[Any]], bool] = lambda method, parameters: False
        self.takes_batches = True
        self.refused_batches = 0
        self.redirect: str | None = None
        self.asked: list[str] = []
        self.bodies: list[bytes] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                proxy.bodies.append(body)
                answer = proxy.answer(target, body)
                if answer is None:
                    self.close_connection = True
                    self.connection.close()
                    return
                self.send_response(302 if proxy.redirect else 200)
                if proxy.redirect:
                    self.send_header("Location", proxy.redirect)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    super().handle()

            def finish(self) -> None:
                with contextlib.suppress(OSError, ValueError):
                    super().finish()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def answer(self, target: str, body: bytes) -> bytes | None:
        """Return what the client gets; None where the connection breaks off."""
        calls = json.loads(body)
        if isinstance(calls, list) and not self.takes_batches:
            self.refused_batches += 1
            return json.dumps({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "no"}}).encode()
        calls = calls if isinstance(calls, list) else [calls]
        methods = [call["method"] for call in calls]
        self.asked += methods
        cuts = {self.cut(method) for method in methods}
        if "before" in cuts:
            return None
        connection = http.client.HTTPConnection(target.removeprefix("http://"), timeout=30)
        connection.request("POST", "/", body, {"Content-Type": "application/json"})
        answers = json.loads(connection.getresponse().read())
        connection.close()
        if "after" in cuts:
            return None
        by_id = {call["id"]: call for call in calls}
        for answer in answers if isinstance(answers, list) else [answers]:
            call = by_id[answer["id"]]
            if self.refuse(call["method"], call["params"]):
                answer.pop("result", None)
                answer["error"] = {"code": -32601, "message": "the method does not exist"}
            if "result" in answer:
                answer["result"] = self.alter(call["method"], call["params"], answer["result"])
        return json.dumps(answers).encode()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def new_proxy() -> Iterator[Callable[[str], Proxy]]:
    """Start proxies in front of a URL; all of them are closed after the test."""
    with contextlib.ExitStack() as stack:

        def make(target: str) -> Proxy:
            proxy = Proxy(target)
            stack.callback(proxy.close)
            return proxy

        yield make


@pytest.fixture
def new_chain(
    new_anvil: Callable[..., AnvilNode],  # noqa: F811
    tmp_path: Path,
) -> Iterator[Callable[..., DevChain]]:
    """Start nodes with the contract on them; arguments are further options of anvil's command line."""
    with contextlib.ExitStack() as stack:

        def make(*options: str, **arguments: Any) -> DevChain:
            node = new_anvil(keep_state=False, options=("--no-mining", *options), **arguments)
            chain = DevChain(node, tmp_path)
            stack.callback(chain.close)
            return chain

        yield make


@pytest.fixture
def chain(new_chain: Callable[..., DevChain]) -> DevChain:
    return new_chain()


@pytest.fixture
def rpc_driver(chain: DevChain) -> EthereumDriver:
    return chain.driver()
