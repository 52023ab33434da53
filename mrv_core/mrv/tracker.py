# SPDX-License-Identifier: MIT
"""MRVTracker: the front door for the energy and CO2 of a training.

with MRVTracker("digits", model_name="MLP", dataset_name="digits", country="FRA") as tracker:
    for epoch in range(5):
        with tracker.epoch(epoch):
            tracker.log(loss=train_one(model))
print(tracker.mrv_id, tracker.mrv_hash, tracker.tx_hash)
"""

from __future__ import annotations

import atexit
import functools
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, ParamSpec, Self, TypeVar, cast

from mrv_core.canonical import JsonValue, canonical_bytes, to_json_value
from mrv_core.config import Config, find_config, load_config
from mrv_core.errors import ConfigurationError, FormatError, MrvError, RunStateError, StorageError
from mrv_core.files import make_folder, write_atomic
from mrv_core.journal import JournalRow
from mrv_core.manager import BlockchainManager
from mrv_core.models import Receipt, utc_now
from mrv_core.mrv import meters, units
from mrv_core.mrv.drafts import KILLED, Draft
from mrv_core.mrv.job import Job, detect_share, job_mrv_id, job_of, now_ms, rank_mrv_id
from mrv_core.mrv.job_record import write_job_record
from mrv_core.mrv.neighbours import Neighbours
from mrv_core.mrv.record import (
    MAX_RECORD_BYTES,
    Component,
    Emissions,
    Measurement,
    MrvRecord,
    Provenance,
    Status,
    Timestamps,
    check_mrv_id,
    generate_mrv_id,
    value_of,
)
from mrv_core.mrv.registry_client import RegistryClient
from mrv_core.mrv.sampler import Sampler
from mrv_core.mrv.samples import SampleFile, SampleWriter, read_samples
from mrv_core.mrv.stated import Stated, check_interval
from mrv_core.mrv.storage import RecordReceipts, collect_receipts, record_path, samples_path, write_receipts
from mrv_core.mrv.summary import Measured, OpenEpoch, declared_energy, energy_of, epoch_of, gaps_of
from mrv_core.mrv.surroundings import Surroundings
from mrv_core.registry import Registry

if TYPE_CHECKING:
    from mrv_core.mrv.verification import RecordReport
    from mrv_core.tracker import ProvenanceTracker

_logger = logging.getLogger(__name__)
_P = ParamSpec("_P")
_R = TypeVar("_R")

TOLERANCE_PERMILLE: Final = 1
"""By how much a recomputed number may differ: the roundings of many readings, and nothing else."""
_MAX_TEXT: Final = 1000
_FORGOTTEN: Final = "the program ended without stop()"


