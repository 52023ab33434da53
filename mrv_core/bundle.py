# SPDX-License-Identifier: MIT
"""Bundles: one file that shows a fact of a run to anyone, from the leaf to each network's evidence.

    leaf ──proof──▶ root ──batch──▶ what was anchored ◀── commitment of each receipt ◀── evidence of its network
                     ▲
       run id, phase, data, model, training

docs/spec/bundle.md is the byte-exact format. `mrv_core.bundle_verification` checks a bundle as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import PlainSerializer

from mrv_core.batching import BatchProof
from mrv_core.canonical import canonical_bytes, canonical_digest, parse_json
from mrv_core.errors import ConfigurationError, FormatError, RootMismatchError, RunStateError, VerificationError
from mrv_core.hashing import Digest
from mrv_core.journal import Journal
from mrv_core.models import DigestField, Model, Receipt, ReceiptState
from mrv_core.proofs import HashField, InclusionProofFile
from mrv_core.provenance_tree import SHAPE, MLProvenanceMerkleTree, run_root
from mrv_core.run_folder import Anchor, RunFolder

BUNDLE_FORMAT: Final = "mrv-bundle/1"
MAX_BUNDLE_BYTES: Final = 4 * 1024 * 1024
"""Largest bundle, written or read: a leaf's proof and the evidence of ten networks have less than one MiB."""
_SEAL_ALGORITHM: Final = "sha256"
_STATES: Final = tuple(ReceiptState)

_ProofField = Annotated[InclusionProofFile, PlainSerializer(InclusionProofFile.to_json, return_type=dict[str, Any])]


class Branches(Model):
    """Node hashes of the three branches below a run's root."""

    data: HashField
    model: HashField
    training: HashField


class Bundle(Model):
    """`mrv-bundle/1`: a run's root, what it was anchored as, and the receipts; perhaps a leaf under the root.

    Attributes:
        format: Version of this format.
        run_id, phase: What the root binds.
        root: Root of the run.
        branches: What the root is made of, besides run id and phase.
        proof: Shows that one node is under the root, or None.
        batch: Shows that the root is in the batch that was anchored; None where the root itself was.
        receipts: Configured network → receipt. The names are labels.
        seal: SHA-256 of the canonical bytes of everything else. It tells a damaged file from a whole one and
            authenticates nothing.
    """

    format: Literal["mrv-bundle/1"]
    run_id: str
    phase: str
    root: DigestField
    branches: Branches
    proof: _ProofField | None
    batch: BatchProof | None
    receipts: dict[str, Receipt]
    seal: DigestField

    @classmethod
    def make(
        cls,
        *,
        run_id: str,
        phase: str,
        root: Digest,
        branches: Branches,
        receipts: Mapping[str, Receipt],
        proof: InclusionProofFile | None = None,
        batch: BatchProof | None = None,
    ) -> Self:
        """Put a bundle together and seal it; nothing is checked."""
        value = {
            "format": BUNDLE_FORMAT,
            "run_id": run_id,
            "phase": phase,
            "root": str(root),
            "branches": branches.to_json(),
            "proof": None if proof is None else proof.to_json(),
            "batch": None if batch is None else batch.to_json(),
            "receipts": {name: receipt.to_json() for name, receipt in receipts.items()},
        }
        return cls.from_json({**value, "seal": str(seal_of(value))}, what="bundle")

    @classmethod
    def from_bytes(cls, data: bytes, *, what: str) -> Self:
        """Read a bundle, which must be exactly the bytes that `to_bytes` writes.

        Raises:
            ConfigurationError: strict JSON, and not a bundle of this version: another file was named.
            FormatError: anything else than those bytes.
        """
        value = parse_json(data, what=what, max_bytes=MAX_BUNDLE_BYTES)
        if not isinstance(value, dict) or value.get("format") != BUNDLE_FORMAT:
            raise ConfigurationError(
                f"{what} is not a bundle: its format is not {BUNDLE_FORMAT}",
                hint="name a run folder or a file of 'mrv export --bundle'; a newer format needs a newer version",
            )
        if canonical_bytes(value) != data:
            raise FormatError(f"{what}: not in canonical form (RFC 8785): it was written again by something else")
        bundle = cls.from_json(value, what=what)
        if bundle.seal != seal_of(value):
            raise FormatError(f"{what}: changed after it was written: its seal does not fit")
        return bundle

    @property
    def anchored(self) -> Digest:
        """What the receipts must commit to: the batch, or the root itself."""
        return self.root if self.batch is None else self.batch.batch

    def check_root(self) -> None:
        """Check that the root is that of run id, phase and branches.

        Raises:
            VerificationError: run id or phase is malformed.
            RootMismatchError: it is another one.
        """
        top = [getattr(self.branches, name) for name in SHAPE[""]]
        try:
            computed = run_root(self.run_id, self.phase, top)
        except FormatError as error:
            raise VerificationError(error.message) from error
        if computed != self.root:
            raise RootMismatchError(
                f"run id {self.run_id}, phase {self.phase} and the branches make another root",
                expected=str(self.root),
                computed=str(computed),
            )

    def check_proof(self) -> None:
        """Check that the proof, where there is one, leads to the root and names the same run and phase.

        Raises:
            VerificationError: it does not.
        """
        if self.proof is None:
            return
        self.proof.verify(self.root)
        if (self.proof.run_id, self.proof.phase) != (self.run_id, self.phase):
            raise VerificationError("the proof is of another run or phase than the bundle")

    def check_batch(self) -> None:
        """Check that the root, where it was anchored in a batch, is a member of that batch.

        Raises:
            VerificationError: it is not.
        """
        if self.batch is not None:
            self.batch.verify(self.root, self.anchored)

    def check_receipt(self, network: str) -> None:
        """Check that a receipt stands under its own network's name and commits to what was anchored.

        Raises:
            VerificationError: it does not.
        """
        receipt = self.receipts[network]
        if receipt.network != network:
            raise VerificationError(f"the receipt under {network[:80]!r} is of network {receipt.network[:80]!r}")
        if receipt.commitment != self.anchored:
            raise RootMismatchError(
                f"the receipt of {network[:80]} is for another commitment",
                expected=str(self.anchored),
                computed=str(receipt.commitment),
            )


