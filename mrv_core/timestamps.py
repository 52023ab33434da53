# SPDX-License-Identifier: MIT
"""OpenTimestamps proofs of a run: written from its anchors, and read as receipts of it (docs/opentimestamps.md).

A proof is about a file. For a leaf whose digest is the SHA-256 of plain bytes that is the content itself; for anything
else it is a small file with exactly the bytes that were hashed into the node, or into the root.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from mrv_core.bundle import Bundle, export_bundle
from mrv_core.canonical import canonical_bytes
from mrv_core.errors import ConfigurationError, FormatError, MrvError, RunStateError
from mrv_core.hashing import Digest
from mrv_core.manager import BlockchainManager
from mrv_core.models import Receipt
from mrv_core.provenance_tree import JSON_KIND, NodeProof, unescape_label
from mrv_core.run_folder import Anchor, RunFolder

_ANY_NODE = "data"
"""A node that every run has: its proof leads to the root, which is all that a proof of the root needs."""


class ExportedProof(Protocol):
    """A proof and the file that it is about."""

    @property
    def ots(self) -> bytes:
        """Content of the `.ots` file."""

    @property
    def file(self) -> bytes | None:
        """Content of the file that it is about; None where that is the user's own."""


@runtime_checkable
class TimestampingDriver(Protocol):
    """A driver whose anchors can be written as OpenTimestamps proofs, and that reads such proofs as receipts."""

    def export_ots(
        self,
        receipt: Receipt,
        *,
        commitment: Digest | None = None,
        proof: NodeProof | None = None,
        part: Literal["content", "node", "root"] = "root",
        batch: tuple[int, int, Sequence[bytes]] | None = None,
    ) -> ExportedProof:
        """Return the proof of an anchor; nobody is asked.

        Args:
            receipt: Receipt of the anchor, with evidence.
            commitment: The root under it, which the anchored batch may have as a member.
            proof: Inclusion proof of a node under the root.
            part: What the proof is about: the node's content, the bytes of the node, or those of the root.
            batch: Zero-based index of the root in the batch, the batch's size, and its audit path.

        Raises:
            FormatError: no evidence yet, or something that the format cannot express.
        """

    def import_ots(self, data: bytes, commitment: Digest | None = None) -> Receipt:
        """Make a pending receipt of a proof; `upgrade` then asks the network for its block.

        Raises:
            FormatError: malformed, or attesting nothing that counts.
            VerificationError: it is about something else than `commitment`.
        """


@dataclass(frozen=True, slots=True)
class Timestamp:
    """An OpenTimestamps proof to write down.

    Attributes:
        name: Name of the file that the proof is about; the proof's own name has `.ots` behind it.
        ots: The proof.
        file: The file, where it is not the user's own content.
        about: What it is about, for people.
    """

    name: str
    ots: bytes
    file: bytes | None
    about: str


def export_timestamp(
    run_folder: Path,
    manager: BlockchainManager,
    *,
    leaf: str | None = None,
    anchor: str | None = None,
    network: str | None = None,
) -> Timestamp:
    """Write an anchor of a run, or a leaf under it, as an OpenTimestamps proof.

    Args:
        run_folder: Folder of the run.
        manager: Has the network; nobody is asked.
        leaf: Path name of a node; None for the root.
        anchor: Name of the anchor; by default the newest that covers the leaf.
        network: Name of the network; by default the first that can be exported so.

    Raises:
        ConfigurationError: no such network in the configuration.
        RunStateError: the root is not anchored there.
        FormatError: no evidence yet, no such node, or something that OpenTimestamps cannot express.
        VerificationError: something in the run folder is not as it was written.
    """
    bundle = export_bundle(run_folder, leaf=_ANY_NODE if leaf is None else leaf, anchor=anchor)
    name, driver = _driver_of(bundle, manager, network)
    if leaf is None:
        exported = _export(driver, bundle, name, "root")
        about = f"the root of {bundle.run_id}, {bundle.phase}"
        return Timestamp(f"{bundle.run_id}.{bundle.phase}.root", exported.ots, exported.file, about)
    return _export_leaf(driver, bundle, name, leaf)


def import_timestamp(data: bytes, manager: BlockchainManager, *, network: str | None = None) -> Receipt:
    """Read an OpenTimestamps proof as a receipt, and ask the network for its block.

    Raises:
        ConfigurationError: no such network in the configuration.
        FormatError: malformed, or attesting nothing that counts.
        VerificationError: the network's block is another one.
        BackendError: the network cannot be asked.
    """
    names = manager.config.networks if network is None else manager.config.require_networks([network])
    name, driver = _first_timestamping(names, manager)
    receipt = driver.import_ots(data)
    upgraded = manager.parallel([name], lambda one: manager.driver(one).upgrade(receipt))[name]
    if isinstance(upgraded, MrvError):
        raise upgraded
    return upgraded


