# SPDX-License-Identifier: MIT
"""Settings of an Ethereum network. Checked without web3, and without ever repeating a secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PrivateAttr, SecretStr, ValidationInfo, model_validator

from mrv_backends_eth.chains import CHAIN_IDS, DEVELOPMENT
from mrv_core.driver import EMBEDDED, NetworkSettings

_KEY = re.compile(r"(?:0x)?[0-9a-fA-F]{64}")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_CURVE_ORDER: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
"""Order of secp256k1 (SEC 2, section 2.4.1); private keys are below it."""
MAX_FEE_GWEI: Final = 500.0
"""Most gwei paid for a unit of gas where the settings name no other limit: far above what anchors are worth."""


def _check_url(value: str) -> str:
    if value == EMBEDDED:
        return value
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise ValueError("not a URL") from None  # its own message repeats the URL, which may hold a password
    if not usable:
        raise ValueError(f'must be "{EMBEDDED}" or an http(s) URL')
    return value


def is_private_key(text: str) -> bool:
    """Tell whether a text is a private key: 64 hexadecimal digits, above zero and below secp256k1's order."""
    return _KEY.fullmatch(text) is not None and 0 < int(text, 16) < _CURVE_ORDER


def _check_private_key(secret: SecretStr) -> SecretStr:
    if not is_private_key(secret.get_secret_value()):
        raise ValueError("not a private key, which is 64 hexadecimal digits, above zero and below secp256k1's order")
    return secret


def _check_address(value: str) -> str:
    if not _ADDRESS.fullmatch(value) or not value[2:].strip("0"):
        raise ValueError("not an address, which is 0x and 40 hexadecimal digits, not all zero")
    if value[2:] not in (value[2:].lower(), value[2:].upper()):
        from mrv_backends_eth.values import address_text  # only such addresses need Keccak

        if value != address_text(bytes.fromhex(value[2:])):
            raise ValueError("mistyped: the capital letters of an address are a checksum (EIP-55), and it does not fit")
    return value


def _check_key_file(value: str) -> str:
    if is_private_key(value.strip()):
        raise ValueError("this is a key itself, not the path of a file with one")  # a path would be shown
    return value


Address = Annotated[str, AfterValidator(_check_address)]
_Network = Literal[
    "localhost", "mainnet", "sepolia", "holesky", "hoodi", "polygon", "arbitrum", "optimism", "base", "gnosis"
]
"""`chains.LOCALHOST` and the names of `chains.CHAIN_IDS`."""


