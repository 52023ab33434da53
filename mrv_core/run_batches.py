# SPDX-License-Identifier: MIT
"""One anchor for the roots of many runs: those that were written down with `storage_options.store_in_batches`.

    <base_dir>/batches/<commitment>.json     the members of one batch, in their order
    <base_dir>/<run_id>/batches/<anchor>.json  the proof of one member

The batch is written down before it is queued, and queued before the runs get their proofs, so that a crash anywhere
is answered by the next call: a batch that was queued is completed, one that was not is forgotten.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from mrv_core.batching import Batch, batch_metadata
from mrv_core.errors import MrvError
from mrv_core.files import make_folder, read_limited, write_atomic
from mrv_core.manager import AnchorOutcome, BlockchainManager
from mrv_core.models import DigestField, Model
from mrv_core.run_folder import MAX_FILE_BYTES, Anchor, RunFolder

_logger = logging.getLogger(__name__)

BATCHES_FOLDER: Final = "batches"


class BatchFile(Model):
    """`batches/*.json`: a batch that is or is about to be anchored.

    Attributes:
        format: Version of this format.
        networks: Where to.
        members: The roots, in their order.
    """

    format: Literal["mrv-batch/1"] = "mrv-batch/1"
    networks: tuple[str, ...]
    members: tuple[DigestField, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """A root that waits for a batch, or is in one.

    Attributes:
        folder: The run's folder.
        anchor: The anchor in it.
    """

    folder: RunFolder
    anchor: Anchor


@dataclass(frozen=True, slots=True)
class AnchoredBatch:
    """A batch that has been queued and, as far as the networks take it, anchored.

    Attributes:
        batch: The batch; its members are roots of runs.
        members: Where they come from; one root may come from several places.
        outcomes: What became of it, network by network.
    """

    batch: Batch
    members: tuple[Member, ...]
    outcomes: dict[str, AnchorOutcome]


def anchor_waiting_roots(
    run_folders: Iterable[Path], manager: BlockchainManager, networks: Iterable[str] | None = None
) -> AnchoredBatch | None:
    """Anchor all roots that wait in these runs as one batch, and give every run its proof.

    A run that another process is writing to is left for the next batch.

    Args:
        run_folders: Folders of runs in the manager's artifacts folder.
        manager: Anchors the batch.
        networks: Names of networks; by default the selected ones.

    Returns:
        The batch, or None where nothing was waiting.

    Raises:
        ConfigurationError: a network that is not configured.
        StorageError: something could not be written down; nothing was sent.
        FormatError: a file is not as it was written.
    """
    names = manager.config.require_networks(networks)
    with ExitStack() as locks:
        folders = [folder for path in run_folders if (folder := _locked(path, locks)) is not None]
        complete_batches(folders, manager)
        waiting = tuple(_waiting(folders))
        if not waiting:
            return None
        # A root may wait twice: nothing changed between two anchors, or the run was copied.
        batch = Batch(tuple(dict.fromkeys(member.anchor.file.root for member in waiting)))
        file = BatchFile(networks=names, members=batch.members)
        write_atomic(_file_of(manager, batch), file.to_bytes())
        for name in names:
            manager.journal.enqueue(batch.commitment, name, batch_metadata(len(batch.members)))
        _give_proofs(waiting, batch, names)
    return AnchoredBatch(batch, waiting, manager.anchor(batch.commitment, batch_metadata(len(batch.members)), names))


def complete_batches(folders: Sequence[RunFolder], manager: BlockchainManager) -> None:
    """Give runs the proofs of batches that were queued by a process that ended right then."""
    waiting = list(_waiting(folders))
    known = {row.commitment for row in manager.journal.rows()} if waiting else set()
    for path in sorted((manager.base_dir / BATCHES_FOLDER).glob("*.json")) if waiting else ():
        file = BatchFile.from_bytes(read_limited(path, MAX_FILE_BYTES), what=str(path))
        batch = Batch(file.members)
        if batch.commitment in known:
            members = set(file.members)
            _give_proofs([one for one in waiting if one.anchor.file.root in members], batch, file.networks)


def _locked(path: Path, locks: ExitStack) -> RunFolder | None:
    folder = RunFolder.open(path)
    try:
        locks.callback(folder.lock().release)
    except MrvError as error:
        _logger.warning("%s is left for the next batch: %s", path, error)
        return None
    return folder


def _waiting(folders: Iterable[RunFolder]) -> Iterable[Member]:
    for folder in folders:
        for name in folder.anchor_names():
            anchor = folder.read_anchor(name)
            if anchor.awaits_batch:
                yield Member(folder, anchor)


def _give_proofs(members: Iterable[Member], batch: Batch, networks: tuple[str, ...]) -> None:
    for member in members:
        anchor = member.anchor
        member.folder.write_batch_proof(anchor.name, batch.prove(anchor.file.root))
        file = anchor.file.model_copy(update={"networks": networks})
        member.folder.write_anchor(replace(anchor, file=file))


def _file_of(manager: BlockchainManager, batch: Batch) -> Path:
    return make_folder(manager.base_dir / BATCHES_FOLDER) / f"{batch.commitment.hex}.json"
