# SPDX-License-Identifier: MIT
"""Where an IPFS daemon is: a URL of its RPC API, or the multiaddr that `ipfs config Addresses.API` prints."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

from mrv_core.errors import FormatError

_API_PATH: Final = "/api/v0"
_MULTIADDR: Final = re.compile(
    r"/(?P<kind>ip4|ip6|dns|dns4|dns6)/(?P<host>[^/]{1,253})/tcp/(?P<port>[0-9]{1,5})(?:/(?P<scheme>http|https|tls/http))?/?"
)


def rpc_url(text: str) -> str:
    """Return the URL below which the daemon's `/api/v0` is.

    Args:
        text: An http or https URL, with or without `/api/v0`, or a multiaddr such as `/ip4/127.0.0.1/tcp/5001/http`.

    Raises:
        FormatError: neither. The message does not repeat it, because it may hold a password.
    """
    parts = http_parts(_url_of_multiaddr(text) if text.startswith("/") else text)
    path = parts.path.rstrip("/")
    return parts._replace(path=path.removesuffix(_API_PATH)).geturl()


def http_parts(url: str) -> SplitResult:
    """Split an http or https URL with a host.

    Raises:
        FormatError: anything else. The message does not repeat it.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isprintable() or " " in url:
        raise FormatError("not an http(s) URL or a multiaddr such as /ip4/127.0.0.1/tcp/5001/http")
    return parts


def _url_of_multiaddr(text: str) -> str:
    match = _MULTIADDR.fullmatch(text)
    if match is None or not _is_host(match["kind"], match["host"]):
        raise FormatError("not a multiaddr of an http(s) API, such as /ip4/127.0.0.1/tcp/5001/http")
    host = f"[{match['host']}]" if match["kind"] == "ip6" else match["host"]
    scheme = "http" if match["scheme"] in (None, "http") else "https"
    return f"{scheme}://{host}:{match['port']}"


def _is_host(kind: str, host: str) -> bool:
    if kind not in ("ip4", "ip6"):
        return re.fullmatch(r"[A-Za-z0-9._-]+", host) is not None
    try:
        return ipaddress.ip_address(host).version == int(kind[2])
    except ValueError:
        return False