class MRVTracker:
    """Measures a training and writes a record of it. A context manager, a decorator, or `start()` and `stop()`.

    Nothing of it changes what the training does: no exception of ours leaves the `with` block, no signal handler is
    touched, and no network is waited for.

    Args:
        experiment_name: What people call the experiment.
        model_name, dataset_name: What was trained on what.
        epochs, batch_size, framework: How, for the record.
        storage_dir: Folder for records, samples, receipts and the journal of the anchoring.
        registry_url: A registry (`mrv serve`) that gets the record with its samples and receipts; the token for it is
            the environment's `MRV_REGISTRY_TOKEN`.
        blockchain_enabled: Whether the record is anchored, on the networks of the configuration.
        auto_anchor: Whether that happens by itself; else call `anchor()`.
        config: See `ProvenanceTracker`.
        mrv_id: Id of the record; by default `MRV-` and a random UUID.
        country: ISO 3166-1 alpha-3 code of the country whose electricity is used.
        emission_factor: Emissions of the electricity in g CO2e/kWh, instead of a country's mean.
        emission_factor_source: Who says so.
        pue: Power usage effectiveness of the data centre.
        interval_s: Time between two readings of the power.
        scope: `machine` counts everything that the machine uses, `process` this process and its children.
        provenance: The run that this is about; its root goes into the record.
        supersedes: The record that this one corrects.
        registry: Known drivers; by default those installed.
        job: Place of this process in a job of many. `auto` is what torchrun's variables say; None is none.

    Attributes:
        mrv_id: Id of the record, or in a job that of the job's record, which all ranks share.
        record: What this process measured, once that has ended.
        job_record: The sum of all ranks, in the one that found the records of all others: that is what is anchored.
        error: What went wrong in it last.

    Raises:
        ConfigurationError: a setting is wrong, or CodeCarbon knows no factor of the country.
        FormatError: a number or an id that cannot be.
    """

    def __init__(
        self,
        experiment_name: str,
        model_name: str = "Unknown",
        dataset_name: str = "Unknown",
        epochs: int | None = None,
        batch_size: int | None = None,
        framework: str | None = None,
        storage_dir: str | Path = "mrv_data",
        registry_url: str | None = None,
        blockchain_enabled: bool = True,
        auto_anchor: bool = True,
        *,
        config: Config | Mapping[str, Any] | str | Path | None = None,
        mrv_id: str | None = None,
        country: str | None = None,
        emission_factor: float | None = None,
        emission_factor_source: str | None = None,
        pue: float = 1.0,
        interval_s: float = 1.0,
        scope: Literal["machine", "process"] = "machine",
        provenance: ProvenanceTracker | None = None,
        supersedes: MrvRecord | None = None,
        registry: Registry | None = None,
        job: Job | Literal["auto"] | None = "auto",
    ) -> None:
        if registry_url is not None:
            RegistryClient(registry_url)  # before the training, that it can be used
        self.storage_dir = Path(storage_dir).absolute()  # wherever the training goes
        self._job = job_of(job, os.environ)
        given = None if mrv_id is None else check_mrv_id(mrv_id)
        if self._job is None:
            self.mrv_id = self._own_id = given or generate_mrv_id()
        else:
            self.mrv_id = job_mrv_id(self._job, os.environ, given, self.storage_dir)
            self._own_id = rank_mrv_id(self.mrv_id, self._job.rank)
        self.registry_url = registry_url
        self.blockchain_enabled = blockchain_enabled
        self.auto_anchor = auto_anchor
        self.start_time: float | None = None
        self.start_time_iso: str | None = None
        self.record: MrvRecord | None = None
        self.job_record: MrvRecord | None = None
        self.error: MrvError | None = None
        self._stated = Stated.of(
            {"experiment_name": experiment_name, "model_name": model_name, "dataset_name": dataset_name},
            {"epochs": epochs, "batch_size": batch_size, "framework": framework},
            country=country,
            emission_factor=emission_factor,
            emission_factor_source=emission_factor_source,
            pue=pue,
            supersedes=supersedes,
        )
        self._path = record_path(self.storage_dir, self._own_id)
        self._interval_s = check_interval(interval_s)
        if scope not in ("machine", "process"):
            raise ConfigurationError(f'scope is "machine" or "process", not {scope!r:.40}')
        self._scope = scope
        self._provenance = provenance
        self._manager = self._make_manager(config, registry) if blockchain_enabled else None
        self._process = os.getpid()
        self._start_ns = 0
        self._epochs: list[OpenEpoch] = []
        self._open_epoch: OpenEpoch | None = None
        self._metrics: dict[str, JsonValue] = {}
        self._sampler: Sampler | None = None
        self._surroundings = Surroundings()
        self._neighbours = Neighbours(self._own_id)
        self._anchoring: threading.Thread | None = None
        self._receipts: dict[str, Receipt] = {}
        self._changes = 0
        self._anchors = False
        self._draft = Draft(self._path, lambda: (self._changes, self._surroundings.so_far()[1]), self._so_far)

    # --- measuring ----------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Begin to measure, and return at once: the hardware is looked for meanwhile, and the record says how long.

        Raises:
            RunStateError: it was started before.
            StorageError: the folder cannot be written; nothing of the training has happened yet.
        """
        if self._sampler is not None:
            raise RunStateError(f"{self.mrv_id} was started before", hint="make a new tracker for each training")
        make_folder(self.storage_dir)
        for path in (record_path(self.storage_dir, self.mrv_id), self._path, samples_path(self._path)):
            if path.exists():
                what = "a record" if path.suffix == ".json" else "a file of samples"
                raise RunStateError(f"there is {what} {path}", hint="choose another mrv_id")
        _require_writable(self._path)
        self._process = os.getpid()
        self._sampler = Sampler(self._detect, self._open_samples, self._interval_s, self._draft.update)
        self.start_time = time.time()
        self._started_at = utc_now() if self._job is None else now_ms()
        self.start_time_iso = self._started_at.isoformat().replace("+00:00", "Z")
        self._start_ns = time.monotonic_ns()
        self._sampler.start(self._start_ns)
        self._surroundings.start()
        if self._scope == "machine" and (self._job is None or self._job.local_rank == 0):
            self._neighbours.start()
        atexit.register(self._at_exit)
        return self

    @contextmanager
    def epoch(self, epoch: int) -> Iterator[Self]:
        """Mark an epoch: its energy is told apart, and `log` inside belongs to it.

        Raises:
            RunStateError: not started, or in another epoch.
            FormatError: not a whole number from 0 on.
        """
        self._require_running()
        number = to_json_value(epoch)
        if type(number) is not int or number < 0:
            raise FormatError(f"an epoch is a whole number from 0 on, not {epoch!r:.80}")
        if self._open_epoch is not None:
            raise RunStateError(f"epoch {self._open_epoch.epoch} has not ended", hint="epochs follow each other")
        self._open_epoch = OpenEpoch(number, self._now_ms())
        try:
            yield self
        finally:
            self._open_epoch.end_ms = self._now_ms()
            self._epochs.append(self._open_epoch)
            self._open_epoch = None
            self._changes += 1

    def log(self, **metrics: Any) -> None:
        """Put metrics into the record: those of the epoch, inside one, else of the whole training.

        Numbers that are NaN or infinite are kept as `{"non_finite": ...}`.

        Raises:
            RunStateError: not started, or stopped.
            FormatError: a value that JSON, or a record, cannot carry; the message names it.
        """
        self._require_running()
        values = cast("dict[str, JsonValue]", to_json_value(metrics, non_finite=True))
        canonical_bytes({"epochs": [{"metrics": values}]})  # as deep as it will be in the record
        if self._open_epoch is not None:
            self._open_epoch.metrics.update(values)
        else:
            self._metrics.update(values)
            self._changes += 1

    def stop(self, interruption: str | None = None) -> MrvRecord | None:
        """End the measurement, write the record, and begin to anchor it; wait for no network.

        Args:
            interruption: Why the training ended too early, or None.

        Returns:
            The record; None in a process that was forked from the one that measures.

        Raises:
            RunStateError: not started.
            StorageError: the record could not be written, not even into the folder for temporary files.
        """
        if os.getpid() != self._process:
            return None  # a child of the training: the record is its parent's
        if self._sampler is None:
            raise RunStateError("the tracker was not started", hint="use it with 'with', or call start() first")
        if self.record is not None:
            return self.record
        duration_ms = self._now_ms()
        self._sampler.stop()
        record = self._build(self._measured(self._sampler, duration_ms), interruption)
        if len(record.to_bytes()) > MAX_RECORD_BYTES:  # nobody could read it: the energy is worth more
            self._keep(FormatError("the epochs and metrics are too large for a record, and were left out"))
            record = record.model_copy(update={"epochs": (), "metrics": {"left_out": "too large for a record"}})
        self._path = self._write(record)
        self.record = record
        self._draft.discard()
        atexit.unregister(self._at_exit)  # only now: until here another Ctrl-C leaves the record to it
        _logger.info("MRV record %s written to %s", self._own_id, self._path)
        if self._job is not None:
            self._sum_up(self._job)
        self._anchors = self.auto_anchor and self._manager is not None and not self._waits_for_batch
        if (self._anchors or self.registry_url) and (self._job is None or self.job_record is not None):
            self._start_anchoring()
        return self.record

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop. The training's exception goes on; one of ours is logged, and kept in `error`."""
        interruption = None if kind is None or _is_success(error) else kind.__name__
        try:
            self.stop(interruption)
        except Exception as failure:  # of whatever kind: the training has not failed
            self._keep(failure)

    def __call__(self, function: Callable[_P, _R]) -> Callable[_P, _R]:
        """Decorate a function: its one call is what is measured."""

        @functools.wraps(function)
        def measured(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            with self:
                return function(*args, **kwargs)

        return measured

    # --- anchoring ----------------------------------------------------------------------------------------------

    @property
    def record_path(self) -> Path:
        """Where the record is, or will be."""
        return self._path

    @property
    def mrv_hash(self) -> str | None:
        """Hash of the record that is anchored, hexadecimal; None before there is one.

        Raises:
            RunStateError: it is a job's, and another rank's process put it together.
        """
        return None if self.record is None else self._anchored()[0].hash.hex

    @property
    def manager(self) -> BlockchainManager:
        """Who anchors the record.

        Raises:
            ConfigurationError: anchoring is off.
        """
        if self._manager is None:
            raise ConfigurationError("anchoring is off", hint="leave out blockchain_enabled=False")
        return self._manager

    @property
    def receipts(self) -> dict[str, Receipt]:
        """Receipts by network; waits until the anchoring that was begun has ended, each network within its timeout."""
        if self._anchoring is not None:
            self._anchoring.join()
        return dict(self._receipts)

    @property
    def tx_hash(self) -> str | None:
        """Transaction id on the first Ethereum network, or else the first network that took it; waits as `receipts`.

        Raises:
            RunStateError: see `mrv_hash`.
        """
        if self.record is not None:
            self._anchored()
        receipts = sorted(self.receipts.values(), key=lambda receipt: receipt.driver != "ethereum")
        return receipts[0].reference if receipts else None

    def anchor(self, networks: Iterable[str] | None = None) -> dict[str, Receipt]:
        """Anchor the record now and wait for it; whatever does not go out stays in the journal, for `mrv flush`.

        Raises:
            RunStateError: there is no record yet, or see `mrv_hash`.
            ConfigurationError: anchoring is off, or a network is not configured.
            StorageError: nothing was sent because it could not be written down first.
        """
        record, path = self._anchored()
        with self._asking() as manager:
            outcomes = manager.anchor(record.hash, {"mrv_id": self.mrv_id}, networks)
        taken = {name: outcome.receipt for name, outcome in outcomes.items() if outcome.receipt is not None}
        self._receipts.update(taken)
        if self._receipts:
            held = RecordReceipts(mrv_id=self.mrv_id, commitment=record.hash, receipts=self._receipts)
            write_receipts(path, held)
        return taken

    def submit(self) -> None:
        """Submit the record to the registry at `registry_url`, with its samples and receipts, those of ranks included.

        Raises:
            RunStateError: there is no record yet, or see `mrv_hash`, or the registry does not take it.
            ConfigurationError: there is no `registry_url`.
            BackendError: the registry could not be asked; `mrv submit` does it later.
        """
        record, path = self._anchored()
        if self.registry_url is None:
            raise ConfigurationError("there is no registry to submit to", hint="give registry_url")
        if self._anchoring is not None and self._anchoring is not threading.current_thread():
            self._anchoring.join()
        with RegistryClient(self.registry_url) as client:
            for entry in () if record.ranks is None else record.ranks.entries:
                client.submit_record(record_path(self.storage_dir, entry.mrv_id))
            client.submit_record(path)

    def wait_until_final(
        self, timeout_s: float, *, progress: Callable[[list[JournalRow]], None] | None = None
    ) -> list[JournalRow]:
        """Look at the record's anchors again until they are final, and keep their evidence beside the record.

        Args:
            timeout_s: Longest wait.
            progress: Told after each look what is still open.

        Returns:
            What is still open.

        Raises:
            ConfigurationError: anchoring is off.
            StorageError: the journal or the receipts cannot be read or written.
        """
        with self._asking() as manager:
            left = manager.settle(timeout_s=timeout_s, progress=progress)
        collect_receipts(self._path.parent, manager.journal)
        record = self.record if self._job is None else self.job_record
        rows = manager.journal.rows(commitment=record.hash) if record is not None else []
        self._receipts.update({row.network: row.receipt for row in rows if row.receipt is not None})
        return [row for row in left if record is not None and row.commitment == record.hash]

    def verify_on_blockchain(self) -> RecordReport:
        """Check the record's file against the networks that hold it; see `mrv_core.mrv.verification.verify_record`.

        Raises:
            RunStateError: there is no record yet, or see `mrv_hash`.
            ConfigurationError: anchoring is off.
        """
        from mrv_core.mrv.verification import verify_record

        _record, path = self._anchored()
        with self._asking() as manager:
            return verify_record(path, manager=manager, mrv_id=self.mrv_id)

    @contextmanager
    def _asking(self) -> Iterator[BlockchainManager]:
        """Ask networks once what was begun has ended, and leave no connection open behind."""
        manager = self.manager
        if self._anchoring is not None and self._anchoring is not threading.current_thread():
            self._anchoring.join()
        try:
            yield manager
        finally:
            manager.close()

    def _anchored(self) -> tuple[MrvRecord, Path]:
        """Return the record that is anchored, and its file."""
        if self.record is None:
            raise RunStateError("there is no record yet", hint="call stop() first")
        if self._job is None:
            return self.record, self._path
        if self.job_record is None:
            raise RunStateError(
                f"rank {self._job.rank} did not put the record of the job together",
                hint="the last rank that ends does, if all others have; else see 'mrv mrv-job'",
            )
        return self.job_record, record_path(self.storage_dir, self.mrv_id)

    @property
    def _waits_for_batch(self) -> bool:
        return self._manager is not None and self._manager.config.storage_options.store_in_batches

    def _start_anchoring(self) -> None:
        """Anchor and submit in a thread that the end of the program waits for: each network has its timeout."""
        self._anchoring = threading.Thread(target=self._anchor_quietly, name="mrv-anchor", daemon=False)
        try:
            self._anchoring.start()
        except RuntimeError as error:  # no further thread, or the interpreter is ending
            self._anchoring = None
            _logger.warning("MRV record %s is not anchored: %s", self.mrv_id, error)

    def _anchor_quietly(self) -> None:
        for step in ([self.anchor] if self._anchors else []) + ([self.submit] if self.registry_url else []):
            try:
                step()
            except Exception as error:
                self._keep(error)

    def _make_manager(self, config: Any, registry: Registry | None) -> BlockchainManager | None:
        known = registry or Registry.load()
        found = find_config() if config is None else config
        loaded = found if isinstance(found, Config) else load_config(found, registry=known)
        return BlockchainManager(loaded, base_dir=self.storage_dir, registry=known) if loaded.enabled else None

    # --- the record ---------------------------------------------------------------------------------------------

    def _detect(self) -> meters.Detected:
        return detect_share(self._job, self._scope)

    def _open_samples(self, components: Iterable[Component]) -> SampleWriter:
        return SampleWriter(samples_path(self._path), tuple(components))

    def _measured(self, sampler: Sampler, duration_ms: int) -> Measured:
        """Return what is known at the end."""
        concurrent = self._neighbours.stop()
        samples, problem = self._read_samples(sampler)
        if problem is not None:
            problem = problem.replace(f"{self._path.parent}{os.sep}", "")  # a record names no folder of the machine
        environment, hardware = self._surroundings.result()
        return Measured(
            duration_ms=duration_ms,
            energy=energy_of(sampler, samples, problem),
            gaps=gaps_of(sampler, samples, problem, duration_ms),
            samples=samples,
            concurrent=concurrent,
            environment=environment,
            hardware=hardware,
            provenance=self._provenance_link(),
        )

    def _so_far(self) -> MrvRecord:
        """Build the draft, in the sampler's thread: what only the end can tell is left open."""
        assert self._sampler is not None  # noqa: S101 - it is the one that asks
        environment, hardware = self._surroundings.so_far()
        anchored = self._provenance is not None and self._provenance.anchors
        measured = Measured(
            duration_ms=self._now_ms(),
            energy=declared_energy(self._sampler),
            gaps=(),
            samples=None,
            concurrent=self._neighbours.so_far(),
            environment=environment,
            hardware=hardware,
            provenance=self._provenance_link() if anchored else None,  # another root would be taken from under the run
        )
        return self._build(measured, KILLED)

    def _build(self, measured: Measured, interruption: str | None) -> MrvRecord:
        assert self._sampler is not None  # noqa: S101 - it was started
        detected = self._sampler.detected
        return MrvRecord(
            mrv_id=self._own_id,
            status=Status.COMPLETED if interruption is None else Status.INTERRUPTED,
            interruption=None if interruption is None else _text(interruption),
            experiment=self._stated.experiment,
            training=self._stated.training,
            hardware=measured.hardware,
            timestamps=Timestamps(
                start_time=self._started_at,
                end_time=self._started_at + timedelta(seconds=measured.duration_ms // 1000),
                duration_ms=measured.duration_ms,
            ),
            measurement=Measurement(
                measurement_tool=meters.TOOL,
                tool_version=detected.tool_version,
                scope=self._scope,
                interval_ms=round(self._interval_s * 1000),
                tolerance_permille=TOLERANCE_PERMILLE,
                settings=dict(detected.settings),
                gaps=measured.gaps,
                concurrent=measured.concurrent,
            ),
            energy=measured.energy,
            emissions=Emissions(
                co2e_mg=units.co2e_mg(
                    measured.energy.total_uwh, value_of(self._stated.factor), self._stated.pue_permille
                ),
                pue_permille=self._stated.pue_permille,
                factor=self._stated.factor,
            ),
            epochs=tuple(epoch_of(each, measured.samples) for each in tuple(self._epochs)),
            metrics=dict(self._metrics),
            samples=None if measured.samples is None else measured.samples.summary(),
            job=None if self._job is None else self._job.place(self.mrv_id),
            ranks=None,
            environment=measured.environment,
            provenance=measured.provenance,
            supersedes=self._stated.supersedes,
        )

    def _read_samples(self, sampler: Sampler) -> tuple[SampleFile | None, str | None]:
        """Read the samples back, or say why there are none."""
        path = samples_path(self._path)
        if not path.exists():
            return None, sampler.problem or "no sample was taken"
        try:
            return read_samples(path), sampler.problem
        except MrvError as error:
            return None, sampler.problem or error.message

    def _provenance_link(self) -> Provenance | None:
        if self._provenance is None:
            return None
        run = self._provenance
        phase = "after_training" if run.anchors else "snapshot"
        root = run.anchors[-1].file.root if run.anchors else run.tree.root(phase)
        return Provenance(run_id=run.run_id, root=root)

    def _write(self, record: MrvRecord) -> Path:
        try:
            write_atomic(self._path, record.to_bytes())
        except StorageError as error:
            _logger.warning("%s", error)
        else:
            return self._path
        # The training is done: its record is worth more than its place.
        elsewhere = record_path(Path(tempfile.mkdtemp(prefix="mrv-")), self._own_id)
        write_atomic(elsewhere, record.to_bytes())
        _logger.warning("MRV record %s is in %s instead", self._own_id, elsewhere)
        return elsewhere

    def _sum_up(self, job: Job) -> None:
        """Write the record of the job where this was the last of its ranks; a failure is kept, as the rank is done."""
        try:
            self.job_record = write_job_record(self.storage_dir, self.mrv_id, job.world_size)
        except Exception as error:
            self._keep(error)

    def _at_exit(self) -> None:
        """The program ends, and nobody called `stop`."""
        try:
            self.auto_anchor = False  # no thread can be started any more; `mrv anchor` does it
            self.stop(_FORGOTTEN)
        except Exception as error:
            self._keep(error)

    def _keep(self, failure: Exception) -> None:
        """Log a failure of ours, and keep it in `error`."""
        self.error = failure if isinstance(failure, MrvError) else MrvError(f"{type(failure).__name__}: {failure}")
        _logger.error("MRV record %s: %s", self.mrv_id, self.error)
        _logger.debug("MRV record %s", self.mrv_id, exc_info=failure)

    def _require_running(self) -> None:
        if self._sampler is None or self.record is not None:
            raise RunStateError("the tracker is not measuring", hint="call it between start() and stop()")

    def _now_ms(self) -> int:
        return (time.monotonic_ns() - self._start_ns) // 1_000_000


def _text(value: str) -> str:
    """Return a text as a record can carry it."""
    return value.encode("utf-8", "backslashreplace").decode()[:_MAX_TEXT]


def _is_success(error: BaseException | None) -> bool:
    return isinstance(error, SystemExit) and error.code in (None, 0)


def _require_writable(path: Path) -> None:
    """Find out before the training whether the record can be written after it."""
    write_atomic(path.with_name(f".{path.name}.try"), b"")
    path.with_name(f".{path.name}.try").unlink()
