# SPDX-License-Identifier: MIT
"""Checks an Ethereum receipt from the receipt alone: no node, no settings, no library of this driver.

What is left is which blocks are in the chain, which only the network knows; and for the embedded chain nobody does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from mrv_backends_eth import contract as mlprovenance
from mrv_backends_eth import registry_contract as registry
from mrv_backends_eth import values
from mrv_backends_eth.calldata_evidence import (
    CALLDATA_FORMAT,
    CalldataEvidence,
    decode_payload,
    verify_calldata_evidence,
)
from mrv_backends_eth.chain import EMBEDDED_CHAIN_ID, EMBEDDED_CONTRACT
from mrv_backends_eth.evidence import EthereumEvidence, verify_evidence
from mrv_backends_eth.headers import Header
from mrv_backends_eth.hexadecimal import to_hex
from mrv_backends_eth.pending_evidence import is_pending, parse_pending_evidence
from mrv_backends_eth.registry_evidence import REGISTRY_FORMAT, RegistryEvidence, verify_registry_evidence
from mrv_backends_eth.state_evidence import STATE_FORMAT, ProvenRecord, StateEvidence, verify_state_evidence
from mrv_backends_eth.transactions import Transaction
from mrv_core.driver import TrustedFacts
from mrv_core.errors import VerificationError
from mrv_core.hashing import Digest
from mrv_core.models import ExaminedReceipt, Receipt, ReceiptState, format_time

_DRIVER: Final = "ethereum"
_EMBEDDED_FORMAT: Final = "mrv-evidence-ethereum/1"
_EMBEDDED_ID: Final = f"eip155:{EMBEDDED_CHAIN_ID}"
_NETWORK_ID: Final = re.compile(r"eip155:[1-9][0-9]{0,15}")
_REFERENCE: Final = re.compile(r"0x[0-9a-f]{64}")
_DEFAULT_ALGORITHM: Final = "sha256"


@dataclass(frozen=True, slots=True)
class _Shown:
    """What evidence shows, given that its header is that of a block in the chain."""

    header: Header
    block_time: int
    facts: dict[str, Any]
    remaining: list[str] = field(default_factory=list)


def examine(receipt: Receipt, commitment: Digest, trusted: TrustedFacts) -> ExaminedReceipt:
    """Recompute what a receipt shows; see `mrv_core.driver.Examine`.

    Raises:
        VerificationError: something in the receipt is wrong.
    """
    # 1. The receipt is about the commitment in question, and names a chain and a transaction.
    _check_claims(receipt, commitment)
    # 2. Without evidence of a block it shows little.
    if is_pending(receipt.evidence):
        return _pending(receipt)
    # 3. The evidence holds together, and is about this commitment.
    shown = _SHOW.get(str(receipt.evidence.get("format")), _show_unknown)(receipt)
    # 4. The time that the receipt claims is the one that the evidence shows.
    block_time = datetime.fromtimestamp(shown.block_time, UTC)
    if receipt.block_time != block_time:
        raise VerificationError(f"the receipt says block_time {receipt.block_time}, its evidence shows {block_time}")
    # 5. The header is that of a block which the verifier knows, or that remains to be asked.
    remaining, trusts = _settle(receipt, shown.header, trusted)
    return ExaminedReceipt(
        network_id=receipt.network_id,
        reference=receipt.reference,
        commitment=commitment,
        state=receipt.state,
        block_hash=shown.header.hash.hex(),
        block_time=block_time,
        facts={"block_number": shown.header.number, **shown.facts},
        remaining=(*remaining, *shown.remaining),
        trusts=trusts,
    )


def _check_claims(receipt: Receipt, commitment: Digest) -> None:
    if receipt.commitment != commitment:
        raise VerificationError(f"the receipt is for {receipt.commitment}, not for {commitment}")
    if receipt.format != Receipt.model_fields["format"].default or receipt.driver != _DRIVER:
        raise VerificationError(f"it is no receipt of the driver {_DRIVER}")
    if not _NETWORK_ID.fullmatch(receipt.network_id):
        raise VerificationError("the receipt's network_id is no EIP-155 chain id")
    if not _REFERENCE.fullmatch(receipt.reference):
        raise VerificationError("the receipt's reference is no transaction hash")
    is_embedded = receipt.evidence.get("format") == _EMBEDDED_FORMAT
    if receipt.embedded != is_embedded or receipt.embedded != (receipt.network_id == _EMBEDDED_ID):
        raise VerificationError("the receipt is not clear about whether its chain is an embedded one")


def _pending(receipt: Receipt) -> ExaminedReceipt:
    if receipt.state is not ReceiptState.PENDING or receipt.block_time is not None:
        raise VerificationError(f"the receipt claims to be {receipt.state}, and has no evidence of a block")
    transaction = parse_pending_evidence(receipt.evidence, bytes.fromhex(receipt.reference[2:]))
    facts = {} if transaction is None else _check_waiting(receipt, transaction)
    return ExaminedReceipt(
        network_id=receipt.network_id,
        reference=receipt.reference,
        commitment=receipt.commitment,
        state=ReceiptState.PENDING,
        facts=facts,
        remaining=(
            f"whether transaction {receipt.reference} is in the chain {receipt.network_id} and anchors "
            f"{receipt.commitment}: the receipt was written before that was known",
        ),
    )


def _check_waiting(receipt: Receipt, transaction: Transaction) -> dict[str, Any]:
    """Check that the transaction would anchor the commitment, and return what else it says."""
    stated: Digest | None
    facts: dict[str, Any] = {}
    if (called := mlprovenance.decode_store_hash(transaction.input)) is not None:
        stated = mlprovenance.commitment_of(*called)
    elif (registered := registry.decode_register_mrv(transaction.input)) is not None:
        stated, facts = Digest("sha256", registered[1]), {"mrv_id": registered[0]}
    else:
        stated = decode_payload(transaction)
    if stated != receipt.commitment or receipt.network_id != f"eip155:{transaction.chain_id}":
        raise VerificationError(f"transaction {receipt.reference} does not anchor {receipt.commitment} there")
    return facts


def _settle(receipt: Receipt, header: Header, trusted: TrustedFacts) -> tuple[tuple[str, ...], tuple[str, ...]]:
    block = f"block {to_hex(header.hash)} (number {header.number})"
    if header.hash.hex() in trusted.block_hashes:
        return (), (f"{block} was given by the verifier as one of the chain {receipt.network_id}",)
    if receipt.embedded:
        return (f"that {block} is in the embedded chain of the folder it was made in; nobody else keeps it",), ()
    return (
        f"that {block} is in the chain {receipt.network_id}: compare it with a node or an explorer of your own choice",
    ), ()


def _show_state(receipt: Receipt) -> _Shown:
    evidence = StateEvidence.read(receipt.evidence)
    return _show_record(receipt, verify_state_evidence(evidence, receipt.commitment.value))


def _show_registry(receipt: Receipt) -> _Shown:
    if receipt.commitment.algorithm != _DEFAULT_ALGORITHM:
        raise VerificationError(f"MRVRegistry keeps SHA-256 hashes, not {receipt.commitment}")
    evidence = RegistryEvidence.read(receipt.evidence)
    return _show_record(receipt, verify_registry_evidence(evidence, receipt.commitment.value))


def _show_record(receipt: Receipt, proven: ProvenRecord) -> _Shown:
    contract = values.address_text(proven.contract)
    facts = {
        "contract": contract,
        "submitter": values.address_text(proven.submitter),
        "transaction": "named by the receipt; its record is proven, the transaction itself is not",
        **proven.facts(),
    }
    remaining = []
    if not proven.is_dated_by_header:
        time = format_time(datetime.fromtimestamp(proven.first.timestamp, UTC))
        remaining.append(
            f"that the record is of {time}, block {proven.first.block_number}: the contract {contract} says so, and "
            "whoever deployed it could have filled in earlier times; compare it with an explorer"
        )
    if receipt.commitment.algorithm != _DEFAULT_ALGORITHM:
        remaining.append(
            f"that the 32 bytes are a {receipt.commitment.algorithm} digest: the record does not name the algorithm, "
            f"transaction {receipt.reference} does"
        )
    return _Shown(proven.header, proven.first.timestamp, facts, remaining)


def _show_calldata(receipt: Receipt) -> _Shown:
    proven = verify_calldata_evidence(CalldataEvidence.read(receipt.evidence))
    if proven.commitment != receipt.commitment:
        raise VerificationError(f"the evidence is about {proven.commitment}, not about {receipt.commitment}")
    _compare_reference(receipt, proven.transaction.hash)
    if receipt.network_id != f"eip155:{proven.transaction.chain_id}":
        raise VerificationError(
            f"the transaction is bound to chain {proven.transaction.chain_id}, not to {receipt.network_id}"
        )
    return _Shown(proven.header, proven.header.timestamp, {"submitter": values.address_text(proven.submitter)})


def _show_embedded(receipt: Receipt) -> _Shown:
    proven = verify_evidence(EthereumEvidence.read(receipt.evidence), EMBEDDED_CONTRACT)
    if proven.commitment != receipt.commitment:
        raise VerificationError(f"the evidence is about {proven.commitment}, not about {receipt.commitment}")
    _compare_reference(receipt, proven.transaction_hash)
    if receipt.state is not ReceiptState.FINAL or receipt.submitted_at != receipt.block_time:
        raise VerificationError("the receipt is not as the embedded chain writes them")
    facts = {"contract": values.address_text(EMBEDDED_CONTRACT), "metadata": proven.label}
    return _Shown(proven.header, proven.header.timestamp, facts)


def _show_unknown(receipt: Receipt) -> _Shown:
    known = ", ".join(sorted(_SHOW))
    raise VerificationError("the evidence has a format that this version does not know", hint=f"known: {known}")


def _compare_reference(receipt: Receipt, transaction_hash: bytes) -> None:
    if receipt.reference != to_hex(transaction_hash):
        raise VerificationError(f"the evidence is about the transaction {to_hex(transaction_hash)}")


_SHOW: Final = {
    _EMBEDDED_FORMAT: _show_embedded,
    STATE_FORMAT: _show_state,
    REGISTRY_FORMAT: _show_registry,
    CALLDATA_FORMAT: _show_calldata,
}
