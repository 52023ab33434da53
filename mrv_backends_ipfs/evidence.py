# SPDX-License-Identifier: MIT
"""The statement block that is anchored, and the evidence in a receipt (docs/networks/ipfs.md)."""

from __future__ import annotations

from typing import Any, Final, Literal

from mrv_backends_ipfs.cid import RAW, Cid
from mrv_core.canonical import canonical_bytes, to_json_value
from mrv_core.errors import FormatError, VerificationError
from mrv_core.hashing import Digest
from mrv_core.models import DigestField, Json, Metadata, Model

NETWORK_ID: Final = "ipfs"
"""There is one IPFS: a CID means the same bytes everywhere."""
MAX_BLOCK_BYTES: Final = 1024 * 1024
"""Largest block that every IPFS implementation exchanges; a statement never needs more than one."""


class Statement(Model):
    """What a block says: that this commitment was anchored, with these public facts."""

    format: Literal["mrv-statement/1"]
    commitment: DigestField
    metadata: dict[str, Json]


class IpfsEvidence(Model):
    """Evidence of a receipt: the whole block as text, so that the CID can be recomputed without any node."""

    format: Literal["mrv-ipfs-evidence/1"]
    block: str


def encode_statement(commitment: Digest, metadata: Metadata) -> bytes:
    """Return the block for a commitment: the statement's canonical JSON.

    Raises:
        FormatError: metadata that JSON cannot carry exactly, or a block larger than `MAX_BLOCK_BYTES`.
    """
    statement = {
        "format": "mrv-statement/1",
        "commitment": str(commitment),
        "metadata": to_json_value(metadata),
    }
    block = canonical_bytes(statement)
    parse_statement(block)  # what could not be read back must never be anchored
    return block


def parse_statement(block: bytes) -> Statement:
    """Read a statement from its block.

    Raises:
        FormatError: too large, not a statement, or not in canonical form.
    """
    if len(block) > MAX_BLOCK_BYTES:
        raise FormatError(
            f"statement: {len(block)} bytes do not fit into one block of {MAX_BLOCK_BYTES}", hint="shorten the metadata"
        )
    statement = Statement.from_bytes(block, what="statement")
    if statement.to_bytes() != block:
        raise FormatError("statement: not in canonical form")
    return statement


def check_evidence(evidence: dict[str, Any], reference: str, commitment: Digest) -> tuple[Cid, bytes, Statement]:
    """Check a receipt's evidence without any node: its block has that CID and states that commitment.

    Returns:
        The CID, the block's bytes and the statement in them.

    Raises:
        VerificationError: malformed evidence or reference, another CID, or another commitment.
    """
    try:
        cid = Cid.parse(reference)
        block = IpfsEvidence.from_json(evidence, what="evidence").block.encode("utf-8")
        statement = parse_statement(block)
    except FormatError as error:
        raise VerificationError(f"the receipt is malformed: {error.message}") from error
    check_block(cid, block)
    if cid.codec != RAW:
        raise VerificationError(f"the receipt is for {cid}, which is not the CID of a raw block")
    if statement.commitment != commitment:
        raise VerificationError(f"block {cid} states {statement.commitment}, not {commitment}")
    return cid, block, statement


def check_block(cid: Cid, block: bytes) -> None:
    """Check that a block is the one its CID names. Its codec is not looked at: it says how to read the same bytes.

    Raises:
        VerificationError: the bytes have another CID.
    """
    computed = Cid.of(block, cid.codec)
    if computed != cid:
        raise VerificationError(
            f"the bytes stored as block {cid} have the CID {computed}",
            hint="whoever delivered them cannot be trusted with this block: ask another daemon or gateway",
        )
