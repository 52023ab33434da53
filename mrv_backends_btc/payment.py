# SPDX-License-Identifier: MIT
"""Builds and signs the transactions of anchors: new ones, and ones that outbid them. Nothing is sent here."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from mrv_backends_btc.fees import Fees, as_option
from mrv_backends_btc.node import Node
from mrv_backends_btc.payload import commitments_in, encode_payload
from mrv_backends_btc.psbt import unsigned_transaction
from mrv_backends_btc.replies import SATOSHIS, Acceptance, Funded, MempoolEntry
from mrv_backends_btc.reservations import Reservations
from mrv_backends_btc.rpc import NodeRpc
from mrv_backends_btc.settings import BitcoinSettings
from mrv_backends_btc.spending import Spending
from mrv_backends_btc.transaction import Input, Transaction, parse_transaction
from mrv_backends_btc.wallet import Wallet
from mrv_core.errors import BackendError, BackendUnavailableError, FormatError
from mrv_core.hashing import Digest
from mrv_core.models import Prepared, Receipt
from mrv_core.transport import RpcError

_PASSING_REASONS: Final = frozenset(
    {
        "bad-txns-inputs-missingorspent",
        "insufficient fee",
        "mempool full",
        "mempool min fee not met",
        "min relay fee not met",
        "missing-inputs",
        "too-long-mempool-chain",
        "txn-mempool-conflict",
    }
)
"""Reasons of `testmempoolaccept` that go away by themselves, or with the next try's other inputs."""
_MAX_CHOICES: Final = 10
"""How often the wallet chooses while others lock what it chose; each time somebody else got on."""


_OWN_OUTPUT_SAT: Final = 1000
"""Value of an output to the wallet itself, where its change is none: more than any dust limit."""


class _NoChangeError(BackendError):
    """The transaction has data and no other output, which not every node relays."""


