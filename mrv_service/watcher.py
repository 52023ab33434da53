# SPDX-License-Identifier: MIT
"""The watcher: verifies what a registry holds against the networks, when somebody asks for it and again and again.

Several may run on one database. One that is killed leaves what it was at to the next, after a while.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Row, Select, and_, exists, insert, literal, or_, select, update
from sqlalchemy.exc import IntegrityError

from mrv_core.bundle_verification import BundleReport, verify_bundle
from mrv_core.canonical import canonical_bytes
from mrv_core.errors import MrvError
from mrv_core.failpoint import failpoint
from mrv_core.manager import BlockchainManager
from mrv_core.models import Verdict, format_time, utc_now
from mrv_core.mrv.storage import receipts_path, record_path, samples_path
from mrv_core.mrv.verification import RecordReport, verify_record
from mrv_core.registry import Registry
from mrv_service.alarms import Teller, alarm_of, tell_alarms
from mrv_service.bundles import Bundles
from mrv_service.database import Database
from mrv_service.problems import ProblemError
from mrv_service.records import Records
from mrv_service.tables import batches, bundles, members, receipts, records, verifications
from mrv_service.verifications import Kind

_logger = logging.getLogger(__name__)

_SOON: Final = timedelta(minutes=15)
"""Until the next look at what is not final yet, or could not be checked, where its turn is not earlier."""
_LOOK: Final = timedelta(minutes=1)
"""Between two looks for what is new, and between two messages about alarms."""
_SPARE_S: Final = 300.0
"""How much longer than its networks' timeout a verification stays with a watcher that says nothing more."""
_OPEN: Final = frozenset({Verdict.PENDING, Verdict.UNREACHABLE})


@dataclass(frozen=True, slots=True)
class _Found:
    """What a verification found: its verdict, one sentence for people, and the report as JSON, or none."""

    verdict: Verdict
    summary: str
    report: bytes | None = None


