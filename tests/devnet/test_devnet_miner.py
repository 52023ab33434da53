# SPDX-License-Identifier: MIT
"""The miner buries what is new deep enough, and then rests."""

from __future__ import annotations

import pytest
from devnet_helpers import until

from mrv_core.errors import BackendUnavailableError
from mrv_devnet.miner import DEPTH, Bitcoin, Chain, Ethereum


class Fake(Chain):
    """A chain of numbers of transactions, one number a block."""

    def __init__(self, *blocks: int) -> None:
        super().__init__()
        self.blocks, self.pool, self.down = list(blocks), 0, False

    def tip(self) -> str:
        if self.down:
            raise BackendUnavailableError("no answer")
        return str(len(self.blocks))

    def waiting(self) -> bool:
        return bool(self.pool)

    def has_payments(self, above: int) -> bool:
        return above < len(self.blocks) and self.blocks[-1 - above] > 0

    def mine(self) -> None:
        self.blocks.append(self.pool)
        self.pool = 0


def tended(chain: Fake, rounds: int = 3 * DEPTH) -> list[int]:
    for _ in range(rounds):
        chain.tend()
    return chain.blocks


def test_a_chain_without_transactions_rests():
    assert tended(Fake()) == []
    assert tended(Fake(0, 0)) == [0, 0]


def test_what_waits_is_mined_and_buried():
    chain = Fake(0)
    chain.pool = 2
    assert tended(chain) == [0, 2, *[0] * (DEPTH - 1)]


def test_what_was_mined_by_others_is_buried():
    assert tended(Fake(5)) == [5, *[0] * (DEPTH - 1)]
    assert tended(Fake(5, *[0] * (DEPTH - 2))) == [5, *[0] * (DEPTH - 1)]
    assert tended(Fake(5, *[0] * DEPTH)) == [5, *[0] * DEPTH]


def test_one_block_a_round():
    chain = Fake(1)
    assert tended(chain, 2) == [1, 0, 0]
    chain.pool = 1
    assert tended(chain, 1) == [1, 0, 0, 1]


def test_a_node_that_is_away_is_waited_for(capsys):
    chain = Fake(1)
    chain.down = True
    assert tended(chain) == [1]
    chain.down = False
    assert tended(chain) == [1, *[0] * (DEPTH - 1)]
    assert capsys.readouterr().out == "fake: no answer\nfake: answers\n"


def test_on_anvil(new_anvil):
    node = new_anvil()
    chain = Ethereum(node)
    chain.tend()
    assert node.rpc("eth_blockNumber") == "0x0"
    one, two, *_ = node.rpc("eth_accounts")
    node.rpc("eth_sendTransaction", {"from": one, "to": two, "value": "0x1"})
    until(lambda: node.rpc("eth_blockNumber") != "0x0")
    for _ in range(2 * DEPTH):
        chain.tend()
    assert node.rpc("eth_blockNumber") == hex(DEPTH)
    until(node.state_file.exists)
    chain.save()
    copy = node.folder / "state.good.json"
    assert copy.stat().st_size > 1000
    copy.unlink()
    for _ in range(2 * DEPTH):
        chain.save()
        copy.unlink(missing_ok=True)
    chain.save()
    assert not copy.exists(), "a chain that rests is copied again and again"


def test_on_bitcoind(new_bitcoind):
    node = new_bitcoind()
    chain = Bitcoin(node)
    height = node.rpc("getblockcount")
    for _ in range(3):
        chain.tend()
    assert node.rpc("getblockcount") == height
    paid = node.wallet_rpc("miner", "sendtoaddress", node.wallet_rpc("miner", "getnewaddress"), 1)
    for _ in range(2 * DEPTH):
        chain.tend()
    assert node.rpc("getblockcount") == height + DEPTH
    assert node.wallet_rpc("miner", "gettransaction", paid)["confirmations"] == DEPTH


@pytest.mark.parametrize("problem", [None, "no answer"])
def test_the_log_has_changes_only(capsys, problem):
    chain = Fake(0)
    chain.down = problem is not None
    tended(chain, 5)
    assert capsys.readouterr().out.count("\n") == (0 if problem is None else 1)