class Payments:
    """Makes the transactions of one network with one wallet.

    Args:
        network: Configured name.
        rpc: The node's RPC.
        node: The node.
        wallet: What pays.
        spending: What spends its outputs.
        settings: Fees and patience.
        folder: The network's folder.
    """

    def __init__(
        self,
        network: str,
        rpc: NodeRpc,
        node: Node,
        wallet: Wallet,
        spending: Spending,
        settings: BitcoinSettings,
        folder: Path,
    ) -> None:
        self._network = network
        self._rpc = rpc
        self._node = node
        self._wallet = wallet
        self._settings = settings
        self._fees = Fees(rpc, settings)
        self._reservations = Reservations(folder)
        self._spending = spending

    def prepare(self, commitment: Digest) -> Prepared:
        """Build and sign the transaction of a new anchor.

        Raises:
            BackendError: the node has not caught up; the wallet is locked, empty or cannot sign; fees above the cap;
                a policy of the node that refuses such transactions.
            StorageError: what the wallet keeps for it cannot be written down.
        """
        height = self._node.check_synced().blocks
        self._wallet.check_can_sign()
        self._reservations.release(self._wallet)
        return self._make(commitment, [], self._fees.rate(), height)

    def replace(self, prepared: Prepared, receipt: Receipt | None) -> Prepared | None:
        """Build and sign a transaction that spends the same and more, and pays more; see `ReplacingDriver`.

        Raises:
            BackendError: as of `prepare`.
        """
        height = self._node.check_synced().blocks
        waited = height - int(prepared.details.get("height", height))
        if receipt is not None and waited < self._settings.replace_after_blocks:
            return None
        old = parse_transaction(bytes.fromhex(prepared.payload_hex), what="the prepared transaction")
        rate = self._rate_to_outbid(old, prepared)
        if rate is None:
            return None
        self._wallet.check_can_sign()
        return self._make(prepared.commitment, old.inputs, rate, height)

    def max_fee_rate(self) -> Decimal:
        """Return the cap as `maxfeerate` of the node's methods takes it, in bitcoins per 1000 virtual bytes.

        A signature may come out shorter than the wallet assumed, and the rate a little higher for it.
        """
        return Decimal(self._fees.cap * 51 // 50) / SATOSHIS

    def _rate_to_outbid(self, old: Transaction, prepared: Prepared) -> int | None:
        standing = self._spending.in_mempool(old.inputs)
        if standing is None:  # refused for its fee: no mempool holds it
            rate = self._fees.rate()
            return rate if rate * old.vsize > int(prepared.details.get("fee_sat", 0)) * 1000 else None
        found = self._node.transaction(standing)
        if found is None or prepared.commitment not in dict(commitments_in(found.transaction)).values():
            return None  # somebody else's use of the same outputs, perhaps another anchor: not to be outbid
        entry = self._rpc.ask(MempoolEntry, "getmempoolentry", standing)
        if entry.descendantcount > 1:
            return None  # a later anchor spends its change; outbidding this one would throw that out
        return self._fees.rate_to_outbid(entry)

    def _make(self, commitment: Digest, inputs: Iterable[Input], rate: int, height: int) -> Prepared:
        required = tuple(inputs)
        outputs = [{"data": encode_payload(commitment).hex()}]
        try:
            return self._build(commitment, required, outputs, rate, height)
        except _NoChangeError:  # the coins that the wallet chose pay for exactly this
            own = {self._wallet.change_address(): f"{Decimal(_OWN_OUTPUT_SAT) / SATOSHIS:.8f}"}
            return self._build(commitment, required, [*outputs, own], rate, height)

    def _build(
        self,
        commitment: Digest,
        required: tuple[Input, ...],
        outputs: list[dict[str, str]],
        rate: int,
        height: int,
    ) -> Prepared:
        funded, planned = self._plan(commitment, required, outputs, rate)
        try:
            raw = self._wallet.sign(funded.psbt)
            transaction = self._node.parse_signed(raw, planned)
            self._check_fee(funded.fee, transaction)
            self._check_accepted(raw)
        except BackendError:
            self._reservations.release(self._wallet, _chosen(planned, required))
            raise
        return Prepared(
            network=self._network,
            commitment=commitment,
            reference=transaction.txid_hex,
            payload_hex=raw,
            details={"fee_sat": funded.fee, "height": height, "vsize": transaction.vsize},
        )

    def _plan(
        self, commitment: Digest, inputs: tuple[Input, ...], outputs: list[dict[str, str]], rate: int
    ) -> tuple[Funded, Transaction]:
        """Let the wallet build the transaction, and lock what it spends.

        The wallet could lock while it chooses, but then nobody would know what, if its answer were lost.
        """
        for _ in range(_MAX_CHOICES):
            funded = self._fund(inputs, outputs, rate)
            planned = self._read_plan(funded, commitment, inputs)
            if self._reservations.reserve(self._wallet, inputs, _chosen(planned, inputs)):
                return funded, planned
        raise BackendUnavailableError(
            f"{self._rpc.name}: others keep taking what wallet {self._wallet.name!r} chooses to spend",
            hint="try again later, or give the wallet more coins, or every program a wallet of its own",
            retryable=True,
        )

    def _fund(self, inputs: tuple[Input, ...], outputs: list[dict[str, str]], rate: int) -> Funded:
        """Let the wallet choose outputs to spend: confirmed ones, and only where these do not suffice its own change.

        So an anchor seldom waits for an earlier one, and that one can still be replaced.
        """
        options: dict[str, Any] = {
            "add_inputs": True,
            "fee_rate": as_option(rate),
            "minconf": 1,
            "replaceable": True,
        }
        chosen = [{"txid": each.txid_hex, "vout": each.index} for each in inputs]
        try:
            return self._wallet.fund(chosen, outputs, options)
        except RpcError as error:
            first = error
        try:
            if not inputs:
                return self._wallet.fund(chosen, outputs, {**options, "minconf": 0})
        except RpcError as error:
            first = error
        raise self._no_funds(first) from first

    def _no_funds(self, error: RpcError) -> BackendError:
        mine = self._wallet.balances().mine
        kept = len(self._wallet.locked_outputs())
        what = f"{self._rpc.name}: wallet {self._wallet.name!r} cannot pay for an anchor: {error.reason}"
        have = f"it can spend {mine.trusted} sat, {mine.immature + mine.untrusted_pending} sat are not spendable yet"
        if kept:
            return BackendUnavailableError(
                f"{what}; {have}, {kept} outputs are locked",
                hint="anchors that other programs prepare lock outputs for a moment; if there are none, this releases "
                f"what somebody locked: bitcoin-cli -rpcwallet={self._wallet.name} lockunspent true",
                retryable=True,
            )
        return BackendError(
            f"{what}; {have}",
            hint=f"send it some coins: bitcoin-cli -rpcwallet={self._wallet.name} getnewaddress",
        )

    def _read_plan(self, funded: Funded, commitment: Digest, inputs: tuple[Input, ...]) -> Transaction:
        """Check, before anything is signed, that the node built what was asked for."""
        try:
            planned = unsigned_transaction(funded.psbt)
        except FormatError:
            raise self._rpc.unexpected("walletcreatefundedpsbt") from None
        anchors = [value for _, value in commitments_in(planned)]
        spent = {each.outpoint for each in planned.inputs}
        replaceable = all(each.sequence < 0xFFFF_FFFE for each in planned.inputs)
        if anchors != [commitment] or not replaceable or not spent.issuperset(each.outpoint for each in inputs):
            raise self._rpc.unexpected("walletcreatefundedpsbt")
        return planned

    def _check_fee(self, fee: int, transaction: Transaction) -> None:
        if Decimal(fee) > self.max_fee_rate() * SATOSHIS * transaction.vsize / 1000:
            raise BackendError(
                f"{self._rpc.name}: the anchor would cost {fee} sat for {transaction.vsize} virtual bytes, more than "
                f"max_fee_rate {self._settings.max_fee_rate:g} allows",
                hint="raise max_fee_rate, or wait until fees fall",
            )

    def _check_accepted(self, raw: str) -> None:
        answers = self._rpc.call("testmempoolaccept", [raw], self.max_fee_rate())
        try:
            answer = Acceptance.model_validate(answers[0])
        except (ValueError, TypeError, IndexError, KeyError):
            raise self._rpc.unexpected("testmempoolaccept") from None
        if answer.allowed:
            return
        reason = self._rpc.mask(answer.reject_reason or "no reason")
        if reason in ("scriptpubkey", "datacarrier"):
            raise BackendError(
                f"{self._rpc.name} relays no outputs with data, or none of 39 bytes ({reason})",
                hint="start the node without -datacarrier=0, and with -datacarriersize=39 or more",
            )
        if reason == "bare-datacarrier":
            raise _NoChangeError(f"{self._rpc.name} relays no transaction with data and no other output ({reason})")
        if reason in _PASSING_REASONS:
            raise BackendUnavailableError(
                f"{self._rpc.name} does not take the anchor now: {reason}", hint="try again later", retryable=True
            )
        raise BackendError(f"{self._rpc.name} does not take the anchor: {reason}", hint="look into the node's policy")


def _chosen(transaction: Transaction, required: Iterable[Input]) -> list[Input]:
    """Return the inputs that the wallet added to those that were required."""
    given = {each.outpoint for each in required}
    return [each for each in transaction.inputs if each.outpoint not in given]
