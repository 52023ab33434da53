# SPDX-License-Identifier: MIT
"""Drivers on real nodes, and looks at the chain that share no code with the driver."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeAlias

from mrv_backends_btc.driver import BitcoinDriver
from mrv_backends_btc.settings import BitcoinSettings
from mrv_core.hashing import Digest, HashFactory
from mrv_core.models import NO_METADATA, Receipt
from mrv_devnet.nodes import BitcoinNode

MakeDriver: TypeAlias = Callable[..., BitcoinDriver]
MakeNode: TypeAlias = Callable[..., BitcoinNode]

CODES = {"sha256": "12", "sha3-256": "16", "blake3": "1e", "blake2b-256": "b2"}


def commitment_of(text: str) -> Digest:
    return HashFactory.digest(text.encode(), "sha256")


def settings_for(node: BitcoinNode, **changes: Any) -> BitcoinSettings:
    """Settings of a network on a node, as a configuration file has them; None leaves one out."""
    given = {
        "network": "regtest",
        "rpc_url": node.url,
        "rpc_user": node.user,
        "rpc_password": node.password,
        "wallet": "miner",
        **changes,
    }
    return BitcoinSettings.model_validate_json(json.dumps({k: v for k, v in given.items() if v is not None}))


def transactions_of(node: BitcoinNode, after: int = -1) -> list[dict[str, Any]]:
    """Every transaction in the chain after a height, and in the mempool, as the node decodes it."""
    hashes = [node.rpc("getblockhash", height) for height in range(after + 1, node.rpc("getblockcount") + 1)]
    mined = [transaction for each in hashes for transaction in node.rpc("getblock", each, 2)["tx"]]
    return mined + [node.rpc("getrawtransaction", txid, True) for txid in node.rpc("getrawmempool")]


def count_anchors(node: BitcoinNode, commitment: Digest, after: int = -1) -> int:
    """Count the outputs with a commitment after a height and in the mempool, by what their scripts look like."""
    script = f"6a254d525631{CODES[commitment.algorithm]}{commitment.hex}"
    return sum(out["scriptPubKey"]["hex"] == script for each in transactions_of(node, after) for out in each["vout"])


def anchor(driver: BitcoinDriver, node: BitcoinNode, commitment: Digest) -> Receipt:
    """Anchor, mine a block, and return the receipt with its evidence."""
    receipt = driver.submit(driver.prepare(commitment, NO_METADATA))
    node.mine(1)
    return driver.upgrade(receipt)


def conflicting(node: BitcoinNode, raw: str, *, wallet: str = "miner", fee_sat: int = 20_000) -> str:
    """Return a signed transaction, hexadecimal, that spends the first input of another one to the wallet itself."""
    spent = node.rpc("decoderawtransaction", raw)["vin"][0]
    made = node.rpc("getrawtransaction", spent["txid"], True, *_block_of(node, wallet, spent["txid"]))
    value = round(made["vout"][spent["vout"]]["value"] * 100_000_000) - fee_sat
    address = node.wallet_rpc(wallet, "getnewaddress")
    inputs = [{"txid": spent["txid"], "vout": spent["vout"]}]
    unsigned = node.rpc("createrawtransaction", inputs, [{address: f"{value / 100_000_000:.8f}"}])
    signed: str = node.wallet_rpc(wallet, "signrawtransactionwithwallet", unsigned)["hex"]
    return signed


def _block_of(node: BitcoinNode, wallet: str, txid: str) -> list[str]:
    known = node.wallet_rpc(wallet, "gettransaction", txid)
    return [known["blockhash"]] if "blockhash" in known else []


def mine_only(node: BitcoinNode, *raw: str) -> str:
    """Mine a block with these transactions and nothing else of the mempool; return its hash."""
    address = node.wallet_rpc("miner", "getnewaddress")
    block_hash: str = node.rpc("generateblock", address, list(raw))["hash"]
    return block_hash


def pay(node: BitcoinNode, wallet: str, amount: float, *, times: int = 1) -> None:
    """Send coins from the miner to a wallet, and mine a block."""
    node.create_wallet(wallet)
    outputs = [{node.wallet_rpc(wallet, "getnewaddress"): amount} for _ in range(times)]
    node.wallet_rpc("miner", "send", outputs, None, "unset", 10)
    node.mine(1)


def restart(node: BitcoinNode, *options: str) -> None:
    """Stop a node and start it again with other options: same folder, same ports, same wallets."""
    node.stop()
    node._options = options  # a node has its options for life, except here
    node.start()
