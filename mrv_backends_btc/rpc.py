# SPDX-License-Identifier: MIT
"""Calls of a node through python-bitcoinrpc, on top of this project's transport.

`AuthServiceProxy` encodes questions and reads answers, amounts as Decimal. It is given a connection of ours for each
call, because by itself it is neither thread-safe nor usable after one dropped connection, has no deadline, takes
answers to other questions for its own, and keeps the password (issues 33, 73, 78, 88 and 98 of its repository). It
never sees the credentials, and nothing that was not checked before.
"""

from __future__ import annotations

import logging
import threading
from typing import Any, Final, TypeVar
from urllib.parse import quote

from bitcoinrpc.authproxy import AuthServiceProxy, JSONRPCException
from pydantic import BaseModel, ValidationError

from mrv_backends_btc.credentials import read_credentials
from mrv_backends_btc.settings import BitcoinSettings
from mrv_core.canonical import parse_json
from mrv_core.errors import BackendUnavailableError, FormatError
from mrv_core.transport import MAX_CALL_S, MAX_REPLY_VALUES, HttpTransport, Response, RpcError, TransportError

IN_WARMUP: Final = -28
"""The node has started and is not ready (Bitcoin Core, rpc/protocol.h)."""
NOT_FOUND: Final = -5
"""No such transaction or block, as far as the call can see."""
WALLET_NOT_LOADED: Final = -18

# The library writes every question and every answer into a log of its own, with whatever a node repeats in them.
logging.getLogger("BitcoinRPC").addFilter(lambda _: False)

_DUMMY: Final = "http://nobody:nothing@localhost"
_SOMETHING_ELSE: Final = "check rpc_url in the configuration: something else than a Bitcoin node may answer there"
_MAX_DEPTH: Final = 32
_R = TypeVar("_R", bound=BaseModel)


