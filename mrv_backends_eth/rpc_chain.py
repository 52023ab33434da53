# SPDX-License-Identifier: MIT
"""A real chain, reached through one node.

Sending is the one step that cannot be undone, so nothing about it is decided by what a call returned: whatever came
back, the node is asked for the transaction by its hash.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from mrv_backends_eth import values
from mrv_backends_eth.absence import Fate, conflict, explain, fate
from mrv_backends_eth.chain import Found, Sighting, SignedTransaction
from mrv_backends_eth.contract_form import ContractForm
from mrv_backends_eth.contract_queries import Statement
from mrv_backends_eth.deploy import deploy
from mrv_backends_eth.form import FailedTransactionError, Form
from mrv_backends_eth.forms import Forms
from mrv_backends_eth.hexadecimal import to_hex
from mrv_backends_eth.keys import Wallet
from mrv_backends_eth.node import Node
from mrv_backends_eth.node_status import describe
from mrv_backends_eth.observing import Observer
from mrv_backends_eth.pending_evidence import is_pending, parse_pending_evidence
from mrv_backends_eth.registered import find_registered
from mrv_backends_eth.searching import are_new, find
from mrv_backends_eth.settings import EthereumSettings
from mrv_backends_eth.signing import Signing
from mrv_backends_eth.transactions import Transaction
from mrv_core.driver import Capabilities, Deployment
from mrv_core.errors import (
    AnchorNotFoundError,
    BackendError,
    ConfigurationError,
    FormatError,
    VerificationError,
)
from mrv_core.hashing import Digest
from mrv_core.models import Metadata, Receipt
from mrv_core.transport import MAX_CALL_S, HttpTransport, JsonRpcClient, RpcError, TransportError


class RpcChain:
    """The `Chain` behind a node's JSON-RPC.

    Args:
        settings: Checked settings with the URL of a node.
        network: Configured name, for messages.

    Raises:
        ConfigurationError: the URL cannot be used.
    """

    def __init__(self, settings: EthereumSettings, network: str) -> None:
        self._settings = settings
        self._network = network
        try:
            self._transport = HttpTransport(settings.rpc_url, timeout_s=min(MAX_CALL_S, settings.timeout))
        except FormatError as error:
            raise ConfigurationError(f"{network}.rpc_url: {error.message}", hint=error.hint) from error
        client = JsonRpcClient(self._transport)
        self._node = Node(client, settings.chain_id, network)
        self._wallet = Wallet(settings, network)
        self._forms = Forms(settings, network)
        self._observer = Observer(self._node, self._forms, settings, network)
        self._signing = Signing(client, self._node, self._wallet, self._forms, settings, network)
        self.capabilities = Capabilities(
            attests_time=True,
            embedded=False,
            mines_later=True,
            replaces=True,
            searches=any(isinstance(form, ContractForm) for form in self._forms.in_use),
            pipelines=isinstance(self._forms.main, ContractForm),  # which asks what the journal may not know
            registers=self._forms.registers,
        )

    def network_id(self) -> str:
        """Return `eip155:` and the chain id. See `Chain`."""
        return f"eip155:{self._node.chain_id()}"

    def sign(self, anchors: Sequence[tuple[Digest, Metadata]]) -> list[SignedTransaction]:
        """Build and sign. See `Chain`."""
        return self._signing.anchors(anchors)

    def replace(self, transaction: SignedTransaction, *, was_refused: bool) -> SignedTransaction | None:
        """Sign the same transaction with higher fees. See `Chain`."""
        return self._signing.replacement(transaction, was_refused=was_refused)

    def send(self, transaction: SignedTransaction) -> Sighting:
        """Send, then ask by hash. See `Chain`."""
        parsed = Transaction.parse(transaction.raw)
        self._require_ours(parsed)
        failure: BackendError | None = None
        try:
            self._node.send(transaction.raw)
        except BackendError as error:
            if isinstance(error, TransportError) and not error.maybe_delivered:
                raise
            failure = error
        observed = self._observer.observe(parsed.hash)
        if observed.seen is None:
            raise explain(self._node, self._form_of(parsed), parsed, observed.tip, failure, self._network)
        self._signing.note_sent(parsed)
        return self._observer.own(observed, parsed.hash)

    def send_many(self, transactions: Sequence[SignedTransaction]) -> list[Sighting | None]:
        """Send all of them, then ask for all of them by hash. See `Chain`."""
        parsed = [Transaction.parse(transaction.raw) for transaction in transactions]
        for transaction in parsed:
            self._require_ours(transaction)
        self._node.send_many([transaction.raw for transaction in transactions])
        answers = self._node.ask(*(("eth_getTransactionByHash", [to_hex(each.hash)]) for each in parsed))
        seen = [self._taken(each, answer) for each, answer in zip(parsed, answers, strict=True)]
        taken = [each for each, sighting in zip(parsed, seen, strict=True) if sighting is not None]
        if taken:
            self._signing.note_sent(taken[-1])  # the last one alone: whose they are takes some milliseconds each
        return seen

    def look(self, transaction_hash: bytes) -> Sighting:
        """Look by hash. See `Chain`."""
        try:
            return self._observer.sighting(self._observer.observe(transaction_hash), transaction_hash)
        except FailedTransactionError as error:
            raise AnchorNotFoundError(
                f"transaction {to_hex(transaction_hash)} anchored nothing: {error.reason}"
            ) from error

    def look_again(self, transaction_hash: bytes, receipt: Receipt) -> Sighting:
        """Look by hash, and keep evidence that still holds. See `Chain`."""
        if not is_pending(receipt.evidence):
            with suppress(VerificationError, AnchorNotFoundError):  # then it is elsewhere now, or was never right
                return self._observer.check(transaction_hash, receipt)
            return self._observer.own(self._observer.observe(transaction_hash), transaction_hash)
        observed = self._observer.observe(transaction_hash)
        waiting = parse_pending_evidence(receipt.evidence, transaction_hash)
        if observed.seen is None and waiting is not None:
            if fate(self._node, self._form_of(waiting), waiting, observed.tip) is Fate.TAKEN_FOR_GOOD:
                raise conflict(self._network, waiting)
        return self._observer.own(observed, transaction_hash)

    def check(self, transaction_hash: bytes, receipt: Receipt) -> Sighting:
        """Recompute the receipt, then ask the node. See `Chain`."""
        if not is_pending(receipt.evidence):
            return self._with_submitter_checked(self._observer.check(transaction_hash, receipt))
        parse_pending_evidence(receipt.evidence, transaction_hash)
        seen = self.look(transaction_hash)
        waiting = parse_pending_evidence(seen.evidence, transaction_hash) if is_pending(seen.evidence) else None
        if waiting is not None:
            seen = replace(seen, facts={"submitter": values.address_text(waiting.sender())})
        return self._with_submitter_checked(seen)

    def are_new(self, anchors: Sequence[tuple[Digest, Metadata]]) -> list[bool]:
        """Ask the contract for our own records, those of transactions that wait included. See `Chain`."""
        submitter, main = self._wallet.address(), self._forms.main
        if submitter is None or not isinstance(main, ContractForm):
            return [False] * len(anchors)
        # What goes to the registry, or cannot be stated at all, is left to go one by one.
        stated: dict[int, Statement] = {}
        for place, (commitment, metadata) in enumerate(anchors):
            if self._forms.of(metadata) is main:
                with suppress(FormatError):
                    stated[place] = main.queries.statement(commitment, metadata)
        answers = are_new(self._node, main.queries, submitter, list(stated.values())) if stated else []
        new = dict(zip(stated, answers, strict=True))
        return [new.get(place, False) for place in range(len(anchors))]

    def find(self, commitment: Digest, metadata: Metadata) -> bytes | None:
        """Ask the contract for our own record, then for the event that made it. See `Chain`."""
        submitter, form = self._wallet.address(), self._forms.of(metadata)
        if submitter is None or not isinstance(form, ContractForm):
            return None
        try:
            stated = form.queries.statement(commitment, metadata)
        except FormatError:  # what the contract does not take, it does not have
            return None
        return find(self._node, form.queries, submitter, stated, self._network)

    def find_registered(self, mrv_id: str, commitment: Digest) -> Found:
        """Ask the registry what is registered under an id. See `Chain`."""
        return find_registered(
            self._node, self._forms.registry.queries, mrv_id, commitment, self._expected_submitters()
        )

    def deploy(self, contract: str) -> Deployment:
        """Deploy a contract. See `Chain`."""
        return deploy(contract, self._node, self._signing, self._forms.contract.queries)

    def status(self) -> tuple[bool, str]:
        """Describe chain, contract and account. See `Chain`."""
        return describe(self._node, self._wallet, self._forms.in_use, self._observer.finality)

    def close(self) -> None:
        """Close idle connections. See `Chain`."""
        self._transport.close()

    def _form_of(self, transaction: Transaction) -> Form:
        form, _ = self._forms.read(transaction)
        return form or self._forms.main

    def _taken(self, transaction: Transaction, answer: Any) -> Sighting | None:
        """Say of a transaction of a group that the node has it; what else became of it is looked for later."""
        seen = None if isinstance(answer, RpcError) else self._node.transaction(answer, transaction.hash)
        _, commitment = self._forms.read(transaction)
        if seen is None or commitment is None:
            return None
        return self._observer.waiting(transaction, commitment)

    def _require_ours(self, transaction: Transaction) -> None:
        """Refuse to send what the settings of today would not find again."""
        if transaction.chain_id != self._node.chain_id():
            raise ConfigurationError(
                f"{self._network}: what was prepared is for chain {transaction.chain_id}, "
                f"the settings and the node are for {self._node.chain_id()}",
                hint="put the settings back until 'mrv flush' has sent it",
            )
        if self._forms.read(transaction)[1] is None:
            raise ConfigurationError(
                f"{self._network}: what was prepared does not call a configured contract",
                hint="put contract_address or registry_address back until 'mrv flush' has sent it",
            )

    def _with_submitter_checked(self, seen: Sighting) -> Sighting:
        """Compare who anchored with who is expected to: a commitment is public, anyone can anchor it again."""
        submitter = seen.facts["submitter"]
        expected = self._expected_submitters()
        if not expected:
            sentence = f"the settings name no submitter; it was anchored by {submitter}, whoever that is"
            return replace(seen, trusts=(*seen.trusts, sentence))
        if submitter.lower() not in expected:
            raise VerificationError(
                f"{self._network}: it was anchored by {submitter}, not by {' or '.join(sorted(expected))}",
                hint="set 'submitter' of this network to the addresses whose anchors you expect",
            )
        return seen

    def _expected_submitters(self) -> set[str]:
        configured = self._settings.submitter
        if configured is not None:
            return {address.lower() for address in ([configured] if isinstance(configured, str) else configured)}
        own = self._wallet.address()
        return set() if own is None else {to_hex(own)}
