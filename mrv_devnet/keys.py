# SPDX-License-Identifier: MIT
"""The devnet's own money: an Ethereum key made on the spot, and a Bitcoin wallet with coins that can be spent."""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import Final

from mrv_core.errors import ConfigurationError
from mrv_core.files import read_limited, write_atomic
from mrv_devnet.anvil import AnvilNode
from mrv_devnet.bitcoin import BitcoinNode

WALLET: Final = "mrv"
_KEY = re.compile(rb"[0-9a-f]{64}")
_KEY_MAX_BYTES: Final = 128
_WEI: Final = 10**18
_FUNDS_WEI: Final = 10_000 * _WEI
_ENOUGH_WEI: Final = 1_000 * _WEI
_COINS: Final = 10
"""Separate coins for the wallet, so that several payments can wait for one block."""
_MATURITY: Final = 100
"""Blocks after which a reward can be spent (Bitcoin Core, COINBASE_MATURITY)."""


def ethereum_key(path: Path) -> str:
    """Return the key in a file (mode 0600), a new random one where there is no file.

    Raises:
        ConfigurationError: the file holds something else.
    """
    if not path.exists():
        # Below the order of secp256k1 but for one in 2^128, which the first signature would refuse.
        write_atomic(path, secrets.token_bytes(32).hex().encode())
    key = read_limited(path, _KEY_MAX_BYTES, follow=False).strip()
    if not _KEY.fullmatch(key):
        raise ConfigurationError(f"{path} holds no Ethereum key", hint="start anew with 'mrv devnet reset'")
    return key.decode()


def address_of(key: str) -> str:
    """Return the address of a key.

    Raises:
        ConfigurationError: the extra `eth` is not installed.
    """
    try:
        from eth_account import Account
    except ImportError as error:
        raise ConfigurationError(
            "the devnet needs the Ethereum libraries", hint="pip install 'mrv-provenance[eth]'"
        ) from error
    return str(Account.from_key(key).address)


def fund_ethereum(node: AnvilNode, address: str) -> bool:
    """Give an address ether, unless it has enough; tell whether it was given some."""
    if int(node.rpc("eth_getBalance", address, "latest"), 16) >= _ENOUGH_WEI:
        return False
    node.rpc("anvil_setBalance", address, hex(_FUNDS_WEI))
    return True


def fund_bitcoin(node: BitcoinNode) -> bool:
    """Give the devnet's wallet coins that can be spent, unless it has some; tell whether it was given some."""
    node.create_wallet(WALLET)
    if node.wallet_rpc(WALLET, "getbalance") >= 1:
        if node.rpc("getblockchaininfo")["initialblockdownload"]:  # until there is a block of today
            node.mine(1, WALLET)
        return False
    node.mine(_MATURITY + _COINS, WALLET)
    return True
