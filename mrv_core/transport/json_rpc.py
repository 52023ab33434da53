# SPDX-License-Identifier: MIT
"""JsonRpcClient: calls of a node's methods, each answer checked to be one and to be this call's."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from mrv_core.canonical import parse_json
from mrv_core.errors import BackendError, FormatError
from mrv_core.transport.client import HttpTransport
from mrv_core.transport.errors import SOMETHING_ELSE, RpcError, TransportError
from mrv_core.transport.http1 import Response

MAX_REPLY_VALUES: Final = 1_000_000
"""Most commas, colons and opening brackets in an answer; each may cost 80 bytes of memory once it is parsed."""
_MAX_DATA: Final = 4096
_STATUS_DECIDES: Final = frozenset({401, 403, 429})


class JsonRpcClient:
    """JSON-RPC over one transport. Thread-safe.

    Args:
        transport: Where to.
        path: Path below the transport's URL, for instance `/wallet/mrv`.
        version: `2.0`, or `1.0` for servers that know nothing newer.
    """

    def __init__(self, transport: HttpTransport, *, path: str = "", version: str = "2.0") -> None:
        self._transport = transport
        self._path = path
        self._version = version
        self._ids = itertools.count(1)

    @property
    def name(self) -> str:
        """The server's masked name."""
        return self._transport.name

    def call(self, method: str, *params: Any) -> Any:
        """Call a method with positional parameters and return its result, which may be None.

        Raises:
            RpcError: the node answered with an error.
            TransportError: no usable answer; see the package's description.
            BackendError: the HTTP server refused.
        """
        question = self._question(method, params)
        (outcome,) = self._ask(question, [question], method)
        if isinstance(outcome, RpcError):
            raise outcome
        return outcome

    def batch(self, calls: Iterable[tuple[str, Sequence[Any]]]) -> list[Any]:
        """Make several calls in one request; each result is a value or an `RpcError`, in the order of the calls.

        Raises:
            RpcError: the node refused the batch as a whole.
            TransportError: no usable answer; see the package's description.
            BackendError: the HTTP server refused.
        """
        questions = [self._question(method, params) for method, params in calls]
        return self._ask(questions, questions, "batch") if questions else []

    def _question(self, method: str, params: Sequence[Any]) -> dict[str, Any]:
        return {"jsonrpc": self._version, "id": next(self._ids), "method": method, "params": list(params)}

    def _ask(self, document: object, questions: Sequence[Mapping[str, Any]], what: str) -> list[Any]:
        body = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
        response = self._transport.request("POST", self._path, body=body, headers={"Content-Type": "application/json"})
        outcome = self._read(response, questions, what, whole=document is questions)
        if isinstance(outcome, BackendError):
            raise outcome
        return outcome

    def _read(
        self, response: Response, questions: Sequence[Mapping[str, Any]], what: str, *, whole: bool
    ) -> list[Any] | BackendError:
        """Return the outcomes of the questions in their order, or why there are none.

        Nodes put JSON-RPC errors into answers with other statuses too: 500, 404, 400.
        """
        answer = _parse(response.body, what)
        error = answer.get("error") if isinstance(answer, dict) else None
        if response.status in _STATUS_DECIDES or (response.status >= 300 and not isinstance(error, dict)):
            return self._transport.refusal(response)
        if isinstance(answer, dict) and error is not None and answer.get("id", 0) is None:
            # The server took the request for none (JSON-RPC 2.0, section 5), or something in front of it answers.
            return self._error(error, what) if response.status < 500 else self._transport.refusal(response)
        answers = _by_id(answer if whole else [answer])
        if answers is None or answers.keys() != {question["id"] for question in questions}:
            return self._garbled(what, response)
        outcomes = [self._outcome(answers[question["id"]], question["method"]) for question in questions]
        return next((outcome for outcome in outcomes if isinstance(outcome, TransportError)), outcomes)

    def _outcome(self, answer: Mapping[str, Any], method: str) -> Any:
        error = answer.get("error")
        if error is not None:
            return self._error(error, method)
        if "result" not in answer:
            return TransportError(
                f"{self.name}: {method}: an answer without result", maybe_delivered=True, hint=SOMETHING_ELSE
            )
        return answer["result"]

    def _error(self, error: Any, method: str) -> RpcError:
        error = error if isinstance(error, dict) else {"message": error}
        code, data = error.get("code"), error.get("data")
        reason = self._transport.mask(str(error.get("message", "no reason given")))
        return RpcError(
            f"{self.name}: {method}: {reason}",
            code=code if isinstance(code, int) and not isinstance(code, bool) else None,
            reason=reason,
            data=self._transport.mask(data, _MAX_DATA) if isinstance(data, str) else None,
        )

    def _garbled(self, method: str, response: Response) -> TransportError:
        kind = self._transport.mask(response.headers.get("content-type", ""), 60) or "no content type"
        return TransportError(
            f"{self.name}: {method}: what came back is no JSON-RPC answer to the question ({kind})",
            maybe_delivered=True,
            hint=SOMETHING_ELSE,
        )


def _parse(body: bytes, what: str) -> Any:
    """Return the JSON value of a body, or None where it is none that is accepted."""
    if sum(map(body.count, (b",", b":", b"[", b"{"))) > MAX_REPLY_VALUES:
        return None
    try:
        return parse_json(body, what=what)
    except FormatError:
        return None


def _by_id(answers: Any) -> dict[int, Mapping[str, Any]] | None:
    """Return answers by their ids, or None where one is no answer, or an id is there twice."""
    if not isinstance(answers, list):
        return None
    # Not isinstance: True is an int, and 1.0 equals 1.
    valid = [answer for answer in answers if isinstance(answer, dict) and type(answer.get("id")) is int]
    found: dict[int, Mapping[str, Any]] = {answer["id"]: answer for answer in valid}
    return found if len(found) == len(answers) else None
