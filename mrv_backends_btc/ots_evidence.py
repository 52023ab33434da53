# SPDX-License-Identifier: MIT
"""Evidence of a receipt that was made of somebody's OpenTimestamps proof (docs/opentimestamps.md)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from mrv_backends_btc.bytereader import displayed
from mrv_backends_btc.chains import Chain
from mrv_backends_btc.evidence import HashText, HeaderText
from mrv_backends_btc.header import Header, parse_header
from mrv_backends_btc.ots_codec import MAX_FILE_BYTES, OtsFile, read_ots
from mrv_core.errors import FormatError, VerificationError
from mrv_core.hashing import DIGEST_SIZE, Digest
from mrv_core.models import Model

FORMAT: Final = "mrv-evidence-ots/1"
REFERENCE_PREFIX: Final = "ots:"


class OtsEvidence(Model):
    """`mrv-evidence-ots/1`.

    Attributes:
        format: Version of this format.
        ots: The whole proof, hexadecimal.
        height, block_hash, header: The block that a node has shown for one of the proof's attestations; null before.
    """

    format: Literal["mrv-evidence-ots/1"]
    ots: Annotated[str, Field(pattern=r"^([0-9a-f]{2})+$", max_length=2 * MAX_FILE_BYTES)]
    height: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    block_hash: HashText | None = None
    header: HeaderText | None = None


@dataclass(frozen=True, slots=True)
class BlockClaim:
    """What an attestation says: that the block at a height has a Merkle root.

    Attributes:
        height: Zero-based height.
        root: The Merkle root, internal byte order.
        weak: Names of the weak hashes on the way to it: with them the proof may be of two files.
    """

    height: int
    root: bytes
    weak: tuple[str, ...] = ()

    @property
    def root_hex(self) -> str:
        """The root as explorers show it."""
        return displayed(self.root)


@dataclass(frozen=True, slots=True)
class CheckedOts:
    """What a proof shows by itself.

    Attributes:
        claims: Blocks of Bitcoin that it leads to: those that rest on no weak hash first, and the lowest first.
        calendars: Addresses of the calendars that know more than the proof, sorted.
        unknown: Number of attestations that are not understood here.
        header: Header of one of the blocks, where a node has been asked.
        shown: The claim that it is the header of.
    """

    claims: tuple[BlockClaim, ...]
    calendars: tuple[str, ...]
    unknown: int
    header: Header | None = None
    shown: BlockClaim | None = None


def reference_of(data: bytes) -> str:
    """Return the reference of a proof: `ots:` and the SHA-256 digest of its bytes."""
    return REFERENCE_PREFIX + sha256(data).hexdigest()


def read_proof(data: bytes) -> tuple[Digest, CheckedOts]:
    """Read a proof and return what it is about and what it attests.

    Raises:
        FormatError: malformed, about a file known by another hash than SHA-256, or attesting nothing that counts.
    """
    proof = read_ots(data)
    if proof.algorithm != "sha256":
        raise FormatError(
            f"the OpenTimestamps proof knows its file by {proof.algorithm}, where only SHA-256 is accepted",
            hint="two files can be made that have one SHA-1 digest; stamp the file again with SHA-256",
        )
    checked = _attested(proof)
    if not checked.claims and not checked.calendars:
        raise FormatError(
            f"the OpenTimestamps proof attests nothing that can be checked here: {checked.unknown} attestations of "
            "unknown kinds",
            hint="a proof needs an attestation of Bitcoin, or of a calendar that will have one",
        )
    return Digest("sha256", proof.digest), checked


def _attested(proof: OtsFile) -> CheckedOts:
    claims = {
        BlockClaim(each.height or 0, each.message, each.weak)
        for each in proof.attestations
        if each.kind == "bitcoin" and each.message is not None
    }
    if any(len(claim.root) != DIGEST_SIZE for claim in claims):
        raise FormatError("OpenTimestamps proof: what it takes for the Merkle root of a block does not have 32 bytes")
    understood = [each for each in proof.attestations if each.kind == "pending" or each.height is not None]
    return CheckedOts(
        claims=tuple(sorted(claims, key=lambda claim: (claim.weak != (), claim.height, claim.root))),
        calendars=tuple(sorted({each.uri for each in proof.attestations if each.uri is not None})),
        unknown=len(proof.attestations) - len([each for each in understood if each.message is not None]),
    )


def check_ots_evidence(evidence: dict[str, Any], reference: str, commitment: Digest, chain: Chain | None) -> CheckedOts:
    """Check evidence without asking anyone: it is about the commitment, and its header, if any, is of a claimed block.

    Raises:
        VerificationError: anything malformed or wrong.
    """
    try:
        parsed = OtsEvidence.from_json(evidence, what="evidence")
        data = bytes.fromhex(parsed.ots)
        digest, checked = read_proof(data)
    except FormatError as error:
        raise VerificationError(f"malformed evidence: {error.message}") from error
    if reference != reference_of(data):
        raise VerificationError(f"the evidence holds the proof {reference_of(data)}, not {reference[:80]!r}")
    if digest != commitment:
        raise VerificationError(f"the OpenTimestamps proof is about {digest}, not {commitment}")
    if parsed.header is None or parsed.height is None:
        if (parsed.header, parsed.height, parsed.block_hash) != (None, None, None):
            raise VerificationError("malformed evidence: height, block_hash and header belong together")
        return checked
    header = parse_header(bytes.fromhex(parsed.header))
    if header.hash_hex != parsed.block_hash:
        raise VerificationError(f"the header of the evidence has the hash {header.hash_hex}, not {parsed.block_hash}")
    shown = [claim for claim in checked.claims if (claim.height, claim.root) == (parsed.height, header.merkle_root)]
    if not shown:
        raise VerificationError(f"the proof does not lead to the block header at height {parsed.height}")
    header.check_work(easiest_bits=None if chain is None else chain.easiest_bits)
    return replace(checked, header=header, shown=shown[0])
