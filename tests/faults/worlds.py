# SPDX-License-Identifier: MIT
"""Real networks, and what can happen on them while our processes are dead: blocks, reorgs, fees, conflicts.

Everything is done and counted by raw JSON-RPC to the nodes; nothing of the drivers is used.
"""

from __future__ import annotations

import json
import secrets
import sys
from typing import Any, Protocol

from mrv_devnet.node import Node
from mrv_devnet.nodes import AnvilNode, BitcoinNode, IpfsNode
from mrv_devnet.rpc import RpcError

FINALITY = 3
GWEI = 10**9
EXCLUDED = -100_000_000
"""Satoshis by which `prioritisetransaction` lowers a fee, so that no block takes the transaction."""


class World(Protocol):
    """A network of one kind on a node of our own.

    Attributes:
        name: Configured name of the network, and name of its driver.
        node: The node itself.
        secrets: What must be in no file that we write.
        mines: Whether what is sent waits for blocks; otherwise there are no reorgs, fees and conflicts either.
    """

    name: str
    node: Node
    secrets: tuple[str, ...]
    mines: bool

    def section(self, **changes: Any) -> dict[str, Any]:
        """Return the network's section of a configuration."""

    def mine(self, blocks: int = 1) -> None:
        """Mine blocks with everything that pays enough."""

    def reorg(self, blocks: int) -> None:
        """Replace the last blocks by others without what was in them."""

    def stick(self) -> None:
        """Let blocks pass by everything that waits, because it pays too little."""

    def calm(self) -> None:
        """Take back what `stick` did."""

    def evict(self) -> None:
        """Let the node forget everything that waits."""

    def highest_fee(self, commitment: str) -> float:
        """Return the most that one of the anchors of a commitment that wait pays, in the unit of the settings."""

    def overtake(self, payload: bytes, reference: str) -> None:
        """Let something else use the nonce or the coins of a transaction that is in no block, and bury it."""

    def is_mined(self, reference: str) -> bool:
        """Tell whether a transaction is in a block of the active chain."""

    def height(self) -> int:
        """Return the number of the newest block."""

    def count(self, commitment: str, since: int = 0) -> int:
        """Count the anchors of a commitment, 64 hexadecimal digits, in the blocks after one, and in what waits."""


