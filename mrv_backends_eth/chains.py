# SPDX-License-Identifier: MIT
"""Public chains by name, and what is known about a chain from its id alone (EIP-155)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

CHAIN_IDS: Final[Mapping[str, int]] = {
    "mainnet": 1,
    "sepolia": 11155111,
    "holesky": 17000,
    "hoodi": 560048,
    "polygon": 137,
    "arbitrum": 42161,
    "optimism": 10,
    "base": 8453,
    "gnosis": 100,
}
"""Chain ids by the names that the setting `network` takes."""

LOCALHOST: Final = "localhost"
"""The one further name: a development node, which chooses its own chain id."""

DEVELOPMENT: Final = frozenset({1337, 31337})
"""Chain ids of development nodes: geth --dev and Ganache, anvil and Hardhat. Nothing on them has any value."""

PARENT_NUMBERED: Final = frozenset({42161, 42170, 421614})
"""Arbitrum One, Nova and Sepolia, whose contracts are told the numbers of Ethereum's blocks, not of their own."""

_CURRENCIES: Final = {137: "POL", 100: "xDAI"}


def currency(chain_id: int) -> str:
    """Return what a chain calls 10^18 of its smallest unit."""
    return _CURRENCIES.get(chain_id, "ETH")


def name_of(chain_id: int) -> str:
    """Return a chain's id, with its name where it is a known one."""
    names = [name for name, known in CHAIN_IDS.items() if known == chain_id]
    return f"{chain_id} ({names[0]})" if names else str(chain_id)
