# SPDX-License-Identifier: MIT
"""The way from a file to an anchored commitment, as operations of OpenTimestamps (docs/opentimestamps.md).

Every tree of this project is SHA-256 over prefixes, labels, sizes and children, so each way through it is a row of
`prepend`, `append` and `sha256`. A proof starts at a *file*: the content itself, where its digest is the SHA-256 of
its plain bytes; otherwise a small file with exactly the bytes that were hashed into the node or into the root.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal

from mrv_backends_btc.ots_codec import SHA256, Operation
from mrv_core.errors import FormatError, VerificationError
from mrv_core.hashing import DIGEST_SIZE, Digest, length_prefixed
from mrv_core.merkle import leaf_hash, root_from_inclusion
from mrv_core.provenance_tree import NodeProof, unescape_label, verify_node_proof

PLAIN_KINDS: Final = frozenset({"bytes", "file", "json"})
"""Kinds of leaves whose digest is that of plain bytes (docs/spec/digests.md); of JSON, the canonical ones."""

Part = Literal["content", "node", "root"]


@dataclass(frozen=True, slots=True)
class Way:
    """From a file to a commitment.

    Attributes:
        digest: SHA-256 digest of the file.
        operations: From there to the 32 bytes of the commitment.
        file: The file's bytes, where it is not the user's own content.
    """

    digest: bytes
    operations: tuple[Operation, ...]
    file: bytes | None


def way_from(proof: NodeProof, root: Digest, part: Part) -> Way:
    """Return the way from a part of a run to the run's root.

    Args:
        proof: Inclusion proof of a node under `root`; it is verified.
        root: The root of the run.
        part: `content`: the file of the user whose digest the leaf has. `node`: the bytes that were hashed into the
            node, in which the digest stands. `root`: the bytes that were hashed into the root.

    Raises:
        FormatError: `content` of a node that is no leaf, or whose digest is not the SHA-256 digest of plain bytes.
        VerificationError: the proof does not lead to the root.
    """
    verify_node_proof(proof, root)
    if part == "root":
        file = _root_preimage(proof)
        return Way(sha256(file).digest(), (), file)
    preimage = _node_preimage(proof)
    upwards = _to_root(proof)
    if part == "node":
        return Way(sha256(preimage).digest(), upwards, preimage)
    digest = _content_digest(proof)
    return Way(digest, (Operation("prepend", preimage[:-DIGEST_SIZE]), SHA256, *upwards), None)


def batch_operations(entry: bytes, index: int, size: int, path: Sequence[bytes]) -> tuple[Operation, ...]:
    """Return the way from an entry of a batch to the batch's commitment.

    The commitment is SHA-256 of "mrv1/batch" 0x00, the size as 8 bytes, big-endian, and the RFC 9162 root.

    Args:
        entry: The member's commitment, 32 bytes.
        index: Zero-based leaf index.
        size: Number of entries.
        path: Audit path, the leaf's sibling first.

    Raises:
        VerificationError: index or path do not suit the size.
    """
    return (*_log_operations(entry, index, size, path), Operation("prepend", _batch_head(size)), SHA256)


def _batch_head(size: int) -> bytes:
    return b"mrv1/batch\x00" + size.to_bytes(8, "big")


def apply_all(message: bytes, operations: Sequence[Operation]) -> bytes:
    """Return what operations make of a message."""
    for operation in operations:
        message = operation.apply(message)
    return message


def _log_operations(entry: bytes, index: int, size: int, path: Sequence[bytes]) -> list[Operation]:
    """Return the way from an entry to the root of an RFC 9162 tree (section 2.1.3.2)."""
    root_from_inclusion(leaf_hash(entry), index, size, path)  # refuses what does not fit together
    operations = [Operation("prepend", b"\x00"), SHA256]
    last = size - 1
    for sibling in path:
        if index & 1 or index == last:
            operations.append(Operation("prepend", b"\x01" + sibling))
            while not index & 1:  # levels on which the right edge has no sibling
                index, last = index >> 1, last >> 1
        else:
            operations += [Operation("append", sibling), Operation("prepend", b"\x01")]
        operations.append(SHA256)
        index, last = index >> 1, last >> 1
    return operations


def _to_root(proof: NodeProof) -> tuple[Operation, ...]:
    current, operations = proof.node_hash, list[Operation]()
    for number, step in enumerate(proof.steps, start=1):
        is_last = number == len(proof.steps)
        head = _run_head(proof) if is_last else _branch_head(step.label, step.size)
        upwards = [*_log_operations(current, step.index, step.size, step.path), Operation("prepend", head), SHA256]
        current = apply_all(current, upwards)
        operations += upwards
    return tuple(operations)


def _root_preimage(proof: NodeProof) -> bytes:
    current = proof.node_hash
    for number, step in enumerate(proof.steps, start=1):
        inner = root_from_inclusion(leaf_hash(current), step.index, step.size, step.path)
        if number == len(proof.steps):
            return _run_head(proof) + inner
        current = sha256(_branch_head(step.label, step.size) + inner).digest()
    raise VerificationError("the proof has no steps")


def _node_preimage(proof: NodeProof) -> bytes:
    """Return the bytes that were hashed into the proven node (docs/spec/merkle.md, Nodes)."""
    label = unescape_label(proof.path.rpartition("/")[2])
    if proof.digest is not None:
        head = _lp(label) + _lp(proof.kind) + _lp(proof.digest.algorithm)
        return b"mrv1/leaf\x00" + head + proof.digest.value
    if proof.size is not None and proof.children_root is not None:
        return _branch_head(label, proof.size) + proof.children_root
    return b"mrv1/absent\x00" + _lp(label)


def _content_digest(proof: NodeProof) -> bytes:
    what = f"{proof.path[:200]!r}"
    if proof.digest is None:
        raise FormatError(f"{what} is no leaf, so no file has its digest", hint="export the node itself instead")
    if proof.kind not in PLAIN_KINDS or proof.digest.algorithm != "sha256":
        raise FormatError(
            f"{what} is known by a {proof.digest.algorithm} digest of kind {proof.kind!r}; OpenTimestamps starts at "
            "the SHA-256 digest of a file's plain bytes",
            hint="export the node itself instead, or track with hash_algorithm sha256",
        )
    return proof.digest.value


def _branch_head(label: str, size: int) -> bytes:
    return b"mrv1/branch\x00" + _lp(label) + size.to_bytes(8, "big")


def _run_head(proof: NodeProof) -> bytes:
    return b"mrv1/run\x00" + _lp(proof.run_id) + _lp(proof.phase) + proof.steps[-1].size.to_bytes(8, "big")


def _lp(text: str) -> bytes:
    return length_prefixed(text.encode())
