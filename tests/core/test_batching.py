# SPDX-License-Identifier: MIT
"""Batches against the definition in docs/spec/merkle.md, and every way to read a proof as something else."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrv_core.batching import MAX_MEMBERS, Batch, BatchProof, batch_commitment
from mrv_core.canonical import canonical_bytes, parse_json
from mrv_core.errors import FormatError, RootMismatchError, VerificationError
from mrv_core.hashing import Digest

MEMBERS = [Digest("sha256", sha256(str(i).encode()).digest()) for i in range(40)]


def changed(proof: BatchProof, **fields: Any) -> BatchProof:
    """Return a proof read from a file in which fields were changed."""
    return BatchProof.from_json(proof.to_json() | fields, what="batch proof")


@pytest.mark.parametrize("size", range(1, len(MEMBERS) + 1))
def test_commitment_and_proofs_are_those_of_the_definition(size: int) -> None:
    entries = [member.value for member in MEMBERS[:size]]
    batch = Batch(MEMBERS[:size])
    head = b"mrv1/batch\x00" + size.to_bytes(8, "big")
    assert batch.commitment == Digest("sha256", sha256(head + oracles.mth(entries)).digest())
    for index, member in enumerate(MEMBERS[:size]):
        proof = batch.prove(member)
        assert (proof.index, proof.size, list(proof.path)) == (index, size, oracles.path(index, entries))
        proof.verify(member, batch.commitment)
        assert len(proof.path) <= 32


def test_a_proof_is_a_file_of_canonical_json() -> None:
    proof = Batch(MEMBERS).prove(MEMBERS[7])
    data = proof.to_bytes()
    assert data == canonical_bytes(parse_json(data, what="proof"))
    assert BatchProof.from_bytes(data, what="proof") == proof
    assert sorted(parse_json(data, what="proof")) == ["batch", "format", "index", "member", "path", "size"]


@pytest.mark.parametrize("member", [0, 3, 6])
def test_no_other_index_or_size_verifies(member: int) -> None:
    """A proof of RFC 9162 leads to one root under many sizes; the batch's commitment binds its own (attack A03)."""
    batch = Batch(MEMBERS[:7])
    proof = batch.prove(MEMBERS[member])
    accepted = []
    for index in range(71):
        for size in range(1, 72):
            try:
                changed(proof, index=index, size=size).verify(MEMBERS[member], batch.commitment)
            except VerificationError:
                continue
            accepted.append((index, size))
    assert accepted == [(member, 7)]


def test_a_proof_is_of_its_own_member_and_batch_only() -> None:
    batch, other = Batch(MEMBERS[:8]), Batch(MEMBERS[8:16])
    proof = batch.prove(MEMBERS[2])
    with pytest.raises(RootMismatchError, match="for another member"):
        proof.verify(MEMBERS[3], batch.commitment)
    with pytest.raises(RootMismatchError, match="for another batch"):
        proof.verify(MEMBERS[2], other.commitment)
    for fields, trusted in (
        ({"member": str(MEMBERS[3])}, (MEMBERS[3], batch.commitment)),
        ({"batch": str(other.commitment)}, (MEMBERS[2], other.commitment)),
    ):
        with pytest.raises(RootMismatchError, match="leads to another batch"):
            changed(proof, **fields).verify(*trusted)


def test_the_commitment_of_a_batch_is_no_member_and_no_root() -> None:
    """A batch of one is not its member, so a root and a batch never pass for one another."""
    batch = Batch(MEMBERS[:1])
    assert batch.commitment != MEMBERS[0]
    assert batch.commitment.value != oracles.mth([MEMBERS[0].value])
    proof = batch.prove(MEMBERS[0])
    with pytest.raises(VerificationError):
        changed(proof, batch=str(MEMBERS[0])).verify(MEMBERS[0], MEMBERS[0])


@given(st.data())
def test_no_bit_of_a_path_may_differ(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, len(MEMBERS)))
    batch = Batch(MEMBERS[:size])
    index = data.draw(st.integers(0, size - 1))
    proof = batch.prove(MEMBERS[index])
    place = data.draw(st.integers(0, len(proof.path) - 1))
    path = [node.hex() for node in proof.path]
    flipped = bytearray(proof.path[place])
    flipped[data.draw(st.integers(0, 31))] ^= 1 << data.draw(st.integers(0, 7))
    for wrong in (
        [*path[:place], flipped.hex(), *path[place + 1 :]],
        path[:place] + path[place + 1 :],
        [*path[:place], path[place], *path[place:]],
        [*path, path[place]],
    ):
        with pytest.raises(VerificationError):
            changed(proof, path=wrong).verify(MEMBERS[index], batch.commitment)


@pytest.mark.parametrize("algorithm", ["blake3", "sha3-256", "blake2b-256"])
def test_members_are_sha256_and_say_so(algorithm: str) -> None:
    member = Digest(algorithm, MEMBERS[0].value)
    with pytest.raises(FormatError, match="members of a batch are sha256"):
        Batch([member])
    proof = Batch(MEMBERS[:3]).prove(MEMBERS[0])
    disguised = changed(proof, member=str(member))
    with pytest.raises(VerificationError, match="members of a batch are sha256"):
        disguised.verify(member, proof.batch)


@pytest.mark.parametrize(
    "fields",
    [
        {"index": -1},
        {"index": True},
        {"index": 2**53},
        {"size": 0},
        {"size": MAX_MEMBERS + 1},
        {"size": "3"},
        {"path": ["00" * 31]},
        {"path": ["AA" * 32]},
        {"path": None},
        {"format": "mrv-batch-proof/2"},
        {"member": "sha1:" + "00" * 20},
        {"batch": "SHA256:" + "00" * 32},
        {"tree": "other"},
    ],
)
def test_malformed_proofs_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        changed(Batch(MEMBERS[:3]).prove(MEMBERS[0]), **fields)


def test_a_batch_needs_members_each_once() -> None:
    with pytest.raises(FormatError, match="has 1 to"):
        Batch([])
    with pytest.raises(FormatError, match="twice"):
        Batch.of(MEMBERS[0], MEMBERS[1], MEMBERS[0])
    with pytest.raises(FormatError, match="is not in the batch"):
        Batch.of(MEMBERS[0]).prove(MEMBERS[1])
    assert Batch.of(MEMBERS[0], MEMBERS[1]).commitment != Batch.of(MEMBERS[1], MEMBERS[0]).commitment
    with pytest.raises(VerificationError, match="not 32 bytes"):
        batch_commitment(1, b"short")
