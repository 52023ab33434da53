# SPDX-License-Identifier: MIT
"""A run on disk: canonical JSON files, each with a format version and a seal, written whole or not at all.

    <base_dir>/<run_id>/
        run.json                    what the run is
        tree.json                   every node outside the epochs, one row a node
        epochs/00000000.json        one file an epoch, in the order of the log
        anchors/000-<phase>.json    one file an anchored root, with the receipts
        batches/000-<phase>.json    where the root was anchored in a batch with others: its proof

A *seal* is the SHA-256 of the file's canonical bytes without the seal. It tells an edited or damaged file
from a whole one; it authenticates nothing, since whoever edits a file can seal it again. The anchors do.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import filelock
from pydantic import AfterValidator, Field

from mrv_core.batching import BatchProof
from mrv_core.canonical import canonical_bytes, canonical_digest, parse_json
from mrv_core.errors import FormatError, RunStateError, StorageError
from mrv_core.files import PRIVATE_FILE, PRIVATE_FOLDER, make_folder, read_limited, storage_error, write_atomic
from mrv_core.hashing import Digest, HashFactory
from mrv_core.models import DigestField, Json, Model, Receipt, TimeField
from mrv_core.provenance_tree import (
    SHAPE,
    SLOTS,
    MerkleNode,
    MLProvenanceMerkleTree,
    TreeFileError,
    TreeState,
    check_run_id,
    node_from_rows,
    node_rows,
)

MAX_FILE_BYTES: Final = 128 * 1024 * 1024
"""Largest file of a run folder, written or read: about 600,000 leaves. A hostile one takes 100 times that, parsed."""
OUTLINE_PATHS: Final = (
    *SHAPE[""],
    *(f"{branch}/{child}" for branch in ("data", "model", "training") for child in SHAPE[branch]),
)
"""Nodes whose hashes are kept beside each anchored root, so that a rewritten tree still shows where it was changed."""

_HexHash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Phase = Annotated[str, Field(pattern=r"^[a-z][a-z_]{0,31}$")]
_Count = Annotated[int, Field(ge=0)]


def _known_algorithm(name: str) -> str:
    HashFactory.create(name)
    return name


class RunFile(Model):
    """`run.json`: what the run is.

    Attributes:
        format: Version of this format.
        run_id: Name of the run, bound by every root of it.
        hash_algorithm: Algorithm of the content digests.
        started_at: When the run was created, by this machine's clock.
    """

    format: Literal["mrv-run/1"] = "mrv-run/1"
    run_id: str
    hash_algorithm: Annotated[str, AfterValidator(_known_algorithm)]
    started_at: TimeField


class TreeFile(Model):
    """`tree.json`: the filled slots of the tree as rows (see `provenance_tree.node_rows`)."""

    format: Literal["mrv-tree/1"] = "mrv-tree/1"
    run_id: str
    rows: tuple[dict[str, Json], ...]


class EpochFile(Model):
    """`epochs/*.json`: one epoch as rows, and the root right after it.

    Attributes:
        format: Version of this format.
        run_id: The run.
        index: Zero-based position in the log of epochs.
        root: The run's root after this epoch, under the phase `epoch_checkpoint`.
        rows: The epoch's nodes; paths start with `training/epochs/`.
    """

    format: Literal["mrv-epoch/1"] = "mrv-epoch/1"
    run_id: str
    index: int
    root: DigestField
    rows: tuple[dict[str, Json], ...]


class AnchorFile(Model):
    """`anchors/*.json`: one anchored root.

    Attributes:
        format: Version of this format.
        run_id: The run.
        phase: When the root was taken.
        epochs: Number of epochs it covers.
        slots: The slots that were filled.
        root: What was anchored.
        outline: Path name → node hash for `OUTLINE_PATHS`; they lead to the root, so they cannot be made up.
        networks: Where it was to be anchored; none while it waits for a batch.
        receipts: Network → newest receipt, for the root, or for the batch that it is a member of.
    """

    format: Literal["mrv-anchor/1"] = "mrv-anchor/1"
    run_id: str
    phase: _Phase
    epochs: _Count
    slots: tuple[str, ...]
    root: DigestField
    outline: dict[str, _HexHash]
    networks: tuple[str, ...]
    receipts: dict[str, Receipt]

    @property
    def state(self) -> TreeState:
        """Which part of the tree the root covers."""
        return TreeState(self.phase, self.epochs, self.slots)


@dataclass(frozen=True, slots=True)
class Anchor:
    """An anchor file together with its name, for instance `000-before_training`.

    Attributes:
        name: Name of the file, without its ending.
        file: Its content.
        batch: Proof that the root is a member of a batch, where it was anchored in one; as claimed, not checked.
    """

    name: str
    file: AnchorFile
    batch: BatchProof | None = None

    @property
    def commitment(self) -> Digest:
        """What the networks hold: the root, or the commitment of the batch that it is said to be in."""
        return self.file.root if self.batch is None else self.batch.batch

    @property
    def awaits_batch(self) -> bool:
        """Whether the root is to be anchored in a batch and is in none yet."""
        return not self.file.networks and self.batch is None


@dataclass(frozen=True, slots=True)
class DamagedFile:
    """Something in a run folder that is not as it was written.

    Attributes:
        place: A path name of the tree where it is known, else the file's name inside the folder.
        message: What is wrong with it.
    """

    place: str
    message: str


class RunFolder:
    """Reads and writes the files of one run.

    Args:
        path: The run's folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, base_dir: Path, run: RunFile, tree: MLProvenanceMerkleTree) -> Self:
        """Make the folder of a new run; where that fails, nothing of it stays.

        Raises:
            RunStateError: a run with this id exists.
            StorageError: the folder cannot be written.
        """
        path = make_folder(base_dir) / check_run_id(run.run_id)
        try:
            path.mkdir(mode=PRIVATE_FOLDER)
        except FileExistsError as error:
            whole = os.path.lexists(path / "run.json")
            way_out = "reopen it with ProvenanceTracker.open" if whole else "remove it, since it holds no run"
            raise RunStateError(f"{path} exists already", hint=f"choose another run id, or {way_out}") from error
        except OSError as error:
            raise storage_error("create the folder", path, error) from error
        folder = cls(path)
        try:
            folder._fill(run, tree)
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise
        return folder

    def _fill(self, run: RunFile, tree: MLProvenanceMerkleTree) -> None:
        make_folder(self.path / "epochs")
        make_folder(self.path / "anchors")
        self.write_tree(tree)
        self._write("run.json", run)  # last: where it is, the run is whole

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the folder of an existing run.

        Raises:
            StorageError: no such folder, it cannot be read, or it has no `run.json`.
        """
        try:
            is_folder, is_run = path.is_dir(), (path / "run.json").is_file()
        except OSError as error:
            raise storage_error("read", path, error) from error
        if not is_folder:
            raise StorageError(f"there is no run folder {path}", hint="list runs with 'mrv status'")
        if not is_run:
            raise StorageError(
                f"{path} is not a complete run folder: run.json is missing",
                hint="copy the whole folder again, or name the run's folder itself",
            )
        return cls(path)

    def lock(self) -> filelock.FileLock:
        """Take the run for writing until the returned lock is released or this process ends.

        Raises:
            RunStateError: another process is writing to it.
            StorageError: the lock file cannot be written.
        """
        lock = filelock.FileLock(self.path / "run.lock", timeout=0, mode=PRIVATE_FILE, thread_local=False)
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise RunStateError(f"{self.path} is being written by another process") from error
        except OSError as error:
            raise storage_error("lock", self.path, error) from error
        return lock

    def run(self) -> RunFile:
        """Read `run.json`.

        Raises:
            StorageError: missing or unreadable.
            FormatError: not as it was written.
        """
        return RunFile.from_json(self._read("run.json"), what="run.json")

    def write_tree(self, tree: MLProvenanceMerkleTree) -> None:
        """Write `tree.json`: every filled slot."""
        rows = [row for slot in SLOTS if not tree.node(slot).is_absent for row in node_rows(slot, tree.node(slot))]
        self._write("tree.json", TreeFile(run_id=tree.run_id, rows=tuple(rows)))

    def write_epoch(self, tree: MLProvenanceMerkleTree) -> None:
        """Write the file of the tree's newest epoch."""
        index = tree.epoch_count - 1
        node = tree.epochs[index]
        rows = node_rows(f"training/epochs/{node.label}", node)
        root = tree.root(checkpoint_state(tree))
        self._write(_epoch_name(index), EpochFile(run_id=tree.run_id, index=index, root=root, rows=tuple(rows)))

    def write_anchor(self, anchor: Anchor) -> None:
        """Write the file of an anchored root."""
        self._write(f"anchors/{anchor.name}.json", anchor.file)

    def anchor_names(self) -> list[str]:
        """Names of the anchors, oldest first.

        Raises:
            StorageError: their folder cannot be read.
        """
        names = [name.removesuffix(".json") for name in self._list("anchors")]
        # Numbers have three digits, and more from the thousandth anchor on.
        return sorted(names, key=lambda name: (len(name.partition("-")[0]), name))

    def read_anchor(self, name: str, damaged: list[DamagedFile] | None = None) -> Anchor:
        """Read the file of an anchored root.

        Args:
            name: One of `anchor_names`.
            damaged: Takes a note of a broken seal, or of another phase in the name, which is an error otherwise.

        Raises:
            StorageError: missing or unreadable.
            FormatError: not as it was written.
        """
        place = f"anchors/{name}.json"
        file = AnchorFile.from_json(self._read(place, damaged), what=place)
        if name.partition("-")[2] != file.phase:  # people know an anchor by its name
            _note(damaged, DamagedFile(place, f"the file was renamed: its phase is {file.phase}"))
        batch = f"batches/{name}.json"
        if not os.path.lexists(self.path / batch):
            return Anchor(name, file)
        return Anchor(name, file, BatchProof.from_json(self._read(batch, damaged), what=batch))

    def write_batch_proof(self, name: str, proof: BatchProof) -> None:
        """Write the proof that the root of an anchor is a member of a batch."""
        make_folder(self.path / "batches")
        self._write(f"batches/{name}.json", proof)

    def read_tree(self, run_id: str) -> tuple[MLProvenanceMerkleTree, list[DamagedFile]]:
        """Rebuild the tree from its leaves, recomputing every hash.

        Returns:
            The tree as its digests say, and everything that does not agree with what was written.

        Raises:
            StorageError: a file is missing or unreadable.
            FormatError: a file is so damaged that no tree can be rebuilt; the message names it.
        """
        tree, damaged = self.read_slots(run_id)
        for name in self.epoch_names():
            self.read_epoch(name, tree, damaged)
        return tree, damaged

    def read_slots(self, run_id: str) -> tuple[MLProvenanceMerkleTree, list[DamagedFile]]:
        """Do the first half of `read_tree`: everything but the epochs."""
        tree = MLProvenanceMerkleTree(run_id)
        damaged: list[DamagedFile] = []
        file = TreeFile.from_json(self._read("tree.json", damaged), what="tree.json")
        rows = iter(file.rows)
        for slot, node, problems in _slots(rows):
            tree.set(slot, node)
            damaged[:0] = [DamagedFile(problem.path, _without_path(problem)) for problem in problems]
        if file.run_id != run_id:
            damaged.append(DamagedFile("tree.json", f"belongs to run {file.run_id}, not {run_id}"))
        return tree, damaged

    def read_epoch(self, name: str, tree: MLProvenanceMerkleTree, damaged: list[DamagedFile]) -> None:
        """Do one step of the second half of `read_tree`: add the next epoch to the tree.

        Args:
            name: One of `epoch_names`, in their order.
            tree: The tree with everything before it.
            damaged: Takes a note of everything that does not agree with what was written.

        Raises:
            StorageError: the file is missing or unreadable.
            FormatError: no epoch can be rebuilt from it.
        """
        index = tree.epoch_count
        if name != _epoch_name(index):
            raise FormatError(f"{_epoch_name(index)} is missing although {name} is there")
        before = len(damaged)
        file = EpochFile.from_json(self._read(name, damaged), what=name)
        path = str(file.rows[0].get("path", "")) if file.rows else ""
        if not path.startswith("training/epochs/") or path.count("/") != 2:
            raise FormatError(f"{name} does not begin with an epoch")
        rows = iter(file.rows)
        node, problems = node_from_rows(rows, path)
        if next(rows, None) is not None:
            raise FormatError(f"{name} has rows beyond its epoch")
        damaged[before:before] = [DamagedFile(problem.path, _without_path(problem)) for problem in problems]
        try:
            tree.append_epoch_node(node)
        except RunStateError as error:
            raise FormatError(f"{name}: {error.message}") from error
        if (file.run_id, file.index) != (tree.run_id, index):
            damaged.append(DamagedFile(name, "belongs to another run or another place in the log"))
        if len(damaged) == before and file.root != tree.root(checkpoint_state(tree)):
            damaged.append(DamagedFile(name, "its root is not the root right after this epoch"))

    def epoch_names(self) -> list[str]:
        """Names of the epochs' files inside the folder, in the order of the log.

        Raises:
            StorageError: their folder cannot be read.
        """
        return [f"epochs/{name}" for name in sorted(self._list("epochs"))]

    def _list(self, name: str) -> list[str]:
        """Return the names of the files in one of our folders, without what a killed process may have left there."""
        try:
            if (self.path / name).is_symlink():
                raise StorageError(f"{self.path / name} is a symbolic link", hint="put the real folder there")
            names = os.listdir(self.path / name)
        except OSError as error:
            raise storage_error("read", self.path / name, error) from error
        return [name for name in names if name.endswith(".json") and not name.startswith(".")]

    def _write(self, name: str, model: Model) -> None:
        value = model.to_json()
        value["seal"] = str(canonical_digest(value, "sha256"))
        data = canonical_bytes(value)
        if len(data) > MAX_FILE_BYTES:
            raise FormatError(
                f"{name} would have {len(data)} bytes, more than the {MAX_FILE_BYTES} that are read back",
                hint="track a folder of very many files as an archive, or as a data set",
            )
        write_atomic(self.path / name, data)

    def _read(self, name: str, damaged: list[DamagedFile] | None = None) -> dict[str, Any]:
        """Read a sealed file and take the seal off.

        A broken seal is added to `damaged` where one is given, so that the rows can say more exactly what was
        changed; else it is an error.
        """
        data = read_limited(self.path / name, MAX_FILE_BYTES, follow=False)
        value = parse_json(data, what=name, max_bytes=MAX_FILE_BYTES)
        if not isinstance(value, dict):
            raise FormatError(f"{name}: not a JSON object")
        seal = value.pop("seal", None)
        whole = seal == str(canonical_digest(value, "sha256")) and data == canonical_bytes({**value, "seal": seal})
        if not whole:
            _note(damaged, DamagedFile(name, "the file was changed after it was written (its seal does not fit)"))
        return value


