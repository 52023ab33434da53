# SPDX-License-Identifier: MIT
"""Settings of an IPFS network section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from mrv_backends_ipfs.address import http_parts, rpc_url
from mrv_core.driver import EMBEDDED, NetworkSettings

GATEWAY: Final = "gateway"
"""Value of `url` with which blocks are read through `gateway_url` only, and nothing can be anchored."""


def _check_url(value: str) -> str:
    if value not in (EMBEDDED, GATEWAY):
        rpc_url(value)
    return value


def _check_gateway(value: str) -> str:
    if http_parts(value).query:
        raise ValueError("must be the address of a gateway, without a query")
    return value


def _check_token(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("not a token: it is empty or has characters that no HTTP header carries")
    return secret


class IpfsSettings(NetworkSettings):
    """Where blocks go.

    Attributes:
        url: `embedded` for the offline block store, the RPC API of a daemon or of a hosted node (an http(s) URL or a
            multiaddr such as `/ip4/127.0.0.1/tcp/5001/http`), or `gateway` for reading through `gateway_url` alone,
            which is what it is where only that is set.
        gateway_url: An HTTP gateway that answers `/ipfs/CID` itself; asked where the daemon cannot deliver a block.
        api_token: Bearer token of a hosted RPC API.
        pin: Whether the daemon is told to keep what is anchored.
        path: Folder of the offline block store, relative to the network's own folder, which is used where it is left
            out.
    """

    environment: ClassVar[Mapping[str, str]] = {"IPFS_API_TOKEN": "api_token", "IPFS_URL": "url"}

    url: Annotated[str, AfterValidator(_check_url)] = Field(default=EMBEDDED, repr=False)
    gateway_url: Annotated[str, AfterValidator(_check_gateway)] | None = Field(default=None, repr=False)
    api_token: Annotated[SecretStr, AfterValidator(_check_token)] | None = None
    pin: bool = True
    path: str | None = Field(default=None, pattern=r"^[^\x00]+$")

    @model_validator(mode="before")
    @classmethod
    def _read_through_the_gateway(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("gateway_url") is not None and "url" not in values:
            return {**values, "url": GATEWAY}
        return values

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.url == GATEWAY and self.gateway_url is None:
            raise ValueError('url "gateway" needs a gateway_url')
        if self.url == EMBEDDED and self.gateway_url is not None:
            raise ValueError("the offline block store has no gateway; leave out url or gateway_url")
        if self.api_token is not None and self.url not in (EMBEDDED, GATEWAY) and "@" in urlsplit(self.url).netloc:
            raise ValueError("url and api_token both hold credentials; leave out one of them")
        return self
