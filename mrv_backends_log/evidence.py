# SPDX-License-Identifier: MIT
"""The entry that is logged, and the evidence in a receipt, checked without the log (docs/networks/log.md)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from mrv_backends_log.checkpoint import Checkpoint, TlogProof
from mrv_backends_log.note import SignedNote, VerifierKey
from mrv_core.canonical import canonical_bytes, to_json_value
from mrv_core.errors import FormatError, VerificationError
from mrv_core.hashing import Digest
from mrv_core.merkle import leaf_hash, verify_inclusion
from mrv_core.models import DigestField, Json, Metadata, Model

MAX_ENTRY_BYTES: Final = 65_535
"""Largest entry that a C2SP tlog-tiles log could serve, whose entry bundles have 16-bit lengths."""

_LEAF: Final = re.compile(r"[0-9a-f]{64}")


class LogEntry(Model):
    """What is logged: that this commitment was anchored, with these public facts."""

    format: Literal["mrv-log-entry/1"]
    commitment: DigestField
    metadata: dict[str, Json]


class LogEvidence(Model):
    """Evidence of a receipt.

    Attributes:
        format: Version of this format.
        entry: The logged entry as text; its UTF-8 bytes are what is hashed.
        proof: C2SP tlog-proof of that entry, with the signed checkpoint it leads to.
    """

    format: Literal["mrv-log-evidence/1"]
    entry: str
    proof: str


@dataclass(frozen=True, slots=True)
class CheckedEvidence:
    """Evidence whose signature, proof and entry hold.

    Attributes:
        entry: The entry's bytes.
        leaf: Its leaf hash (32 bytes).
        proof: The inclusion proof.
        checkpoint: What the log signed.
    """

    entry: bytes
    leaf: bytes
    proof: TlogProof
    checkpoint: Checkpoint


def encode_entry(commitment: Digest, metadata: Metadata) -> bytes:
    """Return the entry for a commitment: its canonical JSON, so that the same facts are the same entry.

    Raises:
        FormatError: metadata that JSON cannot carry exactly, or an entry larger than `MAX_ENTRY_BYTES`.
    """
    value = {"format": "mrv-log-entry/1", "commitment": str(commitment), "metadata": to_json_value(metadata)}
    entry = canonical_bytes(value)
    parse_entry(entry)  # what could not be read back must never be logged
    return entry


def parse_entry(entry: bytes) -> LogEntry:
    """Read an entry.

    Raises:
        FormatError: too large, not an entry, or not in canonical form.
    """
    if len(entry) > MAX_ENTRY_BYTES:
        raise FormatError(
            f"log entry: {len(entry)} bytes is more than the {MAX_ENTRY_BYTES} allowed", hint="shorten the metadata"
        )
    parsed = LogEntry.from_bytes(entry, what="log entry")
    if parsed.to_bytes() != entry:
        raise FormatError("log entry: not in canonical form")
    return parsed


def reference_of(origin: str, leaf: bytes) -> str:
    """Return the name of an anchor: the log's origin and the leaf hash, known before anything is sent."""
    return f"{origin}#{leaf.hex()}"


def parse_reference(reference: str) -> tuple[str, bytes]:
    """Return the origin and the leaf hash that a reference names.

    Raises:
        FormatError: not of the form `origin#leaf hash`, the hash in 64 lower-case hexadecimal digits.
    """
    origin, _, leaf = reference.rpartition("#")
    if not origin or not _LEAF.fullmatch(leaf):
        raise FormatError(f"{reference[:200]!r} is not a log reference", hint="write it as origin#leaf hash")
    return origin, bytes.fromhex(leaf)


def open_checkpoint(note: str, key: VerifierKey) -> Checkpoint:
    """Return the checkpoint in a note signed by this log and nobody else, with nothing added to it.

    Raises:
        FormatError: not a signed note with a checkpoint in it.
        VerificationError: another log's, another key's, or more than origin, size and root.
    """
    signed = SignedNote.parse(note)
    checkpoint = Checkpoint.parse(key.open(signed))
    if checkpoint.origin != key.name:
        raise VerificationError(f"the checkpoint is of {checkpoint.origin[:128]!r}, not of {key.name}")
    if checkpoint.to_text() != signed.text or len(signed.signatures) != 1:
        raise VerificationError("the checkpoint holds more than origin, size, root and the log's signature")
    return checkpoint


def check_evidence(evidence: dict[str, Any], reference: str, commitment: Digest, key: VerifierKey) -> CheckedEvidence:
    """Check a receipt's evidence without the log.

    1. The checkpoint is signed by the trusted key.
    2. The entry's leaf hash is in the checkpoint's tree at the proof's index.
    3. The reference names this log and that leaf.
    4. The entry is about the commitment.

    Raises:
        VerificationError: malformed, or any of these does not hold.
    """
    try:
        parsed = LogEvidence.from_json(evidence, what="evidence")
        proof = TlogProof.parse(parsed.proof)
        checkpoint = open_checkpoint(proof.checkpoint, key)
        entry = parsed.entry.encode("utf-8")
        stated = parse_entry(entry).commitment
    except FormatError as error:
        raise VerificationError(f"the receipt is malformed: {error.message}") from error
    leaf = leaf_hash(entry)
    verify_inclusion(leaf, proof.index, checkpoint.size, proof.path, checkpoint.root)
    if reference != reference_of(key.name, leaf):
        raise VerificationError(f"the receipt is for {reference[:200]!r}, but its entry is {reference_of('', leaf)}")
    if stated != commitment:
        raise VerificationError(f"the logged entry states {stated}, not {commitment}")
    return CheckedEvidence(entry, leaf, proof, checkpoint)