class EthereumSettings(NetworkSettings):
    """Settings of a network with the driver `ethereum`.

    Attributes:
        rpc_url: `embedded` for the chain inside the network's folder, or the URL of a node.
        network: Name of a public chain, which stands for its chain id, or `localhost`, which stands for none.
        chain_id: EIP-155 chain id that the chain must have.
        mode: `contract` to record commitments in MLProvenance, `calldata` to put them into transactions alone.
        contract_address: The MLProvenance contract on a real chain.
        registry_address: The MRVRegistry contract on a real chain; with it, records are registered there by their id.
        private_key: Key that signs on a real chain, 64 hexadecimal digits. The embedded chain needs none.
        private_key_file: File with the key, or an encrypted keystore (version 3), that only its owner can read.
        keystore_password: Password of the keystore.
        keystore_password_file: File with the password, that only its owner can read.
        submitter: Addresses whose anchors are verified; by default that of the key, or any where there is none.
        finality: Blocks, the including one counted, after which an anchor is FINAL, or `finalized` for the chain's
            own finality; by default `finalized`, and 1 on development chains.
        gas_limit: Most gas that one anchor may use.
        gas_price: Most to pay for a unit of gas on a real chain, in gwei; `auto` leaves it at `max_fee_gwei`.
        max_fee_gwei: Most to pay for a unit of gas while `gas_price` is `auto`.
        replace_after_blocks: Blocks that a transaction waits before one that pays more takes its place.
        path: File of the embedded chain; relative to the network's folder.
    """

    environment: ClassVar[Mapping[str, str]] = {
        "BLOCKCHAIN_RPC_URL": "rpc_url",
        "CONTRACT_ADDRESS": "contract_address",
        "REGISTRY_ADDRESS": "registry_address",
        "PRIVATE_KEY": "private_key",
        "NETWORK": "network",
        "ETH_RPC_URL": "rpc_url",
        "ETH_PRIVATE_KEY": "private_key",
        "ETH_PRIVATE_KEY_FILE": "private_key_file",
        "ETH_KEYSTORE_PASSWORD": "keystore_password",
    }

    rpc_url: Annotated[str, AfterValidator(_check_url)] = Field(default=EMBEDDED, repr=False)
    network: _Network | None = None
    chain_id: int | None = Field(default=None, ge=1, lt=2**53)
    mode: Literal["contract", "calldata"] = "contract"
    contract_address: Address | None = None
    registry_address: Address | None = None
    private_key: Annotated[SecretStr, AfterValidator(_check_private_key)] | None = None
    private_key_file: Annotated[str, Field(min_length=1), AfterValidator(_check_key_file)] | None = None
    keystore_password: SecretStr | None = None
    keystore_password_file: str | None = Field(default=None, min_length=1)
    submitter: Address | Annotated[list[Address], Field(min_length=1)] | None = None
    finality: Literal["finalized"] | Annotated[int, Field(ge=1, le=100_000)] | None = None
    gas_limit: int = Field(default=300_000, ge=21_000, le=30_000_000)
    gas_price: Literal["auto"] | Annotated[float, Field(gt=0, le=100_000)] = "auto"
    max_fee_gwei: float = Field(default=MAX_FEE_GWEI, gt=0, le=100_000)
    replace_after_blocks: int = Field(default=3, ge=1, le=100_000)
    path: str = Field(default="chain.sqlite3", min_length=1)

    _key_in_document: bool = PrivateAttr(default=False)

    @property
    def key_is_in_document(self) -> bool:
        """Whether the key itself stands in a configuration file, which only development chains allow."""
        return self._key_in_document

    @property
    def names_registry(self) -> bool:
        """Whether `registry_address` is set. See `NetworkSettings`."""
        return self.registry_address is not None

    @model_validator(mode="before")
    @classmethod
    def _take_chain_id_from_network(cls, values: Any) -> Any:
        expected = CHAIN_IDS.get(str(values.get("network"))) if isinstance(values, dict) else None
        if expected is None:
            return values
        if values.get("chain_id") not in (None, expected):
            raise ValueError(f"network {values['network']} has the chain_id {expected}, not the one given")
        return {**values, "chain_id": expected}

    @model_validator(mode="after")
    def _refuse_two_secrets(self) -> Self:
        for one, other in (("private_key", "private_key_file"), ("keystore_password", "keystore_password_file")):
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise ValueError(f"{one} and {other} are both set, maybe one of them by the environment; keep one")
        return self

    @model_validator(mode="after")
    def _note_where_secrets_stand(self, info: ValidationInfo) -> Self:
        """Refuse secrets in a file that is copied, shown and committed; core names what the environment gave."""
        named = (info.context or {}).get("from_environment")
        in_document = {
            key
            for key in ("private_key", "keystore_password")
            if named is not None and key not in named and getattr(self, key) is not None
        }
        if in_document and self.rpc_url != EMBEDDED and self.chain_id is not None and self.chain_id not in DEVELOPMENT:
            raise ValueError(key_in_document(min(in_document, key=len)))
        self._key_in_document = bool(in_document)
        return self


def key_in_document(key: str = "private_key") -> str:
    """Return why a secret in a configuration file is refused."""
    return (
        f"{key} stands in the configuration, which only development chains allow; use the environment variable "
        f"{'ETH_PRIVATE_KEY' if key == 'private_key' else 'ETH_KEYSTORE_PASSWORD'}, or {key}_file"
    )