class EthereumWorld:
    """Anvil that mines when it is told to, with our contract, and a key of our own."""

    name = "ethereum"
    mines = True

    def __init__(self, node: AnvilNode, bytecode: str) -> None:
        self.rpc = node.rpc
        self.node = node
        self._gwei = 1
        self.key = "0x" + secrets.token_hex(32)
        self.secrets = (self.key.removeprefix("0x"),)
        self.address = _account(self.key).address
        self.rpc("anvil_setBalance", self.address, hex(10**24))
        self._contract = self._deploy(bytecode)

    def section(self, **changes: Any) -> dict[str, Any]:
        return {
            "driver": "ethereum",
            "rpc_url": self.node.url,
            "chain_id": self.node.chain_id,
            "private_key": self.key,
            "contract_address": self._contract,
            "finality": FINALITY,
            "max_fee_gwei": 100_000.0,
            "replace_after_blocks": 1,
            "retry_attempts": 1,
            **changes,
        }

    def mine(self, blocks: int = 1) -> None:
        for _ in range(blocks):
            self.rpc("evm_mine")

    def reorg(self, blocks: int) -> None:
        self.rpc("anvil_setCoinbase", f"0x{secrets.token_hex(20)}")  # an empty block would be mined again as it was
        self.rpc("anvil_reorg", blocks, [])

    def stick(self) -> None:
        self._gwei = max(24, 8 * self._gwei)  # what was offered before may hold a generous tip
        self.rpc("evm_setBlockGasLimit", hex(21_000))  # no room: anvil would throw out what pays too little
        for _ in range(2):
            self.rpc("anvil_setNextBlockBaseFeePerGas", hex(self._gwei * GWEI))
            self.rpc("evm_mine")
        self.rpc("evm_setBlockGasLimit", hex(30_000_000))
        self.rpc("anvil_setNextBlockBaseFeePerGas", hex(self._gwei * GWEI))

    def calm(self) -> None:
        if self._gwei > 1:
            self._gwei = 1
            self.rpc("anvil_setNextBlockBaseFeePerGas", hex(GWEI))

    def evict(self) -> None:
        self.rpc("anvil_dropAllTransactions")

    def highest_fee(self, commitment: str) -> float:
        fees = [int(item["maxFeePerGas"], 16) / GWEI for item in self._waiting() if commitment in item["input"]]
        return max(fees, default=0.0)

    def _waiting(self) -> list[dict[str, Any]]:
        pool = self.rpc("txpool_content")
        return [item for kind in pool.values() for nonces in kind.values() for item in nonces.values()]

    def overtake(self, payload: bytes, reference: str) -> None:
        self.evict()
        self.send_to_oneself()
        self.mine(FINALITY)

    def send_to_oneself(self) -> str:
        """Use the next nonce as another program of the key's owner would."""
        nonce = int(self.rpc("eth_getTransactionCount", self.address, "latest"), 16)
        fee = 2 * self._gwei + 100
        fields = {
            "nonce": nonce,
            "gas": 30_000,
            "value": 0,
            "chainId": self.node.chain_id,
            "to": self.address,
            "maxFeePerGas": fee * GWEI,
            "maxPriorityFeePerGas": 50 * GWEI,
        }
        signed = _account(self.key).sign_transaction(fields)
        sent: str = self.rpc("eth_sendRawTransaction", signed.raw_transaction.to_0x_hex())
        return sent

    def is_mined(self, reference: str) -> bool:
        return self.rpc("eth_getTransactionReceipt", reference) is not None

    def height(self) -> int:
        return int(self.rpc("eth_blockNumber"), 16)

    def count(self, commitment: str, since: int = 0) -> int:
        heights = range(since + 1, self.height() + 1)
        blocks = [self.rpc("eth_getBlockByNumber", hex(height), True) for height in heights]
        included = [item for block in blocks for item in block["transactions"] if self._succeeded(item, commitment)]
        return len(included) + sum(commitment in item["input"] for item in self._waiting())

    def _succeeded(self, transaction: dict[str, Any], commitment: str) -> bool:
        if commitment not in transaction["input"]:
            return False
        return bool(self.rpc("eth_getTransactionReceipt", transaction["hash"])["status"] == "0x1")

    def _deploy(self, bytecode: str) -> str:
        sender = self.rpc("eth_accounts")[0]
        fields = {"from": sender, "data": bytecode, "gas": hex(5_000_000), "gasPrice": hex(10 * GWEI)}
        created = self.rpc("eth_sendTransaction", fields)
        self.rpc("evm_mine")
        address: str = self.rpc("eth_getTransactionReceipt", created)["contractAddress"]
        return address


def _account(key: str) -> Any:
    limit = sys.getrecursionlimit()
    from eth_account import Account

    sys.setrecursionlimit(limit)  # py_ecc raises it
    return Account.from_key(key)