def keep_timestamp(run_folder: Path, receipt: Receipt) -> str:
    """Put an imported receipt into the run folder beside the anchor that it is for; return the anchor's name.

    It is not put into the journal, which would anchor the root anew, at a price, should the block ever leave the chain.

    Raises:
        RunStateError: another process is writing to the run, or the anchor has a receipt of that network already.
        FormatError: no anchored root of the run, and no batch, is what the receipt is for.
        StorageError: the folder cannot be read or written.
    """
    folder = RunFolder.open(run_folder)
    lock = folder.lock()
    try:
        anchor = _anchor_of(folder, receipt)
        present = anchor.file.receipts.get(receipt.network)
        if present is not None and present.reference != receipt.reference:
            raise RunStateError(
                f"{anchor.name} has another receipt of {receipt.network} already",
                hint="import the proof under another network: a second section with the same driver",
            )
        receipts = {**anchor.file.receipts, receipt.network: receipt}
        folder.write_anchor(replace(anchor, file=anchor.file.model_copy(update={"receipts": receipts})))
    finally:
        lock.release()
    return anchor.name


def _anchor_of(folder: RunFolder, receipt: Receipt) -> Anchor:
    anchors = [folder.read_anchor(name) for name in folder.anchor_names()]
    for anchor in reversed(anchors):
        if anchor.commitment == receipt.commitment:
            return anchor
    raise FormatError(
        f"the proof is about {receipt.commitment}, which is no anchored root of {folder.path}",
        hint="stamp the file that 'mrv export --ots RUN' writes for the root",
    )


def _driver_of(bundle: Bundle, manager: BlockchainManager, network: str | None) -> tuple[str, TimestampingDriver]:
    if network is not None and network not in bundle.receipts:
        known = ", ".join(sorted(bundle.receipts))
        raise RunStateError(f"the root is not anchored on {network!r}", hint=f"it is anchored on: {known}")
    names = sorted(bundle.receipts) if network is None else [network]
    return _first_timestamping([name for name in names if name in manager.config.networks], manager)


def _first_timestamping(names: Iterable[str], manager: BlockchainManager) -> tuple[str, TimestampingDriver]:
    for name in names:
        driver = manager.driver(name)
        if isinstance(driver, TimestampingDriver):
            return name, driver
    raise ConfigurationError(
        "no network of the configuration that matters here writes or reads OpenTimestamps proofs",
        hint="add a network with the driver 'bitcoin', or name its configuration with --config",
    )


def _export_leaf(driver: TimestampingDriver, bundle: Bundle, network: str, leaf: str) -> Timestamp:
    label = unescape_label(leaf.rpartition("/")[2])
    try:
        exported = _export(driver, bundle, network, "content")
    except FormatError:  # not the SHA-256 of plain bytes: the bytes of the node have the digest in them
        exported = _export(driver, bundle, network, "node")
        return Timestamp(_file_name(bundle, leaf, ".node"), exported.ots, exported.file, f"the node {leaf}")
    proof = bundle.proof
    if proof is not None and proof.kind == JSON_KIND:
        name = _file_name(bundle, leaf, ".json")
        return Timestamp(name, exported.ots, canonical_bytes(proof.value), f"the value of {leaf}")
    return Timestamp(_safe(label), exported.ots, exported.file, f"the file {label}, committed to as {leaf}")


def _export(
    driver: TimestampingDriver, bundle: Bundle, network: str, part: Literal["content", "node", "root"]
) -> ExportedProof:
    batch = bundle.batch
    return driver.export_ots(
        bundle.receipts[network],
        commitment=bundle.root,
        proof=bundle.proof.to_proof() if bundle.proof is not None else None,
        part=part,
        batch=None if batch is None else (batch.index, batch.size, batch.path),
    )


def _file_name(bundle: Bundle, leaf: str, suffix: str) -> str:
    return _safe(f"{bundle.run_id}.{bundle.phase}.{leaf.replace('/', '.')}{suffix}")


def _safe(name: str) -> str:
    """Return a name for a file in one folder: labels come from content, and may be paths or worse."""
    kept = "".join(char if char.isalnum() or char in "._-" else "_" for char in name)[-200:]
    return kept.lstrip(".") or "content"
