# SPDX-License-Identifier: MIT
"""Proof files: an inclusion or a consistency proof as one JSON document (docs/spec/merkle.md).

A file repeats the root that it belongs to, so that people can tell files apart. That is a claim: `verify` takes the
root from whoever trusts it, for instance out of an anchor that was checked.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer

from mrv_core.canonical import MAX_SAFE_INTEGER, canonical_digest
from mrv_core.errors import RootMismatchError, VerificationError
from mrv_core.hashing import Digest
from mrv_core.models import DigestField, Json, Model
from mrv_core.provenance_tree import (
    JSON_KIND,
    ConsistencyProof,
    MerkleNode,
    NodeProof,
    ProofStep,
    verify_consistency_proof,
    verify_node_proof,
)


def _parse_hash(value: object) -> object:
    if not isinstance(value, str):
        return value
    return Digest.parse(f"sha256:{value}").value


HashField = Annotated[bytes, BeforeValidator(_parse_hash), PlainSerializer(bytes.hex, return_type=str)]
"""A SHA-256 hash of a tree, written as 64 lower-case hexadecimal digits."""
CountField = Annotated[int, Field(ge=0, le=MAX_SAFE_INTEGER)]


class ProofStepFile(Model):
    """One branch on the way to the root; see `mrv_core.provenance_tree.ProofStep`."""

    label: str
    index: CountField
    size: CountField
    path: tuple[HashField, ...]


class InclusionProofFile(Model):
    """`mrv-proof/1`: shows that one node is in the run with a given root, without showing any other node.

    Attributes:
        format: Version of this format.
        run_id: The run; bound by the root.
        phase: When the root was taken; bound by the root.
        root: The root that the proof was made for.
        path: Path name of the node.
        kind: `branch`, `absent`, or the kind of content of a leaf.
        digest: Content digest; of a leaf only.
        value: The JSON value of a `json` leaf, where it shall be shown; left out otherwise.
        size: Number of children; of a branch only.
        children_root: RFC 9162 root over the children's hashes; of a branch only.
        steps: The branches from the node's parent up to the root, which comes last.
    """

    format: Literal["mrv-proof/1"]
    run_id: str
    phase: str
    root: DigestField
    path: str
    kind: str
    digest: DigestField | None = None
    value: Json = None
    size: CountField | None = None
    children_root: HashField | None = None
    steps: tuple[ProofStepFile, ...]

    @classmethod
    def from_proof(cls, proof: NodeProof, root: Digest, node: MerkleNode | None = None) -> Self:
        """Write a proof down.

        Args:
            proof: From `MLProvenanceMerkleTree.prove`.
            root: The root that it leads to.
            node: The proven node, where the value of a `json` leaf shall be shown.
        """
        own: dict[str, Any] = {"digest": proof.digest, "size": proof.size, "children_root": proof.children_root}
        given = {name: content for name, content in own.items() if content is not None}
        if node is not None and node.kind == JSON_KIND:
            given["value"] = node.value
        return cls(
            format="mrv-proof/1",
            run_id=proof.run_id,
            phase=proof.phase,
            root=root,
            path=proof.path,
            kind=proof.kind,
            steps=tuple(ProofStepFile(**_attributes(step)) for step in proof.steps),
            **given,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON value; what does not suit the node's kind is left out, not null."""
        return self.model_dump(mode="json", exclude_unset=True)

    def to_proof(self) -> NodeProof:
        """Return the proof without the value and without the claimed root."""
        steps = tuple(ProofStep(step.label, step.index, step.size, step.path) for step in self.steps)
        return NodeProof(
            run_id=self.run_id,
            phase=self.phase,
            path=self.path,
            kind=self.kind,
            digest=self.digest,
            size=self.size,
            children_root=self.children_root,
            steps=steps,
        )

    def verify(self, root: Digest) -> None:
        """Check the proof, and the value where one is shown, against a root that the caller trusts.

        Raises:
            VerificationError: malformed proof, or a value without its digest.
            RootMismatchError: the proof or its claimed root is another one, or the value has another digest.
        """
        _expect_root(self.root, root)
        verify_node_proof(self.to_proof(), root)
        if "value" not in self.model_fields_set:
            return
        if self.kind != JSON_KIND or self.digest is None:
            raise VerificationError(f"the proof of {self.path[:200]!r} shows a value, but the node is not a json leaf")
        computed = canonical_digest(self.value, self.digest.algorithm)
        if computed != self.digest:
            raise RootMismatchError(
                f"the value shown for {self.path[:200]!r} is not the one in the tree",
                expected=str(self.digest),
                computed=str(computed),
            )


class ConsistencyProofFile(Model):
    """`mrv-consistency/1`: shows that a later root of a run extends an earlier one.

    The fields are those of `mrv_core.provenance_tree.ConsistencyProof`, and both roots that the proof was made for.
    """

    format: Literal["mrv-consistency/1"]
    run_id: str
    older_root: DigestField
    newer_root: DigestField
    older_phase: str
    newer_phase: str
    older_epochs: CountField
    newer_epochs: CountField
    older_epochs_root: HashField
    newer_epochs_root: HashField
    data: HashField
    model: HashField
    config: HashField
    environment: HashField
    older_results: HashField
    newer_results: HashField
    path: tuple[HashField, ...]

    @classmethod
    def from_proof(cls, proof: ConsistencyProof, older: Digest, newer: Digest) -> Self:
        """Write down a proof from `MLProvenanceMerkleTree.prove_consistency` and the two roots it leads to."""
        return cls(format="mrv-consistency/1", older_root=older, newer_root=newer, **_attributes(proof))

    def to_proof(self) -> ConsistencyProof:
        """Return the proof without the claimed roots."""
        return ConsistencyProof(**{field.name: getattr(self, field.name) for field in fields(ConsistencyProof)})

    def verify(self, older: Digest, newer: Digest) -> None:
        """Check the proof against two roots that the caller trusts.

        Raises:
            VerificationError: malformed proof, or results that were replaced.
            RootMismatchError: the proof or a claimed root is another one.
        """
        _expect_root(self.older_root, older)
        _expect_root(self.newer_root, newer)
        verify_consistency_proof(self.to_proof(), older, newer)


def _attributes(proof: ProofStep | ConsistencyProof) -> dict[str, Any]:
    return {field.name: getattr(proof, field.name) for field in fields(proof)}


def _expect_root(claimed: Digest, root: Digest) -> None:
    if claimed != root:
        raise RootMismatchError("the proof was made for another root", expected=str(root), computed=str(claimed))
