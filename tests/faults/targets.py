# SPDX-License-Identifier: MIT
"""Real networks behind a fault server: drivers that reach them through it, and looks at them that do not."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from fault_modes import Reply, Request
from faulty import Answer, FaultServer, forward_to

from mrv_backends_btc.driver import BitcoinDriver
from mrv_backends_btc.settings import BitcoinSettings
from mrv_backends_eth.driver import EthereumDriver
from mrv_backends_eth.settings import EthereumSettings
from mrv_backends_ipfs.driver import IpfsDriver
from mrv_backends_ipfs.settings import IpfsSettings
from mrv_core.driver import AnchorDriver, DriverContext
from mrv_core.hashing import Digest, HashFactory
from mrv_core.models import Metadata
from mrv_devnet.nodes import AnvilNode, BitcoinNode, IpfsNode

USER, PASSWORD, PATH_KEY = "s3ntinel-user", "s3ntinel p@ss/word", "s3ntinelpathkey"
NETWORKS = ("ethereum", "calldata", "bitcoin", "ipfs")
"""Names of fixtures without `_target`: Ethereum with and without a contract, Bitcoin, IPFS."""
SECRETS = (
    USER,
    PASSWORD,
    quote(PASSWORD, safe=""),
    PATH_KEY,
    base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode(),
)
METADATA: Metadata = {"phase": "before_training", "run_id": "faults"}


def commitment_of(text: str) -> Digest:
    """Return a commitment that nobody else anchors."""
    return HashFactory.digest(text.encode(), "sha256")


def secret_url(server: FaultServer) -> str:
    """Return a server's address with everything in it that must never be shown."""
    return with_credentials(server.url, USER, PASSWORD) + f"/{PATH_KEY}"


def with_credentials(url: str, user: str, password: str) -> str:
    """Return an address with user and password in it."""
    return url.replace("//", f"//{quote(user, safe='')}:{quote(password, safe='')}@")


def behind_secrets(answer: Answer, authorization: str | None) -> Answer:
    """Return an answer function for requests to `secret_url`: the node knows no such path, and other credentials."""

    def forward(request: Request) -> Reply:
        assert request.target.startswith(f"/{PATH_KEY}")
        headers = {name: value for name, value in request.headers.items() if name != "authorization"}
        if authorization is not None:
            headers["authorization"] = authorization
        target = request.target.removeprefix(f"/{PATH_KEY}") or "/"
        return answer(replace(request, target=target if target.startswith("/") else f"/{target}", headers=headers))

    return forward


class Target(Protocol):
    """A network with a real node.

    Attributes:
        name: Configured name.
        is_json_rpc: Whether its answers are JSON-RPC.
        sends: The call that hands an anchor over, as `Request.call` names it.
        direct_url: The node's own address, with credentials where it needs some.
        answer: What the node says to a request that came by `secret_url`.
    """

    name: str
    is_json_rpc: bool
    sends: str
    direct_url: str
    answer: Answer

    def section(self, url: str) -> dict[str, Any]:
        """Return the network's section of a configuration, with a node's address."""

    def build(self, section: str, folder: Path) -> AnchorDriver:
        """Build the driver from its section, as JSON, with a folder for what it keeps."""

    def settle(self) -> None:
        """Let the network include what it was sent, and make that final."""

    def contents(self) -> list[str]:
        """Return what everything says that could be an anchor there, in code that shares nothing with the driver."""


@contextmanager
def driver_at(target: Target, url: str, folder: Path) -> Iterator[Any]:
    """Build a driver of a network at an address, and close it."""
    with closing(target.build(json.dumps(target.section(url)), folder / target.name)) as driver:
        yield driver


class BitcoinTarget:
    """Regtest; its wallet has many coins, so that what one case locks is not missing in the next."""

    name = "bitcoin"
    is_json_rpc = True
    sends = "sendrawtransaction"

    def __init__(self, node: BitcoinNode) -> None:
        self.node = node
        self._first = node.rpc("getblockcount")
        self.direct_url = with_credentials(node.url, node.user, node.password)
        credentials = base64.b64encode(f"{node.user}:{node.password}".encode()).decode()
        self.answer = behind_secrets(forward_to(node.url), f"Basic {credentials}")

    def section(self, url: str) -> dict[str, Any]:
        return {"network": "regtest", "rpc_url": url, "wallet": "miner", "finality": 1}

    def build(self, section: str, folder: Path) -> AnchorDriver:
        return BitcoinDriver(DriverContext(self.name, BitcoinSettings.model_validate_json(section), folder))

    def settle(self) -> None:
        self.node.rpc("generatetoaddress", 1, self.node.wallet_rpc("miner", "getnewaddress"))

    def contents(self) -> list[str]:
        heights = range(self._first, self.node.rpc("getblockcount") + 1)
        blocks = [self.node.rpc("getblock", self.node.rpc("getblockhash", height), 2) for height in heights]
        found = [out for block in blocks for each in block["tx"] for out in each["vout"]]
        for txid in self.node.rpc("getrawmempool"):
            found += self.node.rpc("getrawtransaction", txid, True)["vout"]
        return [out["scriptPubKey"]["hex"] for out in found]


class IpfsTarget:
    """A daemon without peers."""

    name = "ipfs"
    is_json_rpc = False
    sends = f"POST /{PATH_KEY}/api/v0/block/put"

    def __init__(self, node: IpfsNode) -> None:
        self.node = node
        self.direct_url = node.api_url
        self.answer = behind_secrets(forward_to(node.api_url), None)

    def section(self, url: str) -> dict[str, Any]:
        return {"url": url}

    def build(self, section: str, folder: Path) -> AnchorDriver:
        return IpfsDriver(DriverContext(self.name, IpfsSettings.model_validate_json(section), folder))

    def settle(self) -> None:
        """A stored block is final."""

    def contents(self) -> list[str]:
        listed = [json.loads(line)["Ref"] for line in self.node.call("refs/local").splitlines() if line]
        return [self.node.call("block/get", reference).decode(errors="replace") for reference in set(listed)]


class EthereumTarget:
    """Anvil, with a contract of ours or without."""

    name = "ethereum"
    is_json_rpc = True
    sends = "eth_sendRawTransaction"

    def __init__(self, node: AnvilNode, key: str, contract: str | None) -> None:
        self.node = node
        self.key = key
        self._contract = contract
        self.direct_url = node.url
        self.answer = behind_secrets(forward_to(node.url), None)

    def section(self, url: str) -> dict[str, Any]:
        form = {"mode": "calldata"} if self._contract is None else {"contract_address": self._contract}
        return {"rpc_url": url, "chain_id": self.node.chain_id, "private_key": self.key, "finality": 1, **form}

    def build(self, section: str, folder: Path) -> AnchorDriver:
        return EthereumDriver(DriverContext(self.name, EthereumSettings.model_validate_json(section), folder))

    def settle(self) -> None:
        self.node.rpc("evm_mine")

    def contents(self) -> list[str]:
        height = int(self.node.rpc("eth_blockNumber"), 16)
        blocks = [self.node.rpc("eth_getBlockByNumber", hex(number), True) for number in range(height + 1)]
        return [each["input"] for block in blocks for each in block["transactions"]]
