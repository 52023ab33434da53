# SPDX-License-Identifier: MIT
"""Building and signing transactions on a real chain: what they cost is asked and checked first, nothing is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from typing import Any, Final

from mrv_backends_eth import values
from mrv_backends_eth.chain import SignedTransaction
from mrv_backends_eth.chains import currency
from mrv_backends_eth.fees import GWEI, Fees, coins, market_fees, replacement_fees
from mrv_backends_eth.form import Form
from mrv_backends_eth.forms import Forms
from mrv_backends_eth.hexadecimal import to_hex
from mrv_backends_eth.keys import Wallet
from mrv_backends_eth.node import Block, Call, Node
from mrv_backends_eth.settings import EthereumSettings
from mrv_backends_eth.transactions import Transaction
from mrv_backends_eth.writing import Writer
from mrv_core.errors import BackendUnavailableError, ConfigurationError, SubmissionRejectedError
from mrv_core.hashing import Digest
from mrv_core.models import Metadata
from mrv_core.transport import JsonRpcClient, RpcError

_REVERTED: Final = 3
"""Code with which nodes say that a call would revert (execution API specification, `eth_estimateGas`)."""
_DEFAULT_TIP: Final = GWEI
_MOST_NONCE: Final = 2**53


@dataclass(frozen=True, slots=True)
class Quote:
    """What some transactions of one sender would take now.

    Attributes:
        head: The newest block.
        nonce: The sender's next one, transactions that wait counted.
        gas: What the node estimates, for each transaction.
        fees: What to offer for each unit.
        balance: Wei of the sender.
    """

    head: Block
    nonce: int
    gas: tuple[int, ...]
    fees: Fees
    balance: int


@dataclass(frozen=True, slots=True)
class Intent:
    """What a transaction is to do: receiver (None to create a contract), data, and a few words for messages."""

    to: bytes | None
    data: bytes
    what: str

    def call(self, sender: bytes) -> dict[str, str]:
        """Return the parameters of an estimate."""
        return {
            "from": to_hex(sender),
            "data": to_hex(self.data),
            **({} if self.to is None else {"to": to_hex(self.to)}),
        }


class Signing:
    """Signs with one key on one chain. Thread-safe.

    Args:
        client: How the node is reached.
        node: The same, asked with checks.
        wallet: The key.
        forms: In which form commitments are anchored.
        settings: Limits.
        network: Configured name, for messages.
    """

    def __init__(
        self,
        client: JsonRpcClient,
        node: Node,
        wallet: Wallet,
        forms: Forms,
        settings: EthereumSettings,
        network: str,
    ) -> None:
        self._client = client
        self._node = node
        self._wallet = wallet
        self._forms = forms
        self._settings = settings
        self._network = network
        self._proven: set[Form] = set()
        """Forms of which the node has made a proof."""
        self._newest: dict[bytes, tuple[int, bytes]] = {}

    @cached_property
    def writer(self) -> Writer:
        """The libraries, loaded when first needed."""
        return Writer(self._client)

    @property
    def cap(self) -> int:
        """Most wei to offer for a unit of gas."""
        price = self._settings.gas_price
        return round((self._settings.max_fee_gwei if price == "auto" else price) * GWEI)

    def anchors(self, anchors: Sequence[tuple[Digest, Metadata]]) -> list[SignedTransaction]:
        """Sign the transactions of anchors, with one nonce after the other. See `Chain.sign`."""
        key, sender = self.account()
        forms = [self._forms.of(metadata) for _, metadata in anchors]
        calls = [
            Intent(form.target(sender), form.payload(self.writer, *anchor), f"anchor {anchor[0]}")
            for form, anchor in zip(forms, anchors, strict=True)
        ]
        quote = self._quote(sender, calls, tuple(dict.fromkeys(forms)))
        self._proven.update(forms)
        gas = [self._gas(estimate) for estimate in quote.gas]
        self.require_funds(sender, sum(gas) * quote.fees.most, quote.balance)
        return [
            self._sign(key, quote, {"to": call.to, "data": call.data, "gas": allowed, "nonce": quote.nonce + place})
            for place, (call, allowed) in enumerate(zip(calls, gas, strict=True))
        ]

    def note_sent(self, transaction: Transaction) -> None:
        """Remember a transaction that the node has: nodes that are busy, or many behind one address, count late.

        By sender, since what an earlier key signed says nothing about the next nonce of this one.
        """
        sender = transaction.sender()
        known = self._newest.get(sender)
        if known is None or transaction.nonce >= known[0]:
            self._newest[sender] = transaction.nonce, transaction.hash

    def creation(self, data: bytes, most_gas: int) -> tuple[SignedTransaction, bytes, int]:
        """Sign a transaction that creates a contract.

        Returns:
            The transaction, its sender, and its nonce.
        """
        key, sender = self.account()
        quote = self._quote(sender, [Intent(None, data, "deploy the contract")], ())
        gas = min(most_gas, quote.gas[0] + quote.gas[0] // 4)
        self.require_funds(sender, gas * quote.fees.most, quote.balance)
        signed = self._sign(key, quote, {"data": data, "gas": gas, "nonce": quote.nonce})
        return signed, sender, quote.nonce

    def replacement(self, signed: SignedTransaction, *, was_refused: bool) -> SignedTransaction | None:
        """Sign the same transaction with higher fees. See `Chain.replace`."""
        waiting = Transaction.parse(signed.raw)
        key, sender = self.account()
        if waiting.sender() != sender:
            return None  # the key was changed since
        head_answer, nonce, tip = self._node.ask(
            ("eth_getBlockByNumber", ["latest", False]),
            ("eth_getTransactionCount", [to_hex(sender), "latest"]),
            ("eth_maxPriorityFeePerGas", ()),
        )
        head = self._head(head_answer)
        since = signed.details.get("block")
        waited = head.header.number - since if isinstance(since, int) else 0
        if not was_refused and waited < self._settings.replace_after_blocks:
            return None
        if self._node.number(nonce, "nonce") > waiting.nonce:
            return None  # it, or what took its place, is in a block already
        try:
            now = self._fees(head, tip)
        except BackendUnavailableError:
            return None  # above the cap: waiting is all that is left
        fees = replacement_fees(Fees(waiting.max_fee, waiting.tip), now, head.header.base_fee, self.cap)
        if fees is None:
            return None
        fields = {"to": waiting.to, "data": waiting.input, "gas": waiting.gas, "nonce": waiting.nonce}
        return self._sign(key, Quote(head, waiting.nonce, (waiting.gas,), fees, 0), fields)

    def account(self) -> tuple[bytes, bytes]:
        """Return key and address.

        Raises:
            ConfigurationError: there is none, or it must not be used on this chain.
        """
        key = self._wallet.key(self._node.chain_id())
        address = self._wallet.address()
        assert address is not None  # noqa: S101 - there is a key
        return key, address

    def require_funds(self, sender: bytes, need: int, have: int) -> None:
        """Refuse what the account cannot pay.

        Raises:
            BackendUnavailableError: it holds too little.
        """
        if have < need:
            unit = currency(self._node.chain_id())
            raise BackendUnavailableError(
                f"{self._network}: the account {values.address_text(sender)} holds {coins(have)} {unit} ({have} wei); "
                f"up to {coins(need)} {unit} ({need} wei) are needed",
                hint=f"send it at least {coins(need - have)} {unit}, then run 'mrv flush'; what was queued is kept",
            )

    def _quote(self, sender: bytes, intents: Sequence[Intent], forms: Sequence[Form]) -> Quote:
        """Ask for everything at once: chain id, code, price, nonce, balance and gas are those of one moment."""
        checks = [form.usability_calls(with_proof=form not in self._proven) for form in forms]
        newest = self._newest.get(sender)
        last: list[Call] = [] if newest is None else [("eth_getTransactionByHash", [to_hex(newest[1])])]
        answers = self._node.ask(
            *chain.from_iterable(checks),
            *last,
            ("eth_getBlockByNumber", ["latest", False]),
            ("eth_getTransactionCount", [to_hex(sender), "pending"]),
            ("eth_getBalance", [to_hex(sender), "latest"]),
            ("eth_maxPriorityFeePerGas", ()),
            *(("eth_estimateGas", [intent.call(sender)]) for intent in intents),
        )
        rest = iter(answers)
        for form, asked in zip(forms, checks, strict=True):
            form.check_usability(self._node, list(islice(rest, len(asked))))
        floor = 0
        if newest is not None and self._node.transaction(next(rest), newest[1]) is not None:
            floor = newest[0] + 1
        head, counted, balance, tip, *gas = rest
        block = self._head(head)
        nonce = max(floor, self._node.number(counted, "nonce", below=_MOST_NONCE))
        return Quote(
            head=block,
            nonce=nonce,
            gas=tuple(self._estimated(each, intent.what) for each, intent in zip(gas, intents, strict=True)),
            fees=self._fees(block, tip),
            balance=self._node.number(balance, "balance"),
        )

    def _head(self, answer: Any) -> Block:
        head = self._node.block(answer)
        if head is None:
            raise BackendUnavailableError(f"{self._node.name} has no newest block", retryable=True)
        return head

    def _estimated(self, answer: Any, what: str) -> int:
        if isinstance(answer, RpcError) and (answer.code == _REVERTED or answer.data not in (None, "", "0x")):
            raise SubmissionRejectedError(f"the contract would refuse to {what}: {answer.reason}") from answer
        return self._node.number(answer, "gas estimate")

    def _gas(self, estimate: int) -> int:
        """Return the gas to allow: a quarter above the estimate, since the state may change until it is used."""
        limit = self._settings.gas_limit
        if estimate > limit:
            raise ConfigurationError(
                f"anchoring needs {estimate} gas, gas_limit allows {limit}",
                hint=f"raise gas_limit, for instance to {max(500_000, 2 * estimate)}",
            )
        return min(limit, estimate + estimate // 4)

    def _fees(self, head: Block, tip: Any) -> Fees:
        base_fee = head.header.base_fee
        if base_fee is None:
            (price,) = self._node.ask(("eth_gasPrice", ()))
            return market_fees(None, self._node.number(price, "gas price"), self.cap)
        # Not every node suggests a tip.
        suggested = _DEFAULT_TIP if isinstance(tip, RpcError) else self._node.number(tip, "tip")
        return market_fees(base_fee, suggested, self.cap)

    def _sign(self, key: bytes, quote: Quote, fields: Mapping[str, Any]) -> SignedTransaction:
        common = {"value": 0, "chainId": self._node.chain_id(), **quote.fees.fields()}
        return self.writer.sign(key, {**fields, **common}, {"block": quote.head.header.number})
