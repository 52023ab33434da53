# SPDX-License-Identifier: MIT
"""A node, asked over JSON-RPC: every question comes with that for the chain id, every answer is checked to be one.

What a hash can prove is proven: a block's fields hash to its hash, a transaction's to its own. What is left to be
believed is that a block is in the chain, and what a transaction receipt says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from pydantic import ValidationError

from mrv_backends_eth import values
from mrv_backends_eth.chains import name_of
from mrv_backends_eth.headers import Header, read_header
from mrv_backends_eth.transactions import Transaction, UnknownTypeError, encode_transaction
from mrv_core.errors import BackendUnavailableError, ConfigurationError, FormatError, VerificationError
from mrv_core.models import describe_validation_error
from mrv_core.transport import JsonRpcClient, RpcError, TransportError

Call: TypeAlias = tuple[str, Sequence[Any]]

_NO_SUCH_METHOD = (-32601, -32602)
_MOST = 2**53
"""Chain ids and block numbers are below it, as every number in our documents is."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block as a node shows it: its header, whose hash was checked, and the JSON of its transactions or hashes."""

    header: Header
    raw: bytes
    transactions: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Position:
    """Where a transaction is: block number, block hash, zero-based index."""

    number: int
    block_hash: bytes
    index: int


@dataclass(frozen=True, slots=True)
class SeenTransaction:
    """A transaction that a node knows, and where it is, or None where it waits for its block."""

    transaction: Transaction
    position: Position | None


