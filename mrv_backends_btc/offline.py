# SPDX-License-Identifier: MIT
"""What a receipt of this driver shows by itself: no settings, no node, no library of the extra."""

from __future__ import annotations

import re
from typing import Any, Final

from mrv_backends_btc.chains import CHAINS_BY_ID, Chain
from mrv_backends_btc.evidence import CheckedAnchor, check_evidence
from mrv_backends_btc.header import Header
from mrv_backends_btc.ots_evidence import FORMAT as OTS_FORMAT
from mrv_backends_btc.ots_evidence import BlockClaim, CheckedOts, check_ots_evidence
from mrv_core.driver import TrustedFacts
from mrv_core.errors import VerificationError
from mrv_core.hashing import Digest
from mrv_core.models import ExaminedReceipt, Receipt, ReceiptState

DRIVER: Final = "bitcoin"
TIME_FACT: Final = "about two hours; read the time as a day"
"""How exact the time of a block is."""

TXID: Final = re.compile(r"[0-9a-f]{64}")
"""A transaction id as explorers show it."""
_NETWORK_ID: Final = re.compile(r"bip122:[0-9a-f]{32}")


def examine(receipt: Receipt, commitment: Digest, trusted: TrustedFacts) -> ExaminedReceipt:
    """Check a receipt without asking anyone; see `mrv_core.driver.Examine`.

    Raises:
        VerificationError: anything in it is wrong.
    """
    check_claims(receipt, commitment)
    if not receipt.evidence:
        return _without_evidence(receipt)
    chain = CHAINS_BY_ID.get(receipt.network_id)
    if receipt.evidence.get("format") == OTS_FORMAT:
        return _examine_ots(
            receipt, check_ots_evidence(receipt.evidence, receipt.reference, commitment, chain), trusted
        )
    checked = check_evidence(receipt.evidence, receipt.reference, commitment, chain)
    check_floor(checked.header, chain)
    return _in_block(receipt, checked.header, checked.height, anchor_facts(checked), trusted)


def check_claims(receipt: Receipt, commitment: Digest) -> None:
    """Check what every receipt of this driver claims, whatever its evidence.

    Raises:
        VerificationError: a claim that this driver never makes, or another commitment.
    """
    if receipt.driver != DRIVER or receipt.embedded:
        raise VerificationError("the receipt is not one of the Bitcoin driver")
    if not _NETWORK_ID.fullmatch(receipt.network_id):
        raise VerificationError(f"the receipt names no Bitcoin chain: {receipt.network_id[:80]!r}")
    if receipt.commitment != commitment:
        raise VerificationError(f"the receipt is for {receipt.commitment}, not {commitment}")
    if receipt.evidence:
        return
    if receipt.block_time is not None:
        raise VerificationError("the receipt claims a block time without evidence of a block")
    if not TXID.fullmatch(receipt.reference):
        raise VerificationError(f"the receipt's reference is no transaction id: {receipt.reference[:80]!r}")


def check_time(receipt: Receipt, header: Header) -> None:
    """Check that a receipt's block time is its header's.

    Raises:
        VerificationError: it is another, or none.
    """
    if receipt.block_time != header.time:
        raise VerificationError(f"the receipt claims block time {receipt.block_time}, the header says {header.time}")


def check_floor(header: Header, chain: Chain | None, min_work: int | None = None) -> None:
    """Check that a header has cost what one of its chain must have cost.

    Args:
        header: With work that meets its own target.
        chain: Its chain, where it is a known one.
        min_work: Floor as a power of two, instead of the chain's.

    Raises:
        VerificationError: it is too cheap, so anyone could have made it.
    """
    floor = chain.min_work if min_work is None and chain is not None else min_work or 0
    if header.work < 1 << floor:
        raise VerificationError(
            f"the block header {header.hash_hex} has cost 2^{header.work.bit_length() - 1} hashes, less than the "
            f"2^{floor} required: anyone could have made it"
        )


def anchor_facts(checked: CheckedAnchor) -> dict[str, Any]:
    """Return what was recomputed from evidence, for people to read."""
    return {
        "block_hash": checked.header.hash_hex,
        "block_height": checked.height,
        "block_time_accuracy": TIME_FACT,
        "output_index": checked.output_index,
        "transaction_index": checked.index,
        "work_log2": checked.header.work.bit_length() - 1,
    }


