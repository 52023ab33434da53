# SPDX-License-Identifier: MIT
"""Batches: many commitments share one anchor, and each keeps a proof of its own (docs/spec/merkle.md).

A batch is the RFC 9162 log tree over the 32-byte commitments of its members, in their order. What is anchored is

    H("mrv1/batch" || 0x00 || u64(size) || root)

SHA-256 throughout, because the EVM and OpenTimestamps can recompute it. The size is bound because an inclusion proof
alone does not bind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Annotated, Final, Literal, Self

from pydantic import Field

from mrv_core.canonical import MAX_SAFE_INTEGER, JsonValue
from mrv_core.errors import FormatError, RootMismatchError, VerificationError
from mrv_core.hashing import Digest
from mrv_core.merkle import LogTree, check_hashes, leaf_hash, root_from_inclusion
from mrv_core.models import DigestField, Model
from mrv_core.proofs import HashField

BATCH_TAG: Final = b"mrv1/batch\x00"
MAX_MEMBERS: Final = 2**32
"""Most members of one batch; a proof then has 32 hashes."""
_TREE_ALGORITHM: Final = "sha256"


def batch_commitment(size: int, root: bytes) -> Digest:
    """Return what is anchored for a batch.

    Args:
        size: Number of members, at least 1.
        root: RFC 9162 root over their commitments, 32 bytes.
    """
    check_hashes([root])
    return Digest(_TREE_ALGORITHM, sha256(BATCH_TAG + size.to_bytes(8, "big") + root).digest())


def batch_metadata(size: int) -> dict[str, JsonValue]:
    """Return the public facts that are sent along with the commitment of a batch."""
    return {"format": "mrv-batch/1", "size": size}


class BatchProof(Model):
    """`mrv-batch-proof/1`: shows that one commitment is a member of the batch with a given commitment.

    Attributes:
        format: Version of this format.
        member: The member's commitment, which is SHA-256.
        index: Zero-based position in the batch.
        size: Number of members.
        path: RFC 9162 inclusion path, the leaf's sibling first, 32 bytes each.
        batch: What was anchored for the batch: a claim, to tell files apart.
    """

    format: Literal["mrv-batch-proof/1"] = "mrv-batch-proof/1"
    member: DigestField
    index: Annotated[int, Field(ge=0, le=MAX_SAFE_INTEGER)]
    size: Annotated[int, Field(ge=1, le=MAX_MEMBERS)]
    path: tuple[HashField, ...]
    batch: DigestField

    def verify(self, member: Digest, batch: Digest) -> None:
        """Check the proof between two commitments that the caller trusts.

        Raises:
            VerificationError: malformed proof, or a member that is not SHA-256.
            RootMismatchError: the proof is about another member, or leads to another batch.
        """
        for what, claimed, trusted in (("member", self.member, member), ("batch", self.batch, batch)):
            if claimed != trusted:
                raise RootMismatchError(
                    f"the batch proof is for another {what}", expected=str(trusted), computed=str(claimed)
                )
        if member.algorithm != _TREE_ALGORITHM:
            raise VerificationError(f"members of a batch are {_TREE_ALGORITHM} commitments, not {member.algorithm}")
        root = root_from_inclusion(leaf_hash(member.value), self.index, self.size, self.path)
        computed = batch_commitment(self.size, root)
        if computed != batch:
            raise RootMismatchError(
                "the batch proof leads to another batch", expected=str(batch), computed=str(computed)
            )


class Batch:
    """A batch of commitments; the members keep the order in which they are given.

    Args:
        members: SHA-256 commitments, each once.

    Raises:
        FormatError: no member, one twice, or one that is not SHA-256.
    """

    def __init__(self, members: Sequence[Digest]) -> None:
        self.members = tuple(members)
        if not 1 <= len(self.members) <= MAX_MEMBERS:
            raise FormatError(f"a batch has 1 to {MAX_MEMBERS} members, not {len(self.members)}")
        for member in self.members:
            if member.algorithm != _TREE_ALGORITHM:
                raise FormatError(f"members of a batch are {_TREE_ALGORITHM} commitments, not {member.algorithm}")
        self._indices = {member: index for index, member in enumerate(self.members)}
        if len(self._indices) != len(self.members):
            raise FormatError("a commitment is in the batch twice")
        self._tree = LogTree(member.value for member in self.members)

    @classmethod
    def of(cls, *members: Digest) -> Self:
        """Return the batch of these members."""
        return cls(members)

    @property
    def commitment(self) -> Digest:
        """What is anchored."""
        return batch_commitment(len(self.members), self._tree.root())

    def prove(self, member: Digest) -> BatchProof:
        """Return the proof of a member.

        Raises:
            FormatError: it is not in the batch.
        """
        index = self._indices.get(member)
        if index is None:
            raise FormatError(f"{member} is not in the batch")
        return BatchProof(
            member=member,
            index=index,
            size=len(self.members),
            path=tuple(self._tree.inclusion_proof(index)),
            batch=self.commitment,
        )
