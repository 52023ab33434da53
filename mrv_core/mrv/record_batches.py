# SPDX-License-Identifier: MIT
"""One anchor for many records: those that were measured with `storage_options.store_in_batches`, or without anchor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mrv_core.batching import Batch, batch_metadata
from mrv_core.errors import MrvError
from mrv_core.hashing import Digest
from mrv_core.manager import AnchorOutcome, BlockchainManager
from mrv_core.mrv.record import MrvRecord
from mrv_core.mrv.storage import RecordReceipts, collect_receipts, read_receipts, read_record_file, write_receipts
from mrv_core.mrv.verification import read_record


@dataclass(frozen=True, slots=True)
class WaitingRecord:
    """A record that is anchored nowhere.

    Attributes:
        path: Its file.
        mrv_id: Its id.
        commitment: Its hash.
    """

    path: Path
    mrv_id: str
    commitment: Digest


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """A batch that was anchored.

    Attributes:
        batch: Its members are hashes of records.
        members: The records; copies of one are one member.
        outcomes: What became of it, network by network.
    """

    batch: Batch
    members: Sequence[WaitingRecord]
    outcomes: dict[str, AnchorOutcome]


def waiting_records(paths: Iterable[Path], manager: BlockchainManager) -> list[WaitingRecord]:
    """Return the records among some files that nothing anchors, as far as their receipts and the journal know.

    A record whose batch was never queued, because a process ended right then, waits again.
    """
    found = []
    known = {row.commitment for row in manager.journal.rows()}
    for path in paths:
        try:
            record, commitment = read_record(read_record_file(path), what=str(path))
            beside = read_receipts(path)
        except MrvError:
            continue  # no record, or one that was changed: `mrv verify` says which
        if isinstance(record, MrvRecord) and record.job is not None:
            continue  # its job's record commits to it
        anchored = commitment if beside is None else beside.anchored
        if anchored not in known and commitment not in known and (beside is None or not beside.receipts):
            found.append(WaitingRecord(path, record.mrv_id, commitment))
    return found


def anchor_waiting_records(
    waiting: Sequence[WaitingRecord], manager: BlockchainManager, networks: Iterable[str] | None = None
) -> RecordBatch | None:
    """Anchor records as one batch, and give each its proof; None where none waits.

    The proofs are written before anything is queued: a record without its proof could not show that it is in the batch.

    Raises:
        ConfigurationError: a network that is not configured.
        StorageError: something could not be written down, so nothing was sent.
    """
    names = manager.config.require_networks(networks)
    if not waiting:
        return None
    batch = Batch(tuple(dict.fromkeys(each.commitment for each in waiting)))
    for each in waiting:
        proof = batch.prove(each.commitment)
        held = RecordReceipts(mrv_id=each.mrv_id, commitment=each.commitment, batch=proof, receipts={})
        write_receipts(each.path, held)
    outcomes = manager.anchor(batch.commitment, batch_metadata(len(batch.members)), names)
    for folder in dict.fromkeys(each.path.parent for each in waiting):
        collect_receipts(folder, manager.journal)
    return RecordBatch(batch, waiting, outcomes)
