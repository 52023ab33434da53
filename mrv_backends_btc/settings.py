# SPDX-License-Identifier: MIT
"""Settings of a Bitcoin network. Checked without any library, and without ever repeating a secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from mrv_backends_btc.chains import CHAINS, Chain
from mrv_core.driver import NetworkSettings

_CREDENTIALS = ("rpc_password", "rpc_password_file", "cookie_file")


def _split(value: str) -> SplitResult:
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError("not a URL") from None  # its own message repeats the URL, which may hold a password
    return parts


def _check_url(value: str) -> str:
    parts = _split(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http(s) URL, for instance http://127.0.0.1:8332")
    if "/wallet" in parts.path:
        raise ValueError("must not name a wallet; that is what 'wallet' is for")
    return value


def _check_secret(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value():
        raise ValueError("empty")
    return secret


RateField = Annotated[float, Field(ge=0.1, le=10_000)]
PathField = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]+$")]


class BitcoinSettings(NetworkSettings):
    """Settings of a network with the driver `bitcoin`.

    Attributes:
        network: Which chain the node must be on; there is no default, because one of them costs money.
        rpc_url: Where the node's RPC is; by default this machine and the chain's usual port. User and password may
            stand in it, percent-encoded.
        rpc_user: User of the RPC.
        rpc_password: Password of the RPC.
        rpc_password_file: File of mode 0600 with the password, in place of `rpc_password`.
        cookie_file: The node's own `.cookie`, in place of user and password; read again for every connection.
        wallet: Name of the node's wallet that pays; without one the network only verifies.
        finality: Confirmations that make an anchor FINAL; by default 6, on regtest 1.
        fee_rate: Satoshis per virtual byte, or `auto` for the node's estimate.
        min_fee_rate: Least to pay, whatever the estimate.
        max_fee_rate: Most to pay, whatever the estimate; a fee bump stops there too.
        confirmation_target: Blocks within which an anchor should be included, for the estimate.
        replace_after_blocks: Blocks after which an anchor that waits is replaced by one that pays more.
        min_work: Least work of a block header of an anchor, as a power of two of hashes; by default the chain's.
    """

    environment: ClassVar[Mapping[str, str]] = {
        "BTC_RPC_URL": "rpc_url",
        "BTC_RPC_USER": "rpc_user",
        "BTC_RPC_PASSWORD": "rpc_password",
    }

    network: Literal["main", "test", "testnet4", "signet", "regtest"]
    rpc_url: Annotated[str, AfterValidator(_check_url)] | None = Field(default=None, repr=False)
    rpc_user: str | None = Field(default=None, min_length=1)
    rpc_password: Annotated[SecretStr, AfterValidator(_check_secret)] | None = None
    rpc_password_file: PathField | None = None
    cookie_file: PathField | None = None
    wallet: str | None = Field(default=None, min_length=1, max_length=255, pattern=r"^[^\x00]+$")
    finality: int | None = Field(default=None, ge=1, le=100_000)
    fee_rate: Literal["auto"] | RateField = "auto"
    min_fee_rate: RateField = 1
    max_fee_rate: RateField = 200
    confirmation_target: int = Field(default=6, ge=1, le=1008)
    replace_after_blocks: int = Field(default=6, ge=1, le=100_000)
    min_work: int | None = Field(default=None, ge=0, le=255)

    @model_validator(mode="before")
    @classmethod
    def _require_network(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("network") is None:
            raise ValueError(f"'network' must say which chain is meant: {', '.join(CHAINS)}")
        return values

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        in_url = self.rpc_url is not None and _split(self.rpc_url).username is not None
        given = [name for name in _CREDENTIALS if getattr(self, name) is not None]
        if len(given) > 1 or (given and in_url):
            raise ValueError(f"more than one password: {', '.join([*given, *(['rpc_url'] if in_url else [])])}")
        if (self.rpc_user is not None) is not bool(given and given != ["cookie_file"]):
            raise ValueError("'rpc_user' and one of 'rpc_password' and 'rpc_password_file' belong together")
        rates = [self.min_fee_rate, *([] if self.fee_rate == "auto" else [self.fee_rate]), self.max_fee_rate]
        if rates != sorted(rates):
            raise ValueError("'min_fee_rate', 'fee_rate' and 'max_fee_rate' must not decrease in this order")
        return self

    @property
    def chain(self) -> Chain:
        """The chain that is meant."""
        return CHAINS[self.network]

    @property
    def final_after(self) -> int:
        """Confirmations that make an anchor FINAL."""
        return self.chain.finality if self.finality is None else self.finality

    @property
    def address(self) -> str:
        """URL of the node's RPC, with whatever credentials it holds."""
        return self.rpc_url if self.rpc_url is not None else f"http://127.0.0.1:{self.chain.rpc_port}"