class BitcoinWorld:
    """Regtest, with a wallet that has many coins."""

    name = "bitcoin"
    mines = True
    coins = 60

    def __init__(self, node: BitcoinNode) -> None:
        self.node = node
        self.rpc = node.rpc
        self.secrets = (node.password,)
        outputs = [{node.wallet_rpc("miner", "getnewaddress"): 0.1} for _ in range(self.coins)]
        node.wallet_rpc("miner", "send", outputs, None, "unset", 10)
        node.mine(1)

    def section(self, **changes: Any) -> dict[str, Any]:
        return {
            "driver": "bitcoin",
            "network": "regtest",
            "rpc_url": self.node.url,
            "rpc_user": self.node.user,
            "rpc_password_file": str(self.node.password_file),
            "wallet": "miner",
            "finality": FINALITY,
            "replace_after_blocks": 1,
            "max_fee_rate": 10_000.0,
            "retry_attempts": 1,
            **changes,
        }

    def mine(self, blocks: int = 1) -> None:
        self.node.mine(blocks)

    def reorg(self, blocks: int) -> None:
        """What was in them is in the mempool again, as it always is with Bitcoin; the new branch is no shorter."""
        height = self.rpc("getblockcount")
        self.rpc("invalidateblock", self.rpc("getblockhash", height - blocks + 1))
        for _ in range(blocks):
            self._mine_only()

    def stick(self) -> None:
        for txid in self.rpc("getrawmempool"):
            self.rpc("prioritisetransaction", txid, 0, EXCLUDED)
        self.node.mine(2)

    def calm(self) -> None:
        mempool = self.rpc("getrawmempool", True)
        for txid, entry in mempool.items():
            if entry["fees"]["modified"] < 0:
                self.rpc("prioritisetransaction", txid, 0, -EXCLUDED)

    def evict(self) -> None:
        """Restart the node without what waited; its wallet does not send it again either."""
        self.node.stop()
        self.node._options = tuple({*self.node._options, "-persistmempool=0", "-walletbroadcast=0"})
        self.node.start()

    def highest_fee(self, commitment: str) -> float:
        """Return satoshis per virtual byte."""
        rates = [0.0]
        for txid, entry in self.rpc("getrawmempool", True).items():
            outputs = self.rpc("getrawtransaction", txid, True)["vout"]
            if any(commitment in out["scriptPubKey"]["hex"] for out in outputs):
                rates.append(entry["fees"]["base"] * 10**8 / entry["vsize"])
        return max(rates)

    def overtake(self, payload: bytes, reference: str) -> None:
        raw = self._conflicting(payload.hex())
        self._mine_only(raw)
        for _ in range(FINALITY - 1):
            self._mine_only()

    def _conflicting(self, raw: str) -> str:
        """Return a signed transaction that spends the first input of another one to the wallet itself.

        It pays no fee, since it is put into a block by hand: late in regtest's life a coin is worth less than one.
        """
        spent = self.rpc("decoderawtransaction", raw)["vin"][0]
        value = self.rpc("gettxout", spent["txid"], spent["vout"], False)["value"]
        address = self.node.wallet_rpc("miner", "getnewaddress")
        inputs = [{"txid": spent["txid"], "vout": spent["vout"]}]
        unsigned = self.rpc("createrawtransaction", inputs, [{address: f"{value:.8f}"}])
        signed: str = self.node.wallet_rpc("miner", "signrawtransactionwithwallet", unsigned)["hex"]
        return signed

    def _mine_only(self, *raw: str) -> None:
        """Mine a block with these transactions and nothing of the mempool."""
        self.rpc("generateblock", self.node.wallet_rpc("miner", "getnewaddress"), list(raw))

    def is_mined(self, reference: str) -> bool:
        try:
            return bool(self.node.wallet_rpc("miner", "gettransaction", reference)["confirmations"] > 0)
        except RpcError:
            return False

    def height(self) -> int:
        number: int = self.rpc("getblockcount")
        return number

    def count(self, commitment: str, since: int = 0) -> int:
        heights = range(since + 1, self.height() + 1)
        blocks = [self.rpc("getblock", self.rpc("getblockhash", height), 2) for height in heights]
        transactions = [item for block in blocks for item in block["tx"]]
        transactions += [self.rpc("getrawtransaction", txid, True) for txid in self.rpc("getrawmempool")]
        scripts = [out["scriptPubKey"]["hex"] for item in transactions for out in item["vout"]]
        return sum(script.startswith("6a") and commitment in script for script in scripts)


class IpfsWorld:
    """A daemon without peers. A block of the same bytes is the same block, so it is there once or not at all."""

    name = "ipfs"
    mines = False
    secrets = ()

    def __init__(self, node: IpfsNode) -> None:
        self.node = node

    def section(self, **changes: Any) -> dict[str, Any]:
        return {"driver": "ipfs", "url": self.node.api_url, "retry_attempts": 1, **changes}

    def mine(self, blocks: int = 1) -> None:
        """A stored block is final."""

    def calm(self) -> None:
        """There are no fees."""

    def reorg(self, blocks: int) -> None:
        raise NotImplementedError

    def stick(self) -> None:
        raise NotImplementedError

    def overtake(self, payload: bytes, reference: str) -> None:
        raise NotImplementedError

    def evict(self) -> None:
        raise NotImplementedError

    def highest_fee(self, commitment: str) -> float:
        raise NotImplementedError

    def is_mined(self, reference: str) -> bool:
        raise NotImplementedError

    def height(self) -> int:
        return 0

    def count(self, commitment: str, since: int = 0) -> int:
        listed = {json.loads(line)["Ref"] for line in self.node.call("refs/local").splitlines() if line}
        blocks = [self.node.call("block/get", each) for each in sorted(listed)]
        return sum(commitment.encode() in block or bytes.fromhex(commitment) in block for block in blocks)
