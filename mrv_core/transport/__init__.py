# SPDX-License-Identifier: MIT
"""The one way in which drivers talk HTTP and JSON-RPC.

Client libraries have no total deadline, follow redirects, put passwords into exceptions and parse whatever comes
back. So they run on top of this: one call has one deadline over connecting, sending and receiving; bytes and depth of
an answer are capped before it is parsed; redirects and encodings are refused; a JSON-RPC answer must carry the id of
its question; nothing shown or raised holds more of a URL than scheme, host and port. Nothing is ever sent twice.

Four outcomes of a call, and one way to tell each apart:

    ok         it returns
    retriable  `TransportError`, `maybe_delivered` False: nothing reached the network
    unknown    `TransportError`, `maybe_delivered` True: it may have; ask by id, never by the error's text
    refused    `RpcError`: the node understood and said no; `BackendError` where the HTTP server did
"""

from mrv_core.transport.client import MAX_CALL_S, MAX_REPLY_BYTES, HttpTransport
from mrv_core.transport.errors import RpcError, TransportError
from mrv_core.transport.http1 import Response
from mrv_core.transport.json_rpc import MAX_REPLY_VALUES, JsonRpcClient

__all__ = [
    "MAX_CALL_S",
    "MAX_REPLY_BYTES",
    "MAX_REPLY_VALUES",
    "HttpTransport",
    "JsonRpcClient",
    "Response",
    "RpcError",
    "TransportError",
]
