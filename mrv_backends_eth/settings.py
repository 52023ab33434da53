# SPDX-License-Identifier: MIT
"""Settings of an Ethereum network. Checked without web3, and without ever repeating a secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from mrv_core.driver import EMBEDDED, NetworkSettings

_KEY = re.compile(r"(?:0x)?[0-9a-fA-F]{64}")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_CURVE_ORDER: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
"""Order of secp256k1 (SEC 2, section 2.4.1); private keys are below it."""

_CHAIN_IDS: Final[Mapping[str, int]] = {"mainnet": 1, "sepolia": 11155111, "polygon": 137, "arbitrum": 42161}
"""EIP-155 chain ids by the names that `network` takes; `localhost` has none, a development node chooses its own."""


def _check_url(value: str) -> str:
    if value == EMBEDDED:
        return value
    try:
        parts = urlsplit(value)
    except ValueError:
        raise ValueError("not a URL") from None  # its own message repeats the URL, which may hold a password
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f'must be "{EMBEDDED}" or an http(s) URL')
    return value


def _check_private_key(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not _KEY.fullmatch(text) or not 0 < int(text, 16) < _CURVE_ORDER:
        raise ValueError("not a private key, which is 64 hexadecimal digits, above zero and below secp256k1's order")
    return secret


def _check_address(value: str) -> str:
    if not _ADDRESS.fullmatch(value) or not value[2:].strip("0"):
        raise ValueError("not a contract address, which is 0x and 40 hexadecimal digits, not all zero")
    return value


class EthereumSettings(NetworkSettings):
    """Settings of a network with the driver `ethereum`.

    Attributes:
        rpc_url: `embedded` for the chain inside the network's folder, or the URL of a node.
        private_key: Key that signs on a real chain, 64 hexadecimal digits. The embedded chain needs none.
        contract_address: The MLProvenance contract on a real chain.
        gas_limit: Most gas that one anchor may use.
        gas_price: Most to pay for a unit of gas on a real chain, in gwei; `auto` asks it. The embedded chain is free.
        network: Name of a public chain, which stands for its chain id, or `localhost`, which stands for none.
        chain_id: EIP-155 chain id that the chain must have.
        path: File of the embedded chain; relative to the network's folder.
    """

    environment: ClassVar[Mapping[str, str]] = {
        "BLOCKCHAIN_RPC_URL": "rpc_url",
        "CONTRACT_ADDRESS": "contract_address",
        "PRIVATE_KEY": "private_key",
        "NETWORK": "network",
        "ETH_RPC_URL": "rpc_url",
        "ETH_PRIVATE_KEY": "private_key",
    }

    rpc_url: Annotated[str, AfterValidator(_check_url)] = Field(default=EMBEDDED, repr=False)
    private_key: Annotated[SecretStr, AfterValidator(_check_private_key)] | None = None
    contract_address: Annotated[str, AfterValidator(_check_address)] | None = None
    gas_limit: int = Field(default=300_000, ge=21_000, le=30_000_000)
    gas_price: Literal["auto"] | Annotated[float, Field(gt=0, le=100_000)] = "auto"
    network: Literal["localhost", "mainnet", "sepolia", "polygon", "arbitrum"] | None = None
    chain_id: int | None = Field(default=None, ge=1, lt=2**53)
    path: str = Field(default="chain.sqlite3", min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _take_chain_id_from_network(cls, values: Any) -> Any:
        expected = _CHAIN_IDS.get(str(values.get("network"))) if isinstance(values, dict) else None
        if expected is None:
            return values
        if values.get("chain_id") not in (None, expected):
            raise ValueError(f"network {values['network']} has the chain_id {expected}, not the one given")
        return {**values, "chain_id": expected}