@dataclass(frozen=True, slots=True)
class Log:
    """One log of a transaction receipt; `removed` where the node says that its block left the chain."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes
    removed: bool


@dataclass(frozen=True, slots=True)
class SeenReceipt:
    """What a node says that a transaction did. Nothing proves it."""

    succeeded: bool
    block_number: int
    block_hash: bytes
    gas_used: int
    contract: bytes | None
    logs: tuple[Log, ...]


class Node:
    """One node. Thread-safe.

    Args:
        client: How it is reached.
        expected: Chain id it must have; None for any, which then must stay the same.
        network: Configured name, for messages.
    """

    def __init__(self, client: JsonRpcClient, expected: int | None, network: str) -> None:
        self._client = client
        self._expected = expected
        self._network = network
        self._in_batches = True

    @property
    def name(self) -> str:
        """The node's masked name."""
        return self._client.name

    def chain_id(self) -> int:
        """Return the chain id, asking for it where neither the settings nor an earlier answer named it."""
        if self._expected is None:
            self.ask()
        assert self._expected is not None  # noqa: S101 - every answer sets it
        return self._expected

    def ask(self, *calls: Call) -> list[Any]:
        """Ask several questions at once; each answer is a value or an `RpcError`, in the order of the questions.

        Raises:
            ConfigurationError: the node is on another chain.
            BackendError: no usable answer.
        """
        answers = self._answers([("eth_chainId", ()), *calls])
        with self.understood():
            self._check_chain(values.quantity(self.good(answers[0]), "chain id"))
        return answers[1:]

    def send(self, raw: bytes) -> None:
        """Send a signed transaction. Neither success nor an error proves what became of it.

        Raises:
            RpcError: the node says that it does not take it.
            BackendError: no usable answer.
        """
        self._client.call("eth_sendRawTransaction", "0x" + raw.hex())

    def send_many(self, transactions: Sequence[bytes]) -> None:
        """Send signed transactions in this order, in one request where the node allows that.

        Whatever the node answers is of no interest: what became of them is asked by their hashes.

        Raises:
            BackendError: nothing was sent.
        """
        calls: list[Call] = [("eth_sendRawTransaction", ["0x" + raw.hex()]) for raw in transactions]
        try:
            self._answers(calls)
        except TransportError as error:
            if not error.maybe_delivered:
                raise

    def good(self, answer: Any) -> Any:
        """Return an answer that is a value.

        Raises:
            BackendUnavailableError: it is an error of the node.
        """
        if isinstance(answer, RpcError):
            raise BackendUnavailableError(
                answer.message, hint="see the node's log", retryable=answer.code not in _NO_SUCH_METHOD
            ) from answer
        return answer

    @contextmanager
    def understood(self) -> Iterator[None]:
        """Turn what is wrong with an answer into "could not check": it says nothing about any anchor."""
        try:
            yield
        except (FormatError, VerificationError) as error:
            raise self._nonsense(error.message) from error
        except ValidationError as error:
            raise self._nonsense(describe_validation_error(error)) from error

    def _nonsense(self, why: str) -> BackendUnavailableError:
        return BackendUnavailableError(
            f"{self.name}: its answer does not hold together: {why}",
            hint="ask again; if it stays so, the node is not to be trusted, or its chain is of another kind",
            retryable=True,
        )

    # --- reading answers ----------------------------------------------------------------------------------------

    def block(self, answer: Any, number: int | None = None) -> Block | None:
        """Read an answer to `eth_getBlockByNumber`; None where there is no such block.

        Args:
            answer: The answer.
            number: The block that was asked for, unless it was by a name.
        """
        value = self.good(answer)
        if value is None:
            return None
        with self.understood():
            raw, header = read_header(values.fields(value, "block"))
            if header.number >= _MOST:
                raise FormatError("the block number is out of range")
            if number is not None and header.number != number:
                raise FormatError(f"it shows block {header.number} where block {number} was asked for")
            transactions = value.get("transactions")
            if not isinstance(transactions, list):
                raise FormatError("a block has no list of transactions")
            return Block(header, raw, transactions)

    def transaction(self, answer: Any, transaction_hash: bytes) -> SeenTransaction | None:
        """Read an answer to `eth_getTransactionByHash`; None where there is no such transaction, or of no known type.

        Whatever the answer says is in a transaction was hashed to the hash that was asked for.
        """
        value = self.good(answer)
        if value is None:
            return None
        with self.understood():
            try:
                transaction = Transaction.parse(encode_transaction(value))
            except UnknownTypeError:
                return None
            if transaction.hash != transaction_hash:
                raise FormatError("it shows another transaction than the one that was asked for")
            return SeenTransaction(transaction, _position(value))

    def receipt(self, answer: Any, transaction_hash: bytes) -> SeenReceipt | None:
        """Read an answer to `eth_getTransactionReceipt`; None where there is none."""
        value = self.good(answer)
        if value is None:
            return None
        with self.understood():
            found = values.fields(value, "transaction receipt")
            if values.data(found.get("transactionHash"), "transactionHash", 32) != transaction_hash:
                raise FormatError("it shows the receipt of another transaction")
            logs = found.get("logs")
            if not isinstance(logs, list):
                raise FormatError("a transaction receipt has no list of logs")
            created = found.get("contractAddress")
            return SeenReceipt(
                succeeded=values.quantity(found.get("status"), "status") == 1,
                block_number=values.quantity(found.get("blockNumber"), "blockNumber"),
                block_hash=values.data(found.get("blockHash"), "blockHash", 32),
                gas_used=values.quantity(found.get("gasUsed"), "gasUsed"),
                contract=None if created is None else values.data(created, "contractAddress", 20),
                logs=tuple(map(_log, logs)),
            )

    def logs(self, answer: Any) -> list[tuple[Log, bytes]]:
        """Read an answer to `eth_getLogs`: every log with the hash of its transaction."""
        value = self.good(answer)
        with self.understood():
            if not isinstance(value, list):
                raise FormatError("the logs are no list")
            return [(_log(entry), values.data(entry.get("transactionHash"), "transactionHash", 32)) for entry in value]

    def number(self, answer: Any, what: str, *, below: int = 2**256) -> int:
        """Read a quantity."""
        value = self.good(answer)
        with self.understood():
            number = values.quantity(value, what)
            if number >= below:
                raise FormatError(f"{what} is out of range")
            return number

    def data(self, answer: Any, what: str, size: int | None = None) -> bytes:
        """Read bytes."""
        value = self.good(answer)
        with self.understood():
            return values.data(value, what, size)

    # --- asking -------------------------------------------------------------------------------------------------

    def _answers(self, calls: Sequence[Call]) -> list[Any]:
        if self._in_batches:
            try:
                return self._client.batch(calls)
            except RpcError:
                # Some public nodes take no batches, or only short ones. Nothing has been asked yet.
                answers = self._one_by_one(calls)
                self._in_batches = False
                return answers
        return self._one_by_one(calls)

    def _one_by_one(self, calls: Sequence[Call]) -> list[Any]:
        return [self._one(method, parameters) for method, parameters in calls]

    def _one(self, method: str, parameters: Sequence[Any]) -> Any:
        try:
            return self._client.call(method, *parameters)
        except RpcError as error:
            return error

    def _check_chain(self, actual: int) -> None:
        if not 0 < actual < _MOST:
            raise FormatError("the chain id is out of range")
        if self._expected is None:
            self._expected = actual
        if actual != self._expected:
            raise ConfigurationError(
                f"{self._network}: the node {self.name} is on chain {name_of(actual)}, "
                f"not on chain {name_of(self._expected)}",
                hint="correct rpc_url, or chain_id and network, of this network",
            )


def _position(value: Any) -> Position | None:
    if value.get("blockHash") is None or value.get("blockNumber") is None:
        return None
    return Position(
        values.quantity(value["blockNumber"], "blockNumber"),
        values.data(value["blockHash"], "blockHash", 32),
        values.quantity(value.get("transactionIndex"), "transactionIndex"),
    )


def _log(value: Any) -> Log:
    found = values.fields(value, "log")
    topics = found.get("topics")
    if not isinstance(topics, list):
        raise FormatError("a log has no list of topics")
    return Log(
        values.data(found.get("address"), "address", 20),
        tuple(values.data(topic, "topic", 32) for topic in topics),
        values.data(found.get("data"), "log data"),
        found.get("removed", False) is not False,
    )
