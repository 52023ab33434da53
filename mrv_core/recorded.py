# SPDX-License-Identifier: MIT
"""What the run folders of an artifacts folder say about anchors, for comparing it with the journal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mrv_core.batching import Batch, batch_metadata
from mrv_core.canonical import JsonValue
from mrv_core.errors import MrvError
from mrv_core.files import read_limited, storage_error
from mrv_core.hashing import Digest
from mrv_core.models import Metadata, Receipt
from mrv_core.run_batches import BATCHES_FOLDER, BatchFile
from mrv_core.run_folder import MAX_FILE_BYTES, Anchor, RunFolder


@dataclass(frozen=True, slots=True)
class RecordedAnchor:
    """One anchor on one network, as it was written down outside the journal.

    Attributes:
        commitment: What is anchored.
        network: Configured name of the network.
        metadata: Public facts sent along.
        receipts: Receipts in run folders that are said to be of it.
        to_be_sent: Whether it was certainly queued, or was about to be; of an imported receipt it never is.
    """

    commitment: Digest
    network: str
    metadata: Metadata
    receipts: tuple[Receipt, ...]
    to_be_sent: bool


@dataclass(slots=True)
class Recorded:
    """Everything that was written down outside the journal.

    Attributes:
        anchors: By commitment and network, in the order of the runs.
        problems: What could not be read, one line each.
    """

    anchors: dict[tuple[Digest, str], RecordedAnchor] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add(self, anchor: RecordedAnchor) -> None:
        """Add an anchor, together with what is known of it already: members of one batch share it."""
        key = (anchor.commitment, anchor.network)
        known = self.anchors.get(key)
        if known is not None:
            receipts = (*known.receipts, *(item for item in anchor.receipts if item not in known.receipts))
            to_be_sent = known.to_be_sent or anchor.to_be_sent
            anchor = RecordedAnchor(*key, known.metadata, receipts, to_be_sent)
        self.anchors[key] = anchor


def recorded_anchors(base_dir: Path) -> Recorded:
    """Read the run folders and batches of an artifacts folder; what cannot be read is part of the answer.

    Raises:
        StorageError: the folder cannot be read.
    """
    found = Recorded()
    try:
        paths = sorted(path for path in base_dir.iterdir() if (path / "run.json").is_file())
    except FileNotFoundError:
        return found
    except OSError as error:
        raise storage_error("read", base_dir, error) from error
    for path in paths:
        _add_run(found, path)
    for path in sorted((base_dir / BATCHES_FOLDER).glob("*.json")):
        _add_batch(found, path)
    return found


def _add_run(found: Recorded, path: Path) -> None:
    folder = RunFolder(path)
    try:
        run = folder.run()
        names = folder.anchor_names()
    except MrvError as error:
        found.problems.append(f"{path}: {error.message}")
        return
    for name in names:
        try:
            anchor = folder.read_anchor(name)
        except MrvError as error:
            found.problems.append(f"{path}: {error.message}")
            continue
        facts: dict[str, JsonValue] = {"format": run.format, "phase": anchor.file.phase, "run_id": run.run_id}
        metadata = facts if anchor.batch is None else batch_metadata(anchor.batch.size)
        for item in _places(anchor, metadata):
            found.add(item)


def _places(anchor: Anchor, metadata: Metadata) -> Iterator[RecordedAnchor]:
    if anchor.awaits_batch:
        return
    receipts = anchor.file.receipts
    for network in dict.fromkeys([*anchor.file.networks, *receipts]):
        known = (receipts[network],) if network in receipts else ()
        yield RecordedAnchor(anchor.commitment, network, metadata, known, network in anchor.file.networks)


def _add_batch(found: Recorded, path: Path) -> None:
    """A batch whose runs have no proof yet may have been queued, or not: it is looked for, and never sent from here."""
    try:
        file = BatchFile.from_bytes(read_limited(path, MAX_FILE_BYTES), what=str(path))
        batch = Batch(file.members)
    except MrvError as error:
        found.problems.append(f"{path}: {error.message}")
        return
    for network in file.networks:
        metadata = batch_metadata(len(batch.members))
        found.add(RecordedAnchor(batch.commitment, network, metadata, (), to_be_sent=False))