def seal_of(value: Mapping[str, Any]) -> Digest:
    """Return the seal of a bundle's JSON value, whether that has one already or not."""
    return canonical_digest({key: item for key, item in value.items() if key != "seal"}, _SEAL_ALGORITHM)


def export_bundle(run_folder: Path, *, leaf: str | None = None, anchor: str | None = None) -> Bundle:
    """Make the bundle of an anchored root, of which nothing may have been changed.

    Receipts come from the run folder, or from the journal beside it where that has come further.

    Args:
        run_folder: Folder of the run.
        leaf: Path name of a node to prove under the root.
        anchor: Name of the anchor, as `001-after_training`; by default the newest one that covers the leaf.

    Raises:
        RunStateError: no anchored root covers the leaf, or no network has taken the root yet.
        FormatError: no such node, or no such anchor.
        VerificationError: something in the run folder is not as it was written.
        StorageError: something cannot be read.
    """
    tree, anchors = _read_whole(run_folder)
    chosen = _choose(tree, anchors, leaf, anchor, run_folder)
    receipts = _newest_receipts(run_folder, chosen)
    if not receipts:
        what = "run 'mrv batch'" if chosen.awaits_batch else "run 'mrv flush'"
        raise RunStateError(f"no network has taken {chosen.name} yet", hint=f"{what}, then export again")
    file = chosen.file
    bundle = Bundle.make(
        run_id=file.run_id,
        phase=file.phase,
        root=file.root,
        branches=Branches(**{name: tree.node(name, file.state).hash for name in SHAPE[""]}),
        receipts=receipts,
        proof=_prove(tree, chosen, leaf),
        batch=chosen.batch,
    )
    _require_sound(bundle)
    return bundle


def _read_whole(run_folder: Path) -> tuple[MLProvenanceMerkleTree, list[Anchor]]:
    folder, hint = RunFolder.open(run_folder), f"see 'mrv verify {run_folder}'"
    try:
        tree, damaged = folder.read_tree(folder.run().run_id)
        anchors = [folder.read_anchor(name) for name in folder.anchor_names()]
    except FormatError as error:
        raise VerificationError(error.message, hint=hint) from error
    if damaged:
        raise VerificationError(f"{damaged[0].place}: {damaged[0].message}", hint=hint)
    return tree, anchors


def _choose(
    tree: MLProvenanceMerkleTree, anchors: Iterable[Anchor], leaf: str | None, name: str | None, run_folder: Path
) -> Anchor:
    """Return the newest anchor, of that name where one is given, that covers the leaf where one is given."""
    named = [item for item in anchors if name in (None, item.name)]
    if name is not None and not named:
        raise FormatError(f"the run has no anchor {name[:80]!r}", hint=f"see 'mrv status {run_folder}'")
    if leaf is not None:
        tree.node(leaf)
    for item in reversed(named):
        if leaf is None or _covers(tree, item, leaf):
            return item
    what = "anchored root" if leaf is None else f"anchored root that covers {leaf}"
    raise RunStateError(f"there is no {what}", hint=f"see 'mrv status {run_folder}'")


def _covers(tree: MLProvenanceMerkleTree, anchor: Anchor, leaf: str) -> bool:
    try:
        tree.node(leaf, anchor.file.state)
    except FormatError:  # this root is older than the node
        return False
    return True


def _prove(tree: MLProvenanceMerkleTree, anchor: Anchor, leaf: str | None) -> InclusionProofFile | None:
    if leaf is None:
        return None
    state = anchor.file.state
    return InclusionProofFile.from_proof(tree.prove(leaf, state), anchor.file.root, tree.node(leaf, state))


def _newest_receipts(run_folder: Path, anchor: Anchor) -> dict[str, Receipt]:
    receipts = dict(anchor.file.receipts)
    for row in Journal(run_folder.parent).rows(commitment=anchor.commitment):
        if row.receipt is not None and _is_as_far(row.receipt, receipts.get(row.network)):
            receipts[row.network] = row.receipt
    return receipts


def _is_as_far(receipt: Receipt, other: Receipt | None) -> bool:
    return other is None or _STATES.index(receipt.state) >= _STATES.index(other.state)


def _require_sound(bundle: Bundle) -> None:
    """Refuse to write down what nobody could verify."""
    bundle.check_root()
    bundle.check_proof()
    bundle.check_batch()
    for network in bundle.receipts:
        bundle.check_receipt(network)
    size = len(bundle.to_bytes())
    if size > MAX_BUNDLE_BYTES:
        raise FormatError(
            f"the bundle would have {size} bytes, more than the {MAX_BUNDLE_BYTES} that are read back",
            hint="export it without --leaf, and the leaf by itself with 'mrv prove'",
        )
