# SPDX-License-Identifier: MIT
"""An examiner for the in-memory network, and plugins that announce it, none, or one that misbehaves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from mrv_core.driver import TrustedFacts
from mrv_core.errors import ConfigurationError, FormatError, VerificationError
from mrv_core.hashing import Digest
from mrv_core.hookspecs import DriverFactory, hookimpl
from mrv_core.models import ExaminedReceipt, Receipt, ReceiptState
from mrv_core.testing.memory import MemoryEvidence


def examine(receipt: Receipt, commitment: Digest, trusted: TrustedFacts) -> ExaminedReceipt:
    """Recompute the block that the evidence leads to; whether the chain has it remains."""
    facts: dict[str, Any] = {"network_id": receipt.network_id, "reference": receipt.reference, "commitment": commitment}
    if not receipt.evidence:
        return ExaminedReceipt(state=ReceiptState.PENDING, **facts)
    try:
        evidence = MemoryEvidence.from_json(receipt.evidence, what="evidence")
        block = evidence.block(receipt.network_id).hash(receipt.network_id).hex()
        stated = bytes.fromhex(evidence.payload)
    except FormatError as error:
        raise VerificationError(error.message) from error
    if str(commitment).encode() not in stated:
        raise VerificationError("the payload states another commitment")
    known = block in trusted.block_hashes
    return ExaminedReceipt(
        state=receipt.state,
        block_hash=block,
        block_time=receipt.block_time,
        remaining=() if known else (f"that block {block} is in {receipt.network_id}",),
        trusts=(f"block {block} was given by the verifier",) if known else (),
        **facts,
    )


def broken(receipt: Receipt, commitment: Digest, trusted: TrustedFacts) -> ExaminedReceipt:
    raise ZeroDivisionError("https://user:password@example.org")


def about_another(receipt: Receipt, commitment: Digest, trusted: TrustedFacts) -> ExaminedReceipt:
    """Say that everything is settled, about something that nobody asked for."""
    other = Digest("sha256", bytes(32))
    return ExaminedReceipt(
        network_id=receipt.network_id, reference=receipt.reference, commitment=other, state=ReceiptState.FINAL
    )


def malformed(receipt: Receipt, commitment: Digest, trusted: TrustedFacts) -> ExaminedReceipt:
    raise FormatError("the evidence is no evidence")


def refusing(receipt: Receipt, commitment: Digest, trusted: TrustedFacts) -> ExaminedReceipt:
    raise ConfigurationError("that is no key", hint="give a key")


def plugin_with(examiner: str) -> SimpleNamespace:
    """Return a plugin that announces the in-memory driver with one of the functions above, or with none."""

    @hookimpl
    def mrv_register_drivers(register: Any) -> None:
        register(
            "memory",
            DriverFactory(
                driver="mrv_core.testing.memory:MemoryDriver",
                settings="mrv_core.testing.memory:MemorySettings",
                extra="",
                summary="a small chain for tests, kept in one file",
                examiner=f"bundles.examiners:{examiner}" if examiner else "",
            ),
        )

    return SimpleNamespace(mrv_register_drivers=mrv_register_drivers)
