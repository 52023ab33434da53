# SPDX-License-Identifier: MIT
"""BlockchainManager: anchors one commitment on several networks at once, and asks them about it later.

Everything that is the same for all networks is here and nowhere else: the journal, retries, deadlines,
concurrency, logging. A network that fails or hangs neither loses its anchor nor delays the others.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar, cast

from mrv_core.anchoring import Anchoring
from mrv_core.config import Config, load_config
from mrv_core.driver import AnchorDriver, DriverContext, Registered, RegisteringDriver
from mrv_core.errors import (
    BackendError,
    FormatError,
    MrvError,
    StorageError,
    VerificationError,
)
from mrv_core.failpoint import failpoint
from mrv_core.hashing import Digest
from mrv_core.journal import Journal, JournalRow, JournalState
from mrv_core.models import NO_METADATA, DriverStatus, Metadata, Receipt, VerifiedAnchor
from mrv_core.pipeline import GROUP_SIZE, Pipeline
from mrv_core.registry import Registry
from mrv_core.tasks import Patience, Worker

_logger = logging.getLogger(__name__)
_T = TypeVar("_T")

_UNSENT = (JournalState.QUEUED, JournalState.PREPARED)
_FIRST_LOOK_S, _LONGEST_LOOK_S = 0.25, 15.0
"""Seconds between two looks at what waits: a development chain is done at once, a public one takes minutes."""
STORES_FOLDER = "networks"
"""Folder below the artifacts folder where embedded networks keep themselves, one folder a network."""


@dataclass(frozen=True, slots=True)
class AnchorOutcome:
    """What became of one anchor on one network.

    Attributes:
        network: Configured name.
        receipt: The receipt, where the network took it.
        error: Why it did not go out, or why it is not known how far it has come. What was not rejected stays in the
            journal and goes out with the next flush.
    """

    network: str
    receipt: Receipt | None
    error: MrvError | None


def parse_commitment(value: Digest | str) -> Digest:
    """Read a commitment: a digest, its text, or 64 bare hexadecimal digits, which mean SHA-256.

    Raises:
        FormatError: anything else.
    """
    if isinstance(value, Digest):
        return value
    text = str(value)
    return Digest.parse(text if ":" in text else f"sha256:{text.removeprefix('0x').lower()}")


class BlockchainManager:
    """Anchors commitments on the configured networks and verifies them there. Thread-safe.

    Args:
        config: A configuration, or whatever `load_config` reads.
        base_dir: Artifacts folder: the journal and the embedded networks live in it.
        registry: Known drivers; by default those installed.
        sleep: Called between retries with seconds.
        clock: Monotonic seconds, for deadlines.
    """

    def __init__(
        self,
        config: Config | Mapping[str, Any] | str | Path | None = None,
        *,
        base_dir: str | Path = "artifacts",
        registry: Registry | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry or Registry.load()
        self.config = config if isinstance(config, Config) else load_config(config, registry=self._registry)
        self.base_dir = Path(base_dir)
        self.journal = Journal(self.base_dir)
        self._sleep = sleep
        self._clock = clock
        self._drivers: dict[str, AnchorDriver] = {}
        self._driver_locks = {name: threading.Lock() for name in self.config.networks}
        self._current = threading.local()
        self._background: threading.Thread | None = None
        self._unsent: set[str] = set()
        self._lock = threading.Lock()

    # --- the seeds' three methods -------------------------------------------------------------------------------

    def store_merkle_hash(
        self, merkle_root_hash: Digest | str, metadata: Metadata = NO_METADATA, networks: Iterable[str] | None = None
    ) -> dict[str, str]:
        """Anchor a root and return network → transaction id for the networks that took it.

        A network that is not in the result has its anchor in the journal, to go out with `flush()`.

        Args:
            merkle_root_hash: Digest, digest text, or 64 hexadecimal digits (SHA-256).
            metadata: Public facts sent along; never content.
            networks: Names of networks; by default the selected ones.

        Raises:
            FormatError: not a digest.
            ConfigurationError: a network that is not configured.
            StorageError: the journal could not be written; nothing was sent.
        """
        outcomes = self.anchor(parse_commitment(merkle_root_hash), metadata, networks)
        return {name: outcome.receipt.reference for name, outcome in outcomes.items() if outcome.receipt is not None}

    def verify_merkle_hash(
        self, merkle_root_hash: Digest | str, transaction_ids: Mapping[str, str]
    ) -> dict[str, VerifiedAnchor | MrvError]:
        """Check a root on each network by its bare transaction id.

        Returns:
            Network → the checked anchor, or the error that says whether it is wrong (`VerificationError`), not
            there (`AnchorNotFoundError`) or could not be checked (`BackendError`).

        Raises:
            FormatError: not a digest.
            ConfigurationError: a network that is not configured.
        """
        commitment = parse_commitment(merkle_root_hash)

        def check(network: str) -> VerifiedAnchor:
            receipt = self._call(network, lambda: self.driver(network).lookup(transaction_ids[network]))
            return self._verify(network, receipt, commitment)

        return self.parallel(transaction_ids, check)

    def get_transaction_info(self, transaction_ids: Mapping[str, str]) -> dict[str, Receipt | MrvError]:
        """Return network → receipt found by its bare transaction id, or the error that says why there is none.

        Raises:
            ConfigurationError: a network that is not configured.
        """

        def find(network: str) -> Receipt:
            return self._call(network, lambda: self.driver(network).lookup(transaction_ids[network]))

        return self.parallel(transaction_ids, find)

    # --- anchoring ----------------------------------------------------------------------------------------------

    def anchor(
        self, commitment: Digest, metadata: Metadata = NO_METADATA, networks: Iterable[str] | None = None
    ) -> dict[str, AnchorOutcome]:
        """Anchor a commitment on several networks at once; every intention is in the journal before anything is sent.

        Each network gets its own timeout, older anchors that wait for the same network included.

        Raises:
            ConfigurationError: a network that is not configured.
            FormatError: metadata that JSON cannot carry.
            StorageError: the journal could not be written; nothing was sent.
        """
        names = self.config.require_networks(networks)
        failpoint("anchor.before_queue")
        for name in names:
            self.journal.enqueue(commitment, name, metadata)
        failpoint("anchor.queued")
        results = self._work_off_all(names, restart=False)
        return {name: self._outcome(commitment, name, result) for name, result in results.items()}

    def anchor_many(
        self, commitments: Sequence[Digest], metadata: Metadata = NO_METADATA, networks: Iterable[str] | None = None
    ) -> dict[str, list[AnchorOutcome]]:
        """Anchor each of many commitments, with an anchor of its own, in far less time than one by one.

        For one anchor for all of them see `mrv_core.batching`.

        Args:
            commitments: Each once.
            metadata: Public facts sent along with each.
            networks: Names of networks; by default the selected ones.

        Returns:
            Network → what became of each commitment, in their order.

        Raises:
            ConfigurationError, FormatError, StorageError: as of `anchor`.
        """
        names = self.config.require_networks(networks)
        for name in names:
            self.journal.enqueue_many(commitments, name, metadata)
        wanted = frozenset(commitments)
        results = self._work_off_all(names, restart=True, only=wanted)
        return {
            name: [self._outcome(commitment, name, result) for commitment in commitments]
            for name, result in results.items()
        }

    def anchor_in_background(
        self, commitment: Digest, metadata: Metadata = NO_METADATA, networks: Iterable[str] | None = None
    ) -> None:
        """Write a commitment into the journal and send it from another thread, without waiting for any network.

        The thread is a daemon: what it has not sent when the process ends stays in the journal.

        Raises:
            ConfigurationError: a network that is not configured.
            FormatError: metadata that JSON cannot carry.
            StorageError: the journal could not be written; nothing will be sent.
        """
        names = self.config.require_networks(networks)
        for name in names:
            self.journal.enqueue(commitment, name, metadata)
        with self._lock:
            self._unsent.update(names)
            if self._background is None or not self._background.is_alive():
                self._background = self._start_background()

    def _start_background(self) -> threading.Thread | None:
        thread = threading.Thread(target=self._send_unsent, name="mrv-background", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no further thread allowed; the next one, or a flush, sends it
            _logger.warning("anchoring in the background: %s", error)
            return None
        return thread

    def _send_unsent(self) -> None:
        while names := self._take_unsent():
            try:
                self.flush(names)
            except MrvError as error:
                _logger.warning("anchoring in the background: %s", error)

    def _take_unsent(self) -> set[str]:
        with self._lock:
            names, self._unsent = self._unsent, set()
            if not names:
                self._background = None  # decided under the lock, so that nothing is added to a thread that ends
            return names

    def wait_for_background(self) -> None:
        """Wait until everything sent with `anchor_in_background` has gone out or has failed within its timeout."""
        thread = self._background
        if thread is not None:
            thread.join()

    def flush(self, networks: Iterable[str] | None = None) -> list[JournalRow]:
        """Send what is queued, look again at what is not final, and return the rows that are still open.

        Each row gets its network's whole timeout, as long as the network answers. Rows of a network that is not
        configured any more are left as they are and returned.

        Raises:
            ConfigurationError: a network that is not configured.
            StorageError: the journal cannot be read; what could be sent has been sent.
        """
        self._work_off_all(self.config.networks if networks is None else networks, restart=True)
        return self.journal.rows(only_open=True)

    def settle(
        self,
        networks: Iterable[str] | None = None,
        *,
        timeout_s: float,
        progress: Callable[[list[JournalRow]], None] | None = None,
    ) -> list[JournalRow]:
        """Flush again and again until nothing waits for a network any more; return the rows that are still open.

        What a network refuses or does not answer is left for a later flush: only anchors that it has are waited for.

        Args:
            networks: Names of networks; by default all configured ones.
            timeout_s: Longest wait in all.
            progress: Called after each look with the rows that are still open.

        Raises:
            ConfigurationError, StorageError: as of `flush`.
        """
        names = None if networks is None else self.config.require_networks(networks)
        ends, delay = self._clock() + timeout_s, _FIRST_LOOK_S
        while True:
            rows = [row for row in self.flush(names) if names is None or row.network in names]
            if progress is not None:
                progress(rows)
            waiting = any(row.receipt is not None and row.network in self.config.networks for row in rows)
            if not waiting or self._clock() + delay > ends:
                return rows
            self._sleep(delay)
            delay = min(1.5 * delay, _LONGEST_LOOK_S)

    def _work_off_all(
        self, networks: Iterable[str], *, restart: bool, only: Collection[Digest] | None = None
    ) -> dict[str, dict[int, MrvError] | MrvError]:
        results = self.parallel(networks, lambda network: self._work_off(network, restart, only))
        for name, result in results.items():
            if isinstance(result, MrvError):
                _logger.warning("%s: %s", name, result)
        return results

    def _outcome(self, commitment: Digest, network: str, result: dict[int, MrvError] | MrvError) -> AnchorOutcome:
        try:
            row = self.journal.find(commitment, network)
        except StorageError as error:
            return AnchorOutcome(network, None, result if isinstance(result, MrvError) else error)
        if row.state is JournalState.FINAL:
            return AnchorOutcome(network, row.receipt, None)
        if isinstance(result, MrvError):
            return AnchorOutcome(network, row.receipt, result)
        halted_by = next(reversed(result.values()), None) if row.state in _UNSENT else None
        return AnchorOutcome(network, row.receipt, result.get(row.id, halted_by))

    def _work_off(self, network: str, restart: bool, only: Collection[Digest] | None) -> dict[int, MrvError]:
        """Bring open rows of a network as far as they go, oldest first; return what failed, by row number.

        The order matters: bytes that were prepared before a crash, or dropped by a reorg, go out before anything new
        is prepared, so a driver that reads the next nonce from its chain never uses one twice.

        Args:
            network: Configured name.
            restart: Give each row the whole timeout, instead of one timeout to all of them.
            only: Look again only at these of what the network has already; at all of it by default.
        """
        failures: dict[int, MrvError] = {}
        if not self.journal.has_open(network):
            return failures
        patience = self._patience(network)
        anchoring = self.anchoring(network)
        with self.journal.exclusive(network, max(0.0, patience.left_s)), self.journal.kept_open():
            rows = self._open_rows(network, only)
            begun = [row for row in rows if row.state is not JournalState.QUEUED]
            if self._advance_all(anchoring, begun, patience, restart, failures):
                queued = [row for row in rows if row.state is JournalState.QUEUED]
                left = self._send_in_groups(network, queued, patience, restart)
                self._advance_all(anchoring, left, patience, restart, failures)
        return failures

    def _open_rows(self, network: str, only: Collection[Digest] | None) -> list[JournalRow]:
        rows = self.journal.rows(network=network, only_open=True)
        return rows if only is None else [row for row in rows if row.receipt is None or row.commitment in only]

    def _advance_all(
        self,
        anchoring: Anchoring,
        rows: Iterable[JournalRow],
        patience: Patience,
        restart: bool,
        failures: dict[int, MrvError],
    ) -> bool:
        """Bring rows as far as they go, one after another; tell whether those behind them may go on."""
        for row in rows:
            if restart:
                patience.restart()
            if patience.left_s <= 0:
                failures[row.id] = patience.expired()
                return False
            try:
                anchoring.advance(row)
            except MrvError as error:
                failures[row.id] = error
                if anchoring.holds_up(row, error):
                    return False
        return True

    def _send_in_groups(
        self, network: str, queued: list[JournalRow], patience: Patience, restart: bool
    ) -> list[JournalRow]:
        """Send queued rows in groups where the driver can, and return those that still have to be sent one by one."""
        driver = self.driver(network)
        if len(queued) < 2 or not driver.capabilities.pipelines:
            return queued
        pipeline = Pipeline(driver, self.journal, partial(self._call, network))
        for start in range(0, len(queued), GROUP_SIZE):
            if restart:
                patience.restart()
            try:
                if not pipeline.send(queued[start : start + GROUP_SIZE]):
                    break
            except MrvError as error:  # each row by itself finds out what it means for it
                _logger.info("%s: a group of anchors got no further: %s", network, error)
                break
        rows = self.journal.rows(network=network, ids=[row.id for row in queued])
        left = [row for row in rows if row.is_open and row.receipt is None]
        return sorted(left, key=lambda row: row.state is JournalState.QUEUED)  # what is prepared goes out first

    def anchoring(self, network: str) -> Anchoring:
        """Return what works on a network's rows, with the network's whole timeout ahead in a task of `parallel`.

        Whoever changes rows with it holds the network's lock (`Journal.exclusive`).

        Raises:
            ConfigurationError: not configured, or its extra is not installed.
        """
        self._patience(network).restart()
        return Anchoring(self.driver(network), self.journal, partial(self._call, network))

    # --- asking -------------------------------------------------------------------------------------------------

    def verify_receipt(self, network: str, receipt: Receipt, commitment: Digest) -> VerifiedAnchor:
        """Check one receipt on its network.

        Raises:
            VerificationError: it is wrong.
            AnchorNotFoundError: the network does not have it.
            BackendError: it could not be checked.
        """
        self._patience(network).restart()
        return self._verify(network, receipt, commitment)

    def _verify(self, network: str, receipt: Receipt, commitment: Digest) -> VerifiedAnchor:
        try:
            verified = self._call(network, lambda: self.driver(network).verify(receipt, commitment))
        except FormatError as error:
            raise VerificationError(f"{network}: malformed receipt: {error.message}") from error
        if (verified.network, verified.commitment, verified.reference) != (network, commitment, receipt.reference):
            raise VerificationError(f"{network}: the driver checked something else than what was asked")
        return verified

    def find_registered(self, mrv_id: str, commitment: Digest) -> dict[str, Registered | MrvError]:
        """Ask those of the selected networks that keep records by their id what they have under one.

        Args:
            mrv_id: The id.
            commitment: Hash of the record that it should be.

        Returns:
            Network → what is registered there, or the error that says why it could not be asked.
        """

        def ask(network: str) -> Registered:
            registering = cast("RegisteringDriver", self.driver(network))
            return self._call(network, lambda: registering.find_registered(mrv_id, commitment))

        return self.parallel([name for name in self.config.require_networks(None) if self._registers(name)], ask)

    def _registers(self, network: str) -> bool:
        """Tell whether a network keeps records by their id, or would if its driver could be built."""
        try:
            return self.driver(network).capabilities.registers
        except MrvError:
            return self.config.networks[network].settings.names_registry

    def status(self, networks: Iterable[str] | None = None) -> dict[str, DriverStatus | MrvError]:
        """Ask networks whether they can be used now, by default every configured one.

        Raises:
            ConfigurationError: a network that is not configured.
        """
        names = self.config.networks if networks is None else networks
        return self.parallel(names, lambda name: self._call(name, lambda: self.driver(name).status()))

    def driver(self, network: str) -> AnchorDriver:
        """Return the driver of a configured network, building it the first time.

        Raises:
            ConfigurationError: not configured, or its extra is not installed.
        """
        self.config.require_networks([network])
        with self._driver_locks[network]:  # one a network: loading a library for one must not delay the others
            if network not in self._drivers:
                section = self.config.networks[network]
                context = DriverContext(network, section.settings, self.base_dir / STORES_FOLDER / network)
                self._drivers[network] = _shielded(
                    section.driver, network, lambda: self._registry.create(section.driver, context)
                )
            return self._drivers[network]

    def parallel(self, networks: Iterable[str], task: Callable[[str], _T]) -> dict[str, _T | MrvError]:
        """Run a task for several networks at once, each within its own timeout.

        A task that outlives its timeout goes on in a daemon thread and counts as unreachable; whatever it still
        achieves is in the journal. Errors of ours are returned, everything else is raised.

        Raises:
            ConfigurationError: a network that is not configured.
        """
        workers: dict[str, Worker[_T]] = {}
        for name in self.config.require_networks(networks):
            patience = self._new_patience(name)
            workers[name] = Worker(partial(self._run, task, patience), patience)
            workers[name].start()
        return {name: worker.result() for name, worker in workers.items()}

    def _run(self, task: Callable[[str], _T], patience: Patience) -> _T:
        self._current.patience = patience
        return task(patience.network)

    def _new_patience(self, network: str) -> Patience:
        return Patience(network, self.config.networks[network].settings, self._sleep, self._clock)

    def _patience(self, network: str) -> Patience:
        """Return the patience of this thread's task, or a new one outside `parallel`."""
        patience: Patience | None = getattr(self._current, "patience", None)
        return patience if patience is not None and patience.network == network else self._new_patience(network)

    def _call(self, network: str, call: Callable[[], _T]) -> _T:
        """Call a driver within the network's policy."""
        driver = self.config.networks[network].driver
        return self._patience(network).call(lambda: _shielded(driver, network, call))

    def close(self) -> None:
        """Wait for what is sent in the background, then release what the drivers hold."""
        self.wait_for_background()
        drivers, self._drivers = self._drivers, {}
        for network, driver in drivers.items():
            try:
                _shielded(driver.name, network, driver.close)
            except MrvError as error:
                _logger.warning("%s: %s", network, error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _shielded(driver: str, network: str, call: Callable[[], _T]) -> _T:
    """Call a driver; whatever it lets out that is not ours is a defect of it and must not reach the training.

    Its text is not repeated: exceptions of libraries carry URLs with credentials.
    """
    try:
        return call()
    except MrvError:
        raise
    except (Exception, SystemExit) as error:
        raise BackendError(
            f"{network}: defect in the driver {driver!r}: it raised {type(error).__name__}",
            hint="the exception is the cause of this error; report it to the authors of the driver",
        ) from error
