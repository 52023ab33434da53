# SPDX-License-Identifier: MIT
"""The configuration of a devnet, and the contracts of its Ethereum chain: the one place that uses a driver."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from mrv_core.files import read_limited, write_atomic
from mrv_devnet.anvil import AnvilNode
from mrv_devnet.bitcoin import BitcoinNode
from mrv_devnet.ipfs import IpfsNode
from mrv_devnet.keys import WALLET
from mrv_devnet.layout import Layout

_CONTRACT_MAX_BYTES: Final = 4096


@dataclass(frozen=True)
class Contracts:
    """The contracts on the devnet's chain.

    Attributes:
        address: Where MLProvenance is.
        registry_address: Where MRVRegistry is.
        chain_id: EIP-155 id of the chain.
    """

    address: str
    registry_address: str
    chain_id: int


Deploy = Callable[[Mapping[str, Any]], Contracts]
"""Deploys the contracts, given an `ethereum` section without their addresses."""


def deploy_contracts(section: Mapping[str, Any]) -> Contracts:
    """Deploy the contracts through the product's own driver.

    Raises:
        ConfigurationError: the Ethereum driver is not installed.
        BackendError: the chain refused it.
    """
    from mrv_core.config import load_config
    from mrv_core.deployment import MAIN_CONTRACT, REGISTRY_CONTRACT, deploy
    from mrv_core.manager import BlockchainManager

    document = {"blockchain": {"networks": ["ethereum"], "ethereum": dict(section)}}
    # No environment: its variables win, and may name the user's own key and a public chain.
    config = load_config(document, environment={})
    with tempfile.TemporaryDirectory() as work, BlockchainManager(config, base_dir=work) as manager:
        provenance, _ = deploy(manager, "ethereum", MAIN_CONTRACT)
        registry, _ = deploy(manager, "ethereum", REGISTRY_CONTRACT)
    return Contracts(provenance.address, registry.address, provenance.chain_id)


def ethereum_section(node: AnvilNode, layout: Layout, contracts: Contracts | None = None) -> dict[str, Any]:
    """Return the `ethereum` section."""
    addresses = (
        {}
        if contracts is None
        else {"contract_address": contracts.address, "registry_address": contracts.registry_address}
    )
    return {
        "rpc_url": node.url,
        "chain_id": node.chain_id,
        **addresses,
        "private_key_file": str(layout.key),
        "finality": 1,
    }


def write_config(
    layout: Layout, ethereum: AnvilNode, bitcoin: BitcoinNode, ipfs: IpfsNode, contracts: Contracts
) -> None:
    """Write the configuration: addresses, and the names of the files with the secrets."""
    document = {
        "blockchain": {
            "networks": ["ethereum", "bitcoin", "ipfs"],
            "ethereum": ethereum_section(ethereum, layout, contracts),
            "bitcoin": {
                "rpc_url": bitcoin.url,
                "network": "regtest",
                "wallet": WALLET,
                "rpc_user": bitcoin.user,
                "rpc_password_file": str(bitcoin.password_file),
                "finality": 1,
            },
            "ipfs": {"url": ipfs.api_url, "gateway_url": ipfs.gateway_url},
        }
    }
    write_atomic(layout.config, (json.dumps(document, indent=2) + "\n").encode())


def read_contracts(layout: Layout) -> Contracts | None:
    """Return the contracts that an earlier command deployed, if one did."""
    if not layout.contracts.exists():
        return None
    try:
        return Contracts(**json.loads(read_limited(layout.contracts, _CONTRACT_MAX_BYTES, follow=False)))
    except (ValueError, TypeError):
        return None


def write_contracts(layout: Layout, contracts: Contracts) -> None:
    """Write down what was deployed."""
    write_atomic(layout.contracts, json.dumps(asdict(contracts)).encode())
