# SPDX-License-Identifier: MIT
"""ProvenanceTracker: the front door for a training run.

with ProvenanceTracker(config=config) as run:
    run.track_data(train, test)
    run.track_model(model)                  # data and model are anchored here, before training
    for epoch in range(5):
        train_one(model)
        run.track_epoch(epoch, model, metrics={"loss": loss})
                                            # everything is anchored here, after training
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from mrv_core.batching import batch_metadata
from mrv_core.canonical import JsonValue, canonical_bytes, to_json_value
from mrv_core.config import Config, find_config, load_config
from mrv_core.digests import content_node, model_nodes, require_not_empty, weights_node
from mrv_core.environment import describe_environment
from mrv_core.errors import ConfigurationError, FormatError, MrvError, RunStateError
from mrv_core.files import make_folder, write_atomic
from mrv_core.hashing import Digest
from mrv_core.journal import JournalRow
from mrv_core.manager import STORES_FOLDER, BlockchainManager
from mrv_core.models import Verdict, utc_now
from mrv_core.provenance_tree import MerkleNode, MLProvenanceMerkleTree, TreeState
from mrv_core.registry import Registry
from mrv_core.report.model import IntegrityReport
from mrv_core.run_folder import Anchor, AnchorFile, RunFile, RunFolder, outline, require_all_anchors

_logger = logging.getLogger(__name__)
_T = TypeVar("_T")

BEFORE = "before_training"
CHECKPOINT = "epoch_checkpoint"
AFTER = "after_training"
SNAPSHOT = "snapshot"


class ProvenanceTracker:
    """Records a training run as one Merkle tree in a folder and anchors its roots.

    Args:
        base_dir: Artifacts folder; the run gets a folder of its own in it.
        config: Configuration: a document, a path, a `Config`, or None for `$MRV_CONFIG`,
            `configs/blockchain_config.json`, or three embedded networks, whichever is there first.
        run_id: Name of the run; by default made from the time and four random bytes.
        registry: Known drivers; by default those installed.
        progress: Show progress bars on long work; by default only on a terminal.

    Raises:
        ConfigurationError: the configuration is wrong.
        FormatError: the run id cannot be used.
        RunStateError: a run with this id exists.
        StorageError: the artifacts folder cannot be written.
    """

    def __init__(
        self,
        base_dir: str | Path = "artifacts",
        config: Config | Mapping[str, Any] | str | Path | None = None,
        *,
        run_id: str | None = None,
        registry: Registry | None = None,
        progress: bool | None = None,
    ) -> None:
        if run_id == STORES_FOLDER:
            raise FormatError(f"run id {run_id!r} is the folder of the embedded networks", hint="choose another run id")
        self._start(Path(base_dir), config, registry, progress)
        if run_id is not None and self._manager.journal.rows(run_id=run_id):
            raise RunStateError(
                f"a run {run_id!r} was anchored from {self.base_dir} before", hint="choose another run id"
            )
        self._run = RunFile(
            run_id=run_id if run_id is not None else new_run_id(),
            hash_algorithm=self.config.hash_algorithm,
            started_at=utc_now(),
        )
        self._tree = MLProvenanceMerkleTree(self._run.run_id)
        self._tree.set("training/environment", self._json(describe_environment(), "the environment"))
        self._anchors: list[Anchor] = []
        self._folder = RunFolder.create(self.base_dir, self._run, self._tree)
        self._lock = self._folder.lock()

    @classmethod
    def open(
        cls,
        run_folder: str | Path,
        config: Config | Mapping[str, Any] | str | Path | None = None,
        *,
        registry: Registry | None = None,
        progress: bool | None = None,
    ) -> Self:
        """Reopen a run from its folder, to continue or to verify it.

        Raises:
            StorageError: no such run folder, or a file is missing.
            FormatError: a file is not as it was written; verify the run to see which leaf was changed.
            RunStateError: another process is writing to the run.
        """
        path = Path(run_folder)
        tracker = cls.__new__(cls)
        tracker._folder = RunFolder.open(path)
        tracker._start(path.parent, config, registry, progress)
        tracker._lock = tracker._folder.lock()
        try:
            tracker._read()
            tracker._queue_what_is_not()
        except MrvError:
            tracker._lock.release()
            raise
        return tracker

    def _start(self, base_dir: Path, config: Any, registry: Registry | None, progress: bool | None) -> None:
        registry = registry or Registry.load()
        if config is None:
            config = find_config()
        self.config = config if isinstance(config, Config) else load_config(config, registry=registry)
        self.base_dir = base_dir
        self._process = os.getpid()
        self._progress = progress
        self._automatic = False
        self._results: JsonValue = None
        self._manager = BlockchainManager(self.config, base_dir=base_dir, registry=registry)
        if self.config.debug:
            logging.getLogger("mrv_core").setLevel(logging.DEBUG)

    def _read(self) -> None:
        self._run = self._folder.run()
        self._tree, damaged = self._folder.read_tree(self._run.run_id)
        if damaged:
            raise FormatError(
                f"{damaged[0].place}: {damaged[0].message}", hint=f"see everything with 'mrv verify {self.run_folder}'"
            )
        names = self._folder.anchor_names()
        require_all_anchors(names)
        self._anchors = [self._folder.read_anchor(name) for name in names]

    # --- what the run is ----------------------------------------------------------------------------------------

    @property
    def run_id(self) -> str:
        """Name of the run."""
        return self._run.run_id

    @property
    def run_folder(self) -> Path:
        """Folder of the run."""
        return self._folder.path

    @property
    def tree(self) -> MLProvenanceMerkleTree:
        """The run's tree."""
        return self._tree

    @property
    def anchors(self) -> tuple[Anchor, ...]:
        """The anchored roots, oldest first."""
        return tuple(self._anchors)

    @property
    def results(self) -> JsonValue:
        """Results that the automatic anchor at the end will commit; set it inside the `with` block."""
        return self._results

    @results.setter
    def results(self, value: Any) -> None:
        what = "the training results"
        self._results = self._json_value(_require_mapping(value, what), what)

    # --- tracking -----------------------------------------------------------------------------------------------

    def track_data(self, train_data: Any, test_data: Any = None) -> None:
        """Commit to every byte of the training data, and of the test data where there is some.

        Args:
            train_data: Anything with a digester: arrays, tensors, tables, datasets, `(x, y)` pairs, a
                `pathlib.Path` of a file or folder.
            test_data: The same, or None.

        Raises:
            RunStateError: a root over the data is anchored already, or the run is complete.
            UnsupportedTypeError: no digester for the type; the hint says how to register one.
            FormatError: empty, or of a form that has no digest.
        """
        self._require_before_first_anchor("data")
        nodes = {}
        for name, content in (("training", train_data), ("test", test_data)):
            if content is not None:
                place = f" in {content}" if isinstance(content, Path) else ""
                require_not_empty(content, f"the {name} data{place}")
                nodes[f"data/{name}"] = self._content(content, name)
        if "data/training" not in nodes:
            raise FormatError("there is no training data", hint="track_data(train_data, test_data=None)")
        self._set(nodes)
        self._anchor_before_if_ready()

    def track_model(self, model: Any) -> None:
        """Commit to a model's architecture and to its present weights, separately.

        Args:
            model: A torch module, a state dict, a scikit-learn estimator, or a `pathlib.Path` of a file.

        Raises:
            RunStateError: a root over the model is anchored already, or the run is complete.
            UnsupportedTypeError: no digester for the type.
        """
        self._require_before_first_anchor("model")
        content = model_nodes(model, algorithm=self._run.hash_algorithm, progress=self._progress)
        self._set({"model/architecture": content.architecture, "model/weights": content.weights})
        self._anchor_before_if_ready()

    def track_epoch(
        self,
        epoch: int,
        model: Any = None,
        metrics: Mapping[str, Any] | None = None,
        privacy_metrics: Mapping[str, Any] | None = None,
    ) -> Digest:
        """Append an epoch to the log and store it; return the run's new root.

        Numbers that are NaN or infinite are kept as `{"non_finite": ...}`.

        Args:
            epoch: The trainer's own number; must grow from call to call.
            model: The model after the epoch, or None.
            metrics: What was measured: numbers, text, lists and dicts of them.
            privacy_metrics: The privacy budget spent so far, for instance `{"epsilon": 1.2, "delta": 1e-5}`.

        Raises:
            RunStateError: the number does not grow, or the run is complete.
            FormatError: a value that JSON cannot carry; the message names it.
        """
        self._require_open()
        if isinstance(epoch, bool) or not isinstance(epoch, int):
            raise FormatError(f"an epoch is an integer, not {type(epoch).__name__}")
        if self._automatic and not self._anchors:
            self._anchor_before()
        state = None
        if model is not None:
            state = weights_node(model, algorithm=self._run.hash_algorithm, progress=self._progress)
        measured = self._measured(metrics, f"metrics of epoch {epoch}")
        privacy = self._measured(privacy_metrics, f"privacy metrics of epoch {epoch}")
        with self._undone_on_failure():
            self._tree.append_epoch(epoch, model_state=state, metrics=measured, privacy_metrics=privacy)
            self._folder.write_epoch(self._tree)
        if self.config.storage_options.store_epoch_checkpoints:
            self._anchor(CHECKPOINT, wait=False)
        return self._tree.root(CHECKPOINT)

    # --- anchoring ----------------------------------------------------------------------------------------------

    def store_merkle_on_blockchain_before_training(
        self, training_config: Mapping[str, Any] | None = None
    ) -> dict[str, str]:
        """Commit to the training's configuration and anchor the root over data, model and configuration.

        Where `storage_options.store_before_training` is off, the configuration is committed and nothing is sent.

        Returns:
            Network → transaction id for the networks that took it; the others follow with `mrv flush`.

        Raises:
            RunStateError: a root of this run is anchored already, or epochs have been tracked.
            FormatError: a value that JSON cannot carry.
            StorageError: nothing was sent because it could not be written down first.
        """
        self._require_before_first_anchor("the training configuration")
        given = _require_mapping(training_config, "the training configuration")
        config = self.config.without_networks(given)
        self._set({"training/config": self._json(config, "the training configuration")})
        if not self.config.storage_options.store_before_training:
            return {}
        return self._anchor(BEFORE)

    def store_merkle_on_blockchain_after_training(
        self, training_results: Mapping[str, Any] | None = None
    ) -> dict[str, str]:
        """Commit to the results, anchor the root over everything, and complete the run.

        Where `storage_options.store_after_training` is off, the results are committed and nothing is sent.

        Returns:
            Network → transaction id for the networks that took it; the others follow with `mrv flush`.

        Raises:
            RunStateError: the run is complete.
            FormatError: a value that JSON cannot carry.
            StorageError: nothing was sent because it could not be written down first.
        """
        self._require_writable(complete=self._complete)
        results = _require_mapping(training_results, "the training results")
        self._set({"training/results": self._json(results, "the training results")})
        if not self.config.storage_options.store_after_training:
            return {}
        return self._anchor(AFTER)

    def anchor_snapshot(self, networks: Iterable[str] | None = None) -> dict[str, str]:
        """Anchor the root over what has been tracked so far, for content without a training; returns as above.

        Raises:
            RunStateError: nothing has been tracked.
        """
        self._require_open()
        if not any(slot.startswith(("data/", "model/")) for slot in self._tree.state(SNAPSHOT).slots):
            raise RunStateError("nothing has been tracked", hint="call track_data or track_model first")
        return self._anchor(SNAPSHOT, networks=networks)

    def _anchor(self, phase: str, *, networks: Iterable[str] | None = None, wait: bool = True) -> dict[str, str]:
        """Write the root down, then anchor it; whatever does not go out now stays in the journal."""
        if not self.config.enabled:
            _logger.warning("Blockchain tracking disabled")
            return {}
        names = self.config.require_networks(networks)
        if not names:
            raise ConfigurationError(f"{self.config.source}: no network is selected", hint="see 'mrv networks'")
        in_batch = self.config.storage_options.store_in_batches
        file = self._anchor_file(self._tree.state(phase), () if in_batch else names)
        anchor = Anchor(f"{len(self._anchors):03d}-{phase}", file)
        self._folder.write_anchor(anchor)
        self._anchors.append(anchor)
        if in_batch:
            return {}
        if not wait:
            self._manager.anchor_in_background(file.root, self._metadata(phase), names)
            return {}
        outcomes = self._manager.anchor(file.root, self._metadata(phase), names)
        self.collect_receipts()
        return {name: outcome.receipt.reference for name, outcome in outcomes.items() if outcome.receipt is not None}

    def _metadata(self, phase: str) -> dict[str, JsonValue]:
        return {"format": self._run.format, "phase": phase, "run_id": self.run_id}

    def _anchor_file(self, state: TreeState, networks: tuple[str, ...]) -> AnchorFile:
        return AnchorFile(
            run_id=self.run_id,
            phase=state.phase,
            epochs=state.epochs,
            slots=state.slots,
            root=self._tree.root(state),
            outline=outline(self._tree, state),
            networks=networks,
            receipts={},
        )

    def _queue_what_is_not(self) -> None:
        """Queue what was written into the run folder and then, because the process ended there, nowhere else."""
        for anchor in self._anchors:
            rows = self._manager.journal.rows(commitment=anchor.commitment)
            known = {*anchor.file.receipts, *(row.network for row in rows)}
            batch = anchor.batch
            metadata = self._metadata(anchor.file.phase) if batch is None else batch_metadata(batch.size)
            for network in anchor.file.networks:
                if network not in known:
                    self._manager.journal.enqueue(anchor.commitment, network, metadata)

    def collect_receipts(self) -> None:
        """Copy the journal's newest receipts into the run folder, so that the folder verifies without the journal.

        Raises:
            RunStateError: this is a fork of the process that opened the run.
            StorageError: the run folder cannot be written, or the journal not read.
        """
        self._require_own_process()
        for index, anchor in enumerate(self._anchors):
            rows = self._manager.journal.rows(commitment=anchor.commitment)
            receipts = {**anchor.file.receipts, **{row.network: row.receipt for row in rows if row.receipt is not None}}
            if receipts != anchor.file.receipts:
                newer = replace(anchor, file=anchor.file.model_copy(update={"receipts": receipts}))
                self._folder.write_anchor(newer)
                self._anchors[index] = newer

    def wait_until_final(
        self, timeout_s: float, *, progress: Callable[[list[JournalRow]], None] | None = None
    ) -> list[JournalRow]:
        """Wait until every anchor of this run is final, and return those that are not.

        Args:
            timeout_s: Longest wait in all.
            progress: Called after each look with the anchors of this run that are not final yet.

        Raises:
            StorageError: the journal or the run folder cannot be read or written.
        """
        self._require_own_process()
        self._manager.wait_for_background()
        roots = {anchor.commitment for anchor in self._anchors}

        def own(rows: list[JournalRow]) -> list[JournalRow]:
            return [row for row in rows if row.commitment in roots]

        left = self._manager.settle(
            timeout_s=timeout_s, progress=None if progress is None else lambda rows: progress(own(rows))
        )
        self.collect_receipts()
        return own(left)

    # --- verifying ----------------------------------------------------------------------------------------------

    def verify(self, *, data: Mapping[str, Any] | None = None, model: Any = None) -> IntegrityReport:
        """Verify the run from its files, its networks, and the content that is given; see `verification.verify_run`."""
        from mrv_core.verification import verify_run

        self._manager.wait_for_background()
        if self._lock.is_locked:
            self.collect_receipts()
        return verify_run(
            self.run_folder, config=self.config, data=data, model=model, manager=self._manager, progress=self._progress
        )

    def verify_blockchain_provenance(
        self, *, data: Mapping[str, Any] | None = None, model: Any = None
    ) -> dict[str, Any]:
        """Verify the run and return the outcome as a dict.

        Args:
            data: Content to recompute, by path name (`data/training`).
            model: Model to compare with the recorded states.

        Returns:
            `blockchain_enabled`; `chain_integrity`, True only for VALID; `verdict`; `summary`;
            `verification_results`, anchor → network → verdict; `report`, the whole report as a JSON value.
        """
        report = self.verify(data=data, model=model)
        if report.verdict in (Verdict.TAMPERED, Verdict.DISAGREE):
            _logger.error("Provenance chain integrity failed: %s", report.summary)
        return {
            "blockchain_enabled": self.config.enabled,
            "chain_integrity": report.chain_integrity,
            "verdict": str(report.verdict),
            "summary": report.summary,
            "verification_results": {
                anchor.name: {result.network: str(result.verdict) for result in anchor.networks}
                for anchor in report.anchors
            },
            "report": report.to_json(),
        }

    def save_blockchain_report(
        self,
        output_path: str | Path | None = None,
        *,
        data: Mapping[str, Any] | None = None,
        model: Any = None,
    ) -> str:
        """Verify the run and write the report; return its path.

        Args:
            output_path: A `.json` or `.html` file; by default both `report.json` and `report.html` are written
                into the run folder and the path of the JSON is returned.
            data: Content to recompute, by path name (`data/training`).
            model: Model to compare with the recorded states.

        Raises:
            FormatError: another suffix.
            StorageError: it cannot be written.
        """
        from mrv_core.report.html import render_html

        targets = (
            [Path(output_path)]
            if output_path is not None
            else [self.run_folder / "report.json", self.run_folder / "report.html"]
        )
        renderers: dict[str, Callable[[IntegrityReport], bytes]] = {
            ".json": IntegrityReport.to_bytes,
            ".html": lambda report: render_html(report).encode(),
        }
        if targets[0].suffix not in renderers:
            raise FormatError(f"{targets[0]}: a report is a .json or a .html file")
        report = self.verify(data=data, model=model)
        for target in targets:
            make_folder(target.parent)
            write_atomic(target, renderers[target.suffix](report))
        return str(targets[0])

    def get_blockchain_status(self) -> dict[str, Any]:
        """Return what is anchored where, and which networks can be used now.

        Returns:
            `blockchain_enabled`; `networks`, name → `ready`, `detail`, `embedded`; `stored_hashes`, anchor →
            `root` and `transactions` (network → transaction id); `pending`, the journal's open rows of this run.
        """
        self.collect_receipts()
        roots = {anchor.commitment for anchor in self._anchors}
        return {
            "blockchain_enabled": self.config.enabled,
            "run_id": self.run_id,
            "networks": {
                name: {"ready": False, "detail": str(status), "embedded": None}
                if isinstance(status, MrvError)
                else {"ready": status.ready, "detail": status.detail, "embedded": status.embedded}
                for name, status in self._manager.status().items()
            },
            "stored_hashes": {
                anchor.name: {
                    "root": str(anchor.file.root),
                    "transactions": {name: receipt.reference for name, receipt in anchor.file.receipts.items()},
                }
                for anchor in self._anchors
            },
            "pending": [
                {"network": row.network, "root": str(row.commitment), "state": str(row.state), "error": row.error}
                for row in self._manager.journal.rows(only_open=True)
                if row.commitment in roots
            ],
        }

    def save(self) -> Path:
        """Write everything to the run folder, which every tracking call has done already, and return the folder.

        Raises:
            RunStateError: this is a fork of the process that opened the run.
            StorageError: it cannot be written.
        """
        self._require_own_process()
        self._manager.wait_for_background()
        self._folder.write_tree(self._tree)
        self._queue_what_is_not()
        self.collect_receipts()
        return self.run_folder

    def close(self) -> None:
        """Save, and release the run for other processes. In a fork this does nothing: the run is its parent's.

        Raises:
            StorageError: it cannot be written; the run is released all the same.
        """
        if self._is_fork:
            return
        try:
            self.save()
        except MrvError:
            self._manager.close()
            raise
        else:  # and not after an interrupt: whoever presses Ctrl-C again is not kept waiting for networks again
            self._manager.close()
        finally:
            self._lock.release()

    # --- automatic mode -----------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._automatic = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Anchor the end of a training that succeeded; after an exception keep everything and anchor nothing."""
        if self._is_fork:
            return
        if kind is not None:
            self._close_after(kind)
            return
        try:
            if not self._complete:
                self.store_merkle_on_blockchain_after_training(self._final_results())
        finally:
            self.close()

    def _close_after(self, kind: type[BaseException]) -> None:
        """Close after an exception of the training, which nothing that goes wrong here may replace."""
        _logger.warning("%s ended by %s; everything tracked is in %s", self.run_id, kind.__name__, self.run_folder)
        try:
            self.close()
        except MrvError as error:
            _logger.error("%s: %s", self.run_id, error)

    def _anchor_before_if_ready(self) -> None:
        filled = self._tree.state(BEFORE).slots
        if self._automatic and "data/training" in filled and "model/weights" in filled:
            self._anchor_before()

    def _anchor_before(self) -> None:
        if "training/config" not in self._tree.state(BEFORE).slots:
            self.store_merkle_on_blockchain_before_training(self.config.training)
        elif self._is_wanted(BEFORE) and not self._anchors and not self._tree.epoch_count:
            self._anchor(BEFORE)  # an earlier attempt got no further than the configuration

    def _final_results(self) -> Any:
        if not (committed := self._tree.node("training/results")).is_absent:
            return committed.value  # an earlier attempt got no further than the results
        if isinstance(self._results, dict):
            return self._results
        last = self._tree.epochs[-1].child("metrics").value if self._tree.epochs else None
        return {"epochs": self._tree.epoch_count, "final_metrics": last}

    # --- helpers ------------------------------------------------------------------------------------------------

    @property
    def _is_fork(self) -> bool:
        return os.getpid() != self._process

    @property
    def _has_results(self) -> bool:
        return "training/results" in self._tree.state(AFTER).slots

    @property
    def _complete(self) -> bool:
        """Whether the end is written down: the results, and their anchor where there is to be one."""
        anchored = any(anchor.file.phase == AFTER for anchor in self._anchors)
        return anchored or (self._has_results and not self._is_wanted(AFTER))

    def _is_wanted(self, phase: str) -> bool:
        options = self.config.storage_options
        wanted = {BEFORE: options.store_before_training, AFTER: options.store_after_training}
        return self.config.enabled and wanted[phase]

    def _require_own_process(self) -> None:
        if self._is_fork:
            raise RunStateError(
                f"run {self.run_id} is written by the process {self._process}, this is a fork of it",
                hint="track in the process that began the run",
            )

    def _require_open(self) -> None:
        self._require_writable(complete=self._has_results)

    def _require_writable(self, *, complete: bool) -> None:
        self._require_own_process()
        if complete:
            raise RunStateError(f"run {self.run_id} is complete", hint="start a new ProvenanceTracker")

    def _require_before_first_anchor(self, what: str) -> None:
        self._require_open()
        if self._anchors:
            raise RunStateError(
                f"{what} cannot change after {self._anchors[0].name} was anchored", hint="start a new ProvenanceTracker"
            )
        if self._tree.epoch_count:
            raise RunStateError(f"{what} cannot change after the first epoch", hint="track it before training")

    def _set(self, nodes: Mapping[str, MerkleNode]) -> None:
        with self._undone_on_failure():
            for path, node in nodes.items():
                self._tree.set(path, node)
            self._folder.write_tree(self._tree)

    @contextmanager
    def _undone_on_failure(self) -> Iterator[None]:
        """Put the tree back where a step cannot be stored, so that the same step can be tried again."""
        tree, epochs = self._tree, self._tree.epoch_count
        slots = {path: tree.node(path) for path in tree.state("present").slots}
        try:
            yield
        except BaseException:
            self._tree = MLProvenanceMerkleTree(self.run_id)
            for path, node in slots.items():
                self._tree.set(path, node)
            for epoch in tree.epochs[:epochs]:
                self._tree.append_epoch_node(epoch)
            raise

    def _content(self, content: Any, label: str) -> MerkleNode:
        return content_node(content, algorithm=self._run.hash_algorithm, label=label, progress=self._progress)

    def _json(self, value: Any, what: str) -> MerkleNode:
        return MerkleNode.json("value", self._json_value(value, what), self._run.hash_algorithm)

    def _json_value(self, value: Any, what: str) -> JsonValue:
        try:
            converted = to_json_value(value, non_finite=True)
        except FormatError as error:
            raise FormatError(f"{what}: {error.message}", hint=error.hint) from error
        if b'{"non_finite":' in canonical_bytes(converted):
            _logger.warning("%s of run %s has a value that is not finite; it is kept as text", what, self.run_id)
        return converted

    def _measured(self, values: Mapping[str, Any] | None, what: str) -> MerkleNode | None:
        return None if values is None else self._json(_require_mapping(values, what), what)


def _require_mapping(values: Mapping[str, Any] | None, what: str) -> Mapping[str, Any]:
    if values is not None and not isinstance(values, Mapping):
        raise FormatError(f"{what}: a mapping is needed, not {type(values).__name__}", hint="pass a dict with names")
    return values if values is not None else {}


class ProvenanceBlockchainTracker(ProvenanceTracker):
    """The same tracker under the name that the first developer guide used."""


def new_run_id() -> str:
    """Return a run id that sorts by time: `run-20260111T080000Z-1a2b3c4d`."""
    return f"run-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