def ots_facts(checked: CheckedOts) -> dict[str, Any]:
    """Return what a proof of OpenTimestamps attests, for people to read."""
    facts: dict[str, Any] = {
        "ots_bitcoin_heights": sorted({claim.height for claim in checked.claims}),
        "ots_calendars": list(checked.calendars),
        "ots_unknown_attestations": checked.unknown,
        "ots_weak_hashes": sorted({name for claim in checked.claims for name in claim.weak}),
    }
    if checked.header is not None and checked.shown is not None:
        facts["block_hash"] = checked.header.hash_hex
        facts["block_height"] = checked.shown.height
        facts["block_time_accuracy"] = TIME_FACT
    return facts


def weakness(claim: BlockClaim) -> str:
    """Return in a sentence why a claim that rests on a weak hash does not suffice."""
    return (
        f"The proof's way to block {claim.height} rests on {' and '.join(claim.weak)}: whoever made the file may have "
        "made another one with the same proof. Stamp it again without."
    )


def _examine_ots(receipt: Receipt, checked: CheckedOts, trusted: TrustedFacts) -> ExaminedReceipt:
    facts = ots_facts(checked)
    if checked.header is not None and checked.shown is not None:
        examined = _in_block(receipt, checked.header, checked.shown.height, facts, trusted)
        weak = (weakness(checked.shown),) if checked.shown.weak else ()
        return examined.model_copy(update={"remaining": (*examined.remaining, *weak)})
    if receipt.block_time is not None:
        raise VerificationError("the receipt claims a block time without evidence of a block")
    name = _chain_name(receipt.network_id)
    remaining = [
        f"Block {claim.height} of the Bitcoin chain {name} has the Merkle root {claim.root_hex}: compare it with a "
        "node or an explorer."
        for claim in checked.claims
    ]
    if not remaining:
        remaining = ["No block holds it yet: a calendar has to say which one does."]
    elif checked.claims[0].weak:
        remaining.append(weakness(checked.claims[0]))
    return _examined(receipt, ReceiptState.PENDING, facts=facts, remaining=tuple(remaining))


def _without_evidence(receipt: Receipt) -> ExaminedReceipt:
    name = _chain_name(receipt.network_id)
    remaining = (
        f"Transaction {receipt.reference} carries {receipt.commitment} and is in the Bitcoin chain {name}: ask a node.",
    )
    return _examined(receipt, ReceiptState.PENDING, remaining=remaining)


def _in_block(
    receipt: Receipt, header: Header, height: int, facts: dict[str, Any], trusted: TrustedFacts
) -> ExaminedReceipt:
    check_time(receipt, header)
    name = _chain_name(receipt.network_id)
    remaining: tuple[str, ...] = ()
    trusts: tuple[str, ...] = ()
    if header.hash_hex in trusted.block_hashes:
        trusts = (f"Block {header.hash_hex} was given by the verifier as one of the Bitcoin chain {name}.",)
    elif _is_enough(header, receipt.network_id, trusted.min_work):
        trusts = (
            f"A block header that has cost 2^{header.work.bit_length() - 1} hashes is taken as one of the Bitcoin "
            f"chain {name}, as the verifier's floor of 2^{trusted.min_work} says; no node was asked.",
        )
    else:
        remaining = (
            f"Block {header.hash_hex} (height {height}) is in the Bitcoin chain {name}: compare it with a node or an "
            "explorer.",
        )
    return _examined(
        receipt,
        receipt.state,
        block_hash=header.hash_hex,
        block_time=header.time,
        facts=facts,
        remaining=remaining,
        trusts=trusts,
    )


def _is_enough(header: Header, network_id: str, min_work: int | None) -> bool:
    """Whether a header has cost what the verifier asks for, and no more than one of the chain that is claimed.

    A header of the main chain has cost enough for any floor, but it is not one of regtest.
    """
    chain = CHAINS_BY_ID.get(network_id)
    return min_work is not None and chain is not None and 1 << min_work <= header.work < 1 << chain.max_work


def _examined(receipt: Receipt, state: ReceiptState, **found: Any) -> ExaminedReceipt:
    return ExaminedReceipt(
        network_id=receipt.network_id,
        reference=receipt.reference,
        commitment=receipt.commitment,
        state=state,
        **found,
    )


def _chain_name(network_id: str) -> str:
    chain = CHAINS_BY_ID.get(network_id)
    return network_id if chain is None else f"{chain.name} ({network_id})"