class Watcher:
    """Verifies what one database holds. Belongs to one thread.

    Args:
        database: Where the records and bundles are.
        manager: Asks the networks.
        registry: Known drivers.
        name: Of this watcher, for people.
        every: How long the verdict on one is good for.
        tellers: Who is told where something stops verifying.
        clock: Returns now, in UTC.
    """

    def __init__(
        self,
        database: Database,
        manager: BlockchainManager,
        registry: Registry,
        name: str,
        every: timedelta,
        tellers: Sequence[Teller],
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._manager = manager
        self._registry = registry
        self._name = name
        self._every = every
        self._tellers = tellers
        self._clock = clock
        self._records = Records(database, registry)
        self._bundles = Bundles(database)
        timeouts = [manager.config.networks[each].settings.timeout for each in manager.config.require_networks(None)]
        self._lease = timedelta(seconds=max(timeouts) + _SPARE_S)
        self._look_at = clock()

    def run(self, stop: threading.Event, pause_s: float) -> None:
        """Watch until told to stop. What fails is logged, and tried again."""
        while not stop.is_set():
            try:
                did = self.step()
            except MrvError as error:
                _logger.error("%s", error.message)
                did = False
            if not did:
                stop.wait(pause_s)

    def step(self) -> bool:
        """Verify one thing that is due, and once in a while look for new ones and tell of alarms.

        Returns:
            Whether there was anything to verify.

        Raises:
            MrvError: the database or the journal cannot be used, or a teller could not tell.
        """
        now = self._clock()
        if now >= self._look_at:
            self._look_at = now + _LOOK
            self.enrol()
            self.tell()
        return self.verify_next()

    def enrol(self) -> None:
        """See to it that everything that is anchored has its turns."""
        now = format_time(self._clock())
        for kind, names in ((Kind.RECORD, _anchored_records()), (Kind.BUNDLE, select(bundles.c.hash))):
            (name,) = names.selected_columns
            known = exists().where(verifications.c.kind == kind, verifications.c.name == name)
            new = names.where(~known).subquery()
            rows = select(literal(str(kind)), new.c[0], literal(now))
            try:
                with self._database.write() as connection:
                    connection.execute(insert(verifications).from_select(["kind", "name", "due_at"], rows))
            except IntegrityError:  # another watcher, or a client, was quicker with one of them: next time
                _logger.info("others are enrolling, too")

    def verify_next(self) -> bool:
        """Claim what is due first, what clients wait for before all other, verify it, and keep what was found."""
        row = self._claim()
        if row is None:
            return False
        failpoint("watcher.claimed")
        found = self._verify(Kind(row.kind), row.name)
        failpoint("watcher.verified")
        self._note(row, found)
        failpoint("watcher.noted")
        return True

    def tell(self) -> int:
        """Tell of alarms that nobody was told of, and return how many there were.

        Raises:
            MrvError: the database cannot be used, or a teller could not tell.
        """
        return tell_alarms(self._database, self._tellers)

    def _claim(self) -> Row[Any] | None:
        now = self._clock()
        with self._database.write() as connection:
            row = connection.execute(
                select(verifications)
                .where(verifications.c.due_at <= format_time(now))
                .order_by(verifications.c.requested_at.is_(None), verifications.c.due_at, verifications.c.name)
                .limit(1)
                .with_for_update(skip_locked=True)
            ).one_or_none()
            if row is not None:
                leased = {"claimed_by": self._name, "due_at": format_time(now + self._lease)}
                connection.execute(update(verifications).where(_same(row)).values(leased))
        return row

    def _note(self, claimed: Row[Any], found: _Found) -> None:
        now = self._clock()
        with self._database.write() as connection:
            row = connection.execute(select(verifications).where(_same(claimed)).with_for_update()).one_or_none()
            if row is None or row.claimed_by != self._name:  # it took too long, and another has it
                return
            valid_at = format_time(now) if found.verdict is Verdict.VALID else row.valid_at
            is_asked_again = row.requested_at != claimed.requested_at
            wait = min(_SOON, self._every) if found.verdict in _OPEN else self._every
            since = None if valid_at is None else datetime.fromisoformat(valid_at)
            connection.execute(
                update(verifications)
                .where(_same(row))
                .values(
                    claimed_by=None,
                    due_at=format_time(now if is_asked_again else now + wait),
                    requested_at=row.requested_at if is_asked_again else None,
                    checked_at=format_time(now),
                    verdict=found.verdict,
                    summary=found.summary,
                    report=found.report,
                    valid_at=valid_at,
                    alarm=alarm_of(found.verdict, now, since, self._every),
                )
            )

    def _verify(self, kind: Kind, name: str) -> _Found:
        with tempfile.TemporaryDirectory(prefix="mrv-watch-") as folder:
            found = self._verify_in(Path(folder), kind, name)
        # Paths of a folder that is gone are of no use to anybody.
        gone = f"{folder}/"
        report = None if found.report is None else found.report.replace(gone.encode(), b"")
        return _Found(found.verdict, found.summary.replace(gone, ""), report)

    def _verify_in(self, folder: Path, kind: Kind, name: str) -> _Found:
        try:
            report = (self._verify_record if kind is Kind.RECORD else self._verify_bundle)(name, folder)
            return _Found(report.verdict, report.summary, canonical_bytes(report.to_json()))
        except ProblemError as error:
            if error.status is not HTTPStatus.NOT_FOUND:
                raise
            return _Found(Verdict.NOT_FOUND, f"The {kind} is not in the registry's database any more.")
        except ValueError as error:  # FormatError among them; what was accepted could be read
            return _Found(Verdict.TAMPERED, f"The registry's copy cannot be read any more: {error}.")
        except MrvError as error:
            return _Found(Verdict.UNREACHABLE, f"It could not be checked: {error.message}.")

    def _verify_record(self, mrv_id: str, folder: Path) -> RecordReport:
        path = record_path(folder, mrv_id)
        held, measured = self._records.receipts(mrv_id), self._records.samples(mrv_id)
        path.write_bytes(self._records.content(mrv_id))
        if held is not None:
            receipts_path(path).write_bytes(held)
        if measured is not None:
            samples_path(path).write_bytes(measured)
        samples = None if measured is None else samples_path(path)
        return verify_record(path, manager=self._manager, registry=self._registry, mrv_id=mrv_id, samples=samples)

    def _verify_bundle(self, name: str, folder: Path) -> BundleReport:
        data = self._bundles.content(name)
        if hashlib.sha256(data).hexdigest() != name:
            raise ValueError("its SHA-256 is another")
        path = folder / f"{name}.mrv.json"
        path.write_bytes(data)
        return verify_bundle(path, registry=self._registry, manager=self._manager)


def _anchored_records() -> Select[Any]:
    """Return the ids of records of which receipts are here; others cannot stop verifying."""
    own = exists().where(receipts.c.record_id == records.c.id)
    in_batch = exists().where(
        members.c.record_id == records.c.id, batches.c.id == members.c.batch_id, batches.c.networks != ""
    )
    return select(records.c.mrv_id).where(or_(own, in_batch))


def _same(row: Row[Any]) -> Any:
    return and_(verifications.c.kind == row.kind, verifications.c.name == row.name)
