# SPDX-License-Identifier: MIT
"""Checks a receipt of a transparency log without the log (`mrv_core.driver.Examine`, docs/networks/log.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mrv_backends_log.checkpoint import Checkpoint, TlogProof
from mrv_backends_log.evidence import LogEvidence, check_evidence, parse_entry, reference_of
from mrv_backends_log.note import SignedNote, VerifierKey
from mrv_core.driver import TrustedFacts
from mrv_core.errors import BackendError, ConfigurationError, FormatError, VerificationError
from mrv_core.hashing import Digest
from mrv_core.merkle import leaf_hash, verify_inclusion
from mrv_core.models import ExaminedReceipt, Receipt, ReceiptState

_TRUSTS_NO_TIME: Final = "A checkpoint shows content and order, not time."
_TRUSTS_OPERATOR: Final = (
    "No independent witness cosigns the log: whoever holds its signing key could show others a different log."
)
_ED25519_SIGNATURE: Final = 64  # bytes


@dataclass(frozen=True, slots=True)
class _Unsigned:
    """Everything of a receipt that holds without knowing the log's key."""

    proof: TlogProof
    checkpoint: Checkpoint
    key_id: bytes


def examine(receipt: Receipt, commitment: Digest, trusted: TrustedFacts) -> ExaminedReceipt:
    """Check a receipt's claims, entry, inclusion proof and checkpoint, and its signature where the key is known.

    Raises:
        VerificationError: something in it is wrong, be it the signature by a key that the verifier trusts.
        ConfigurationError: one of the verifier's keys is no verifier key.
        BackendError: the signature cannot be checked, because the library for it is not installed.
    """
    keys = [key for key in map(_parse_key, sorted(trusted.log_keys)) if key.name == receipt.network_id]
    _check_claims(receipt, commitment)
    unsigned = _check_unsigned(receipt, commitment)
    mine = [key for key in keys if key.key_id == unsigned.key_id]
    if keys and not mine:
        raise VerificationError(f"the checkpoint is signed by another key of {receipt.network_id} than those given")
    for key in mine:
        _check_signature(receipt, commitment, key)
    return ExaminedReceipt(
        network_id=receipt.network_id,
        reference=receipt.reference,
        commitment=commitment,
        state=ReceiptState.FINAL,
        facts={
            "leaf_index": unsigned.proof.index,
            "checkpoint_size": unsigned.checkpoint.size,
            "checkpoint_root": unsigned.checkpoint.root.hex(),
            "key_id": unsigned.key_id.hex(),
        },
        remaining=() if mine else (_remaining(receipt, unsigned),),
        trusts=(
            *(f"The verifier key {key} was given by the verifier." for key in mine),
            *((_TRUSTS_NO_TIME, _TRUSTS_OPERATOR) if mine else ()),
        ),
    )


def _check_claims(receipt: Receipt, commitment: Digest) -> None:
    """Compare what every receipt of a log says alike; a log is always kept in a folder in this version."""
    claims = {
        "driver": (receipt.driver, "log"),
        "embedded": (receipt.embedded, True),
        "state": (receipt.state, ReceiptState.FINAL),
        "block_time": (receipt.block_time, None),
        "commitment": (receipt.commitment, commitment),
    }
    for claim, (claimed, actual) in claims.items():
        if claimed != actual:
            raise VerificationError(f"the receipt claims {claim} {claimed}, but it is {actual}")


def _check_unsigned(receipt: Receipt, commitment: Digest) -> _Unsigned:
    """Do everything that `check_evidence` does, except for the signature itself."""
    try:
        evidence = LogEvidence.from_json(receipt.evidence, what="evidence")
        proof = TlogProof.parse(evidence.proof)
        note = SignedNote.parse(proof.checkpoint)
        checkpoint = Checkpoint.parse(note.text)
        entry = evidence.entry.encode("utf-8")
        stated = parse_entry(entry).commitment
    except FormatError as error:
        raise VerificationError(f"the receipt is malformed: {error.message}") from error
    signature = note.signatures[0]
    if checkpoint.to_text() != note.text or len(note.signatures) != 1:
        raise VerificationError("the checkpoint holds more than origin, size, root and the log's signature")
    if not checkpoint.origin == signature.name == receipt.network_id:
        raise VerificationError(f"the checkpoint is not of the log {receipt.network_id[:128]!r}")
    if len(signature.signature) != _ED25519_SIGNATURE:
        raise VerificationError("the checkpoint's signature is not one of Ed25519")
    leaf = leaf_hash(entry)
    verify_inclusion(leaf, proof.index, checkpoint.size, proof.path, checkpoint.root)
    if receipt.reference != reference_of(receipt.network_id, leaf):
        raise VerificationError(f"the receipt is for {receipt.reference[:200]!r}, which its entry is not")
    if stated != commitment:
        raise VerificationError(f"the logged entry states {stated}, not {commitment}")
    return _Unsigned(proof, checkpoint, signature.key_id)


def _check_signature(receipt: Receipt, commitment: Digest, key: VerifierKey) -> None:
    try:
        check_evidence(receipt.evidence, receipt.reference, commitment, key)
    except ModuleNotFoundError as error:
        raise BackendError(
            f"checking the signature of {key.name} needs the package 'cryptography'",
            hint="pip install 'mrv-provenance[log]'",
        ) from error


def _remaining(receipt: Receipt, unsigned: _Unsigned) -> str:
    return (
        f"that the log {receipt.network_id} signed this checkpoint (size {unsigned.checkpoint.size}) with its key "
        f"{unsigned.key_id.hex()}: give its verifier key, from a source of your own, with --log-key"
    )


def _parse_key(text: str) -> VerifierKey:
    try:
        return VerifierKey.parse(text)
    except FormatError as error:
        raise ConfigurationError(
            f"{text[:200]!r} is not the key of a log: {error.message}",
            hint="give the line in the log's log.vkey, or what its operator publishes",
        ) from error