class NodeRpc:
    """The RPC of one node. Thread-safe.

    Args:
        settings: Where the node is, and how it knows us.
    """

    def __init__(self, settings: BitcoinSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._current: tuple[tuple[str | None, str | None], HttpTransport] | None = None
        self.name: Final = HttpTransport(settings.address).name

    def __repr__(self) -> str:
        return f"NodeRpc({self.name})"

    def call(self, method: str, *params: Any, wallet: str | None = None) -> Any:
        """Call a method and return its result, numbers with a fraction as Decimal.

        Args:
            method: Name of the method.
            params: Positional parameters; a Decimal is sent with eight decimals.
            wallet: Name of the wallet that is meant.

        Raises:
            RpcError: the node said no.
            TransportError: no usable answer.
            BackendError: the HTTP server refused, or the node is still starting.
            ConfigurationError: the credentials cannot be read.
        """
        path = "" if wallet is None else f"/wallet/{quote(wallet, safe='')}"
        exchange = _Exchange(self._transport(), method, path)
        proxy = AuthServiceProxy(_DUMMY, connection=exchange)
        try:
            return getattr(proxy, method)(*params)
        except JSONRPCException as error:
            failure = self._failure(method, error, exchange)
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
            # FormatError is a ValueError too, but our own checks raise none here.
            failure = TransportError(
                f"{self.name}: {method}: an answer that the client library cannot read",
                maybe_delivered=True,
                hint=_SOMETHING_ELSE,
            )
        raise failure  # outside the handlers, so that no exception of the library is its context

    def ask(self, reply: type[_R], method: str, *params: Any) -> _R:
        """Call a method whose result is an object, and return what is needed of it, validated.

        Raises:
            BackendError: as of `call`; a `TransportError` where the result does not have the expected form.
        """
        return self.read(reply, method, self.call(method, *params))

    def read(self, reply: type[_R], method: str, result: Any) -> _R:
        """Return what is needed of a method's result, validated.

        Raises:
            TransportError: it does not have the expected form.
        """
        try:
            return reply.model_validate(result)
        except ValidationError:
            pass
        raise self.unexpected(method)

    def unexpected(self, method: str) -> TransportError:
        """Build the error for a result that does not have the form that the method's results have."""
        return TransportError(
            f"{self.name}: {method}: a result of an unexpected form", maybe_delivered=True, hint=_SOMETHING_ELSE
        )

    def mask(self, text: str, longest: int = 100) -> str:
        """Return the node's text as one line of at most `longest` characters without our secrets."""
        return self._transport().mask(text, longest)

    def close(self) -> None:
        """Close idle connections. The object stays usable."""
        with self._lock:
            current, self._current = self._current, None
        if current is not None:
            current[1].close()

    def _transport(self) -> HttpTransport:
        """Return the transport with the present credentials: a node that is started again has a new cookie."""
        credentials = read_credentials(self._settings)
        with self._lock:
            if self._current is None or self._current[0] != credentials:
                if self._current is not None:
                    self._current[1].close()
                user, password = credentials
                timeout_s = min(MAX_CALL_S, self._settings.timeout)
                transport = HttpTransport(self._settings.address, timeout_s=timeout_s, user=user, password=password)
                self._current = credentials, transport
            return self._current[1]

    def _failure(self, method: str, error: JSONRPCException, exchange: _Exchange) -> RpcError | BackendUnavailableError:
        reason = exchange.transport.mask(str(error.message))
        if error.code == IN_WARMUP:
            return BackendUnavailableError(
                f"{self.name}: the node is starting: {reason}", hint="wait until it is ready", retryable=True
            )
        return RpcError(f"{self.name}: {method}: {reason}", code=error.code, reason=reason)


class _Exchange:
    """What the client library takes for its HTTP connection, its socket and its response: one question, one answer."""

    status: Final = 200
    reason: Final = "OK"

    def __init__(self, transport: HttpTransport, method: str, path: str) -> None:
        self.transport = transport
        self._method = method
        self._path = path
        self._answer = b""

    @property
    def sock(self) -> _Exchange:
        return self

    def settimeout(self, _: float) -> None:
        """The transport has a deadline of its own, for all of the call."""

    def request(self, _method: str, _path: str, body: str, _headers: object) -> None:
        question = body.encode()
        headers = {"Content-Type": "application/json"}
        response = self.transport.request("POST", self._path, body=question, headers=headers)
        expected = parse_json(question, what=self._method)["id"]
        self._answer = self._checked(response, expected)

    def getresponse(self) -> _Exchange:
        return self

    def getheader(self, _: str) -> str:
        return "application/json"

    def read(self) -> bytes:
        return self._answer

    def _checked(self, response: Response, expected: int) -> bytes:
        """Return an answer's bytes once they are one to this question, that the library reads as we do."""
        answer = _parse(response.body, self._method)
        error = answer.get("error") if isinstance(answer, dict) else None
        if response.status in (401, 403, 429) or (response.status >= 300 and not isinstance(error, dict)):
            raise self.transport.refusal(response)
        if not isinstance(answer, dict) or type(answer.get("id")) is not int or answer["id"] != expected:
            raise self._garbled("what came back is no JSON-RPC answer to the question")
        if error is None and "result" not in answer:
            raise self._garbled("an answer without result")
        if error is not None and not _is_error(error):
            raise self._garbled("an error without code or message")
        return response.body

    def _garbled(self, what: str) -> TransportError:
        return TransportError(
            f"{self.transport.name}: {self._method}: {what}", maybe_delivered=True, hint=_SOMETHING_ELSE
        )


def _is_error(error: Any) -> bool:
    return isinstance(error, dict) and type(error.get("code")) is int and isinstance(error.get("message"), str)


def _parse(body: bytes, what: str) -> Any:
    """Return the JSON value of a body, or None where it is none that is accepted."""
    if sum(map(body.count, (b",", b":", b"[", b"{"))) > MAX_REPLY_VALUES:
        return None
    try:
        return parse_json(body, what=what, max_depth=_MAX_DEPTH)
    except FormatError:
        return None
