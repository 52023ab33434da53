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
from mrv_core.mrv.factor import country_factor, stated_factor
from mrv_core.mrv.record import (
    MAX_RECORD_BYTES,
    Component,
    Emissions,
    Experiment,
    Factor,
    Measurement,
    MrvRecord,
    Provenance,
    Status,
    Supersedes,
    Timestamps,
    Training,
    check_mrv_id,
    generate_mrv_id,
)
from mrv_core.mrv.sampler import Sampler
from mrv_core.mrv.samples import SampleFile, SampleWriter, read_samples
from mrv_core.mrv.storage import RecordReceipts, collect_receipts, record_path, samples_path, write_receipts
from mrv_core.mrv.summary import OpenEpoch, energy_of, epoch_of, gaps_of
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
_MIN_INTERVAL_S: Final = 0.01
_MAX_PUE: Final = 100
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
        registry_url: Reserved for a registry of records; this version has none.
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
    ) -> None:
        if registry_url is not None:
            raise ConfigurationError("this version has no registry of records", hint="leave out registry_url")
        self.mrv_id = generate_mrv_id() if mrv_id is None else check_mrv_id(mrv_id)
        self.storage_dir = Path(storage_dir).absolute()  # wherever the training goes
        self.registry_url = registry_url
        self.blockchain_enabled = blockchain_enabled
        self.auto_anchor = auto_anchor
        self.start_time: float | None = None
        self.start_time_iso: str | None = None
        self.record: MrvRecord | None = None
        self.mrv_hash: str | None = None
        self.error: MrvError | None = None
        self._experiment = Experiment.from_json(
            {"experiment_name": experiment_name, "model_name": model_name, "dataset_name": dataset_name},
            what="the experiment",
        )
        self._training = Training.from_json(
            {"epochs": epochs, "batch_size": batch_size, "framework": framework}, what="the training"
        )
        self._path = record_path(self.storage_dir, self.mrv_id)
        self._factor = _factor(country, emission_factor, emission_factor_source)
        self._pue_permille = units.to_base(pue, units.PERMILLE, "the PUE")
        if not units.PERMILLE <= self._pue_permille <= _MAX_PUE * units.PERMILLE:
            raise ConfigurationError(
                f"a PUE is 1 or more, and {_MAX_PUE} at most, not {pue}", hint="it is total power over computing power"
            )
        if not _MIN_INTERVAL_S <= interval_s <= 3600:
            raise ConfigurationError(f"interval_s is {_MIN_INTERVAL_S} to 3600 seconds, not {interval_s}")
        if scope not in ("machine", "process"):
            raise ConfigurationError(f'scope is "machine" or "process", not {scope!r:.40}')
        self._interval_s = interval_s
        self._scope = scope
        self._provenance = provenance
        self._supersedes = None if supersedes is None else Supersedes(mrv_id=supersedes.mrv_id, hash=supersedes.hash)
        self._manager = self._make_manager(config, registry) if blockchain_enabled else None
        self._process = os.getpid()
        self._start_ns = 0
        self._epochs: list[OpenEpoch] = []
        self._open_epoch: OpenEpoch | None = None
        self._metrics: dict[str, JsonValue] = {}
        self._sampler: Sampler | None = None
        self._surroundings = Surroundings()
        self._anchoring: threading.Thread | None = None
        self._receipts: dict[str, Receipt] = {}

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
        for what, path in (("a record", self._path), ("a file of samples", samples_path(self._path))):
            if path.exists():
                raise RunStateError(f"there is {what} {path}", hint="choose another mrv_id")
        _require_writable(self._path)
        self._process = os.getpid()
        self._sampler = Sampler(self._detect, self._open_samples, self._interval_s)
        self.start_time = time.time()
        self._started_at = utc_now()
        self.start_time_iso = self._started_at.isoformat().replace("+00:00", "Z")
        self._start_ns = time.monotonic_ns()
        self._sampler.start(self._start_ns)
        self._surroundings.start()
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
        (self._metrics if self._open_epoch is None else self._open_epoch.metrics).update(values)

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
        record = self._build(duration_ms, None if interruption is None else _text(interruption))
        if len(record.to_bytes()) > MAX_RECORD_BYTES:  # nobody could read it: the energy is worth more
            self._keep(FormatError("the epochs and metrics are too large for a record, and were left out"))
            record = record.model_copy(update={"epochs": (), "metrics": {"left_out": "too large for a record"}})
        self._path = self._write(record)
        self.record, self.mrv_hash = record, record.hash.hex
        atexit.unregister(self._at_exit)  # only now: until here another Ctrl-C leaves the record to it
        _logger.info("MRV record %s written to %s", self.mrv_id, self._path)
        if self.auto_anchor and self._manager is not None and not self._waits_for_batch:
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
        """Transaction id on the first Ethereum network, or else the first network that took it; waits as `receipts`."""
        receipts = sorted(self.receipts.values(), key=lambda receipt: receipt.driver != "ethereum")
        return receipts[0].reference if receipts else None

    def anchor(self, networks: Iterable[str] | None = None) -> dict[str, Receipt]:
        """Anchor the record now and wait for it; whatever does not go out stays in the journal, for `mrv flush`.

        Raises:
            RunStateError: there is no record yet.
            ConfigurationError: anchoring is off, or a network is not configured.
            StorageError: nothing was sent because it could not be written down first.
        """
        if self.record is None:
            raise RunStateError("there is no record yet", hint="call stop() first")
        manager = self.manager
        if self._anchoring is not None and self._anchoring is not threading.current_thread():
            self._anchoring.join()
        outcomes = manager.anchor(self.record.hash, {"mrv_id": self.mrv_id}, networks)
        taken = {name: outcome.receipt for name, outcome in outcomes.items() if outcome.receipt is not None}
        self._receipts.update(taken)
        if self._receipts:
            held = RecordReceipts(mrv_id=self.mrv_id, commitment=self.record.hash, receipts=self._receipts)
            write_receipts(self._path, held)
        return taken

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
        manager = self.manager
        if self._anchoring is not None:
            self._anchoring.join()
        left = manager.settle(timeout_s=timeout_s, progress=progress)
        collect_receipts(self._path.parent, manager.journal)
        rows = manager.journal.rows(commitment=self.record.hash) if self.record is not None else []
        self._receipts.update({row.network: row.receipt for row in rows if row.receipt is not None})
        return [row for row in left if self.record is not None and row.commitment == self.record.hash]

    def verify_on_blockchain(self) -> RecordReport:
        """Check the record's file against the networks that hold it; see `mrv_core.mrv.verification.verify_record`.

        Raises:
            RunStateError: there is no record yet.
            ConfigurationError: anchoring is off.
        """
        from mrv_core.mrv.verification import verify_record

        if self.record is None:
            raise RunStateError("there is no record yet", hint="call stop() first")
        manager = self.manager
        if self._anchoring is not None:
            self._anchoring.join()
        try:
            return verify_record(self._path, manager=manager, mrv_id=self.mrv_id)
        finally:
            manager.close()

    @property
    def _waits_for_batch(self) -> bool:
        return self._manager is not None and self._manager.config.storage_options.store_in_batches

    def _start_anchoring(self) -> None:
        """Anchor in a thread that the end of the program waits for: each network has its timeout."""
        self._anchoring = threading.Thread(target=self._anchor_quietly, name="mrv-anchor", daemon=False)
        try:
            self._anchoring.start()
        except RuntimeError as error:  # no further thread, or the interpreter is ending
            self._anchoring = None
            _logger.warning("MRV record %s is not anchored: %s", self.mrv_id, error)

    def _anchor_quietly(self) -> None:
        try:
            self.anchor()
        except Exception as error:
            self._keep(error)
        finally:
            if self._manager is not None:
                self._manager.close()  # a training is left without connections; what asks later opens its own

    def _make_manager(self, config: Any, registry: Registry | None) -> BlockchainManager | None:
        known = registry or Registry.load()
        found = find_config() if config is None else config
        loaded = found if isinstance(found, Config) else load_config(found, registry=known)
        return BlockchainManager(loaded, base_dir=self.storage_dir, registry=known) if loaded.enabled else None

    # --- the record ---------------------------------------------------------------------------------------------

    def _detect(self) -> meters.Detected:
        return meters.detect(self._scope)

    def _open_samples(self, components: Iterable[Component]) -> SampleWriter:
        return SampleWriter(samples_path(self._path), tuple(components))

    def _build(self, duration_ms: int, interruption: str | None) -> MrvRecord:
        sampler = self._sampler
        assert sampler is not None  # noqa: S101 - `stop` has checked it
        samples, problem = self._read_samples(sampler)
        if problem is not None:
            problem = problem.replace(f"{self._path.parent}{os.sep}", "")  # a record names no folder of the machine
        energy = energy_of(sampler, samples, problem)
        total = energy.total_uwh
        environment, hardware = self._surroundings.result()
        factor = self._factor
        known = total is not None and factor is not None
        return MrvRecord(
            mrv_id=self.mrv_id,
            status=Status.COMPLETED if interruption is None else Status.INTERRUPTED,
            interruption=interruption,
            experiment=self._experiment,
            training=self._training,
            hardware=hardware,
            timestamps=Timestamps(
                start_time=self._started_at,
                end_time=self._started_at + timedelta(seconds=duration_ms // 1000),
                duration_ms=duration_ms,
            ),
            measurement=Measurement(
                measurement_tool=meters.TOOL,
                tool_version=sampler.detected.tool_version,
                scope=self._scope,
                interval_ms=round(self._interval_s * 1000),
                tolerance_permille=TOLERANCE_PERMILLE,
                settings=dict(sampler.detected.settings),
                gaps=gaps_of(sampler, samples, problem, duration_ms),
            ),
            energy=energy,
            emissions=Emissions(
                co2e_mg=units.co2e_mg(total, factor.value, self._pue_permille) if known else None,  # type: ignore[arg-type, union-attr]
                pue_permille=self._pue_permille,
                factor=factor,
            ),
            epochs=tuple(epoch_of(each, samples) for each in self._epochs),
            metrics=self._metrics,
            samples=None if samples is None else samples.summary(),
            environment=environment,
            provenance=self._provenance_link(),
            supersedes=self._supersedes,
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
        elsewhere = record_path(Path(tempfile.mkdtemp(prefix="mrv-")), self.mrv_id)
        write_atomic(elsewhere, record.to_bytes())
        _logger.warning("MRV record %s is in %s instead", self.mrv_id, elsewhere)
        return elsewhere

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


def _factor(country: str | None, grams_per_kwh: float | None, source: str | None) -> Factor | None:
    if country is not None and grams_per_kwh is not None:
        raise ConfigurationError("country and emission_factor are both given", hint="the factor alone is enough")
    if country is not None:
        return country_factor(country)
    return None if grams_per_kwh is None else stated_factor(grams_per_kwh, source)


def _text(value: str) -> str:
    """Return a text as a record can carry it."""
    return value.encode("utf-8", "backslashreplace").decode()[:_MAX_TEXT]


def _is_success(error: BaseException | None) -> bool:
    return isinstance(error, SystemExit) and error.code in (None, 0)


def _require_writable(path: Path) -> None:
    """Find out before the training whether the record can be written after it."""
    write_atomic(path.with_name(f".{path.name}.try"), b"")
    path.with_name(f".{path.name}.try").unlink()