def _note(damaged: list[DamagedFile] | None, problem: DamagedFile) -> None:
    if damaged is None:
        raise FormatError(f"{problem.place}: {problem.message}")
    damaged.append(problem)


def require_all_anchors(names: Sequence[str]) -> None:
    """Check by their numbers that no anchor but possibly the last ones is missing.

    Args:
        names: All `RunFolder.anchor_names`.

    Raises:
        StorageError: one is missing; the message names its place.
    """
    for index, name in enumerate(names):
        if not name.startswith(f"{index:03d}-"):
            raise StorageError(
                f"anchors/{index:03d}-*.json is missing although anchors/{name}.json is there",
                hint="copy the whole folder again",
            )


def checkpoint_state(tree: MLProvenanceMerkleTree) -> TreeState:
    """Return the state right after the newest epoch, before any results."""
    state = tree.state("epoch_checkpoint")
    return replace(state, slots=tuple(slot for slot in state.slots if slot != "training/results"))


def outline(tree: MLProvenanceMerkleTree, state: TreeState) -> dict[str, str]:
    """Return the hashes of `OUTLINE_PATHS` at a state."""
    return {path: tree.node(path, state).hash.hex() for path in OUTLINE_PATHS}


def _epoch_name(index: int) -> str:
    return f"epochs/{index:08d}.json"


def _without_path(problem: TreeFileError) -> str:
    return str(problem).removeprefix(f"{problem.path}: ")


def _slots(rows: Iterator[Mapping[str, Any]]) -> Iterator[tuple[str, MerkleNode, list[TreeFileError]]]:
    """Yield each filled slot of a tree file in the order of `SLOTS`."""
    filled = iter(SLOTS)
    while (row := next(rows, None)) is not None:
        path = row.get("path")
        slot = next((name for name in filled if name == path), None)
        if slot is None:
            raise FormatError(f"tree.json: {str(path)[:200]!r} is not a slot of the tree, or is out of order")
        node, problems = node_from_rows(chain([row], rows), slot)
        yield slot, node, problems
