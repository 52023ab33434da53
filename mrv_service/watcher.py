# SPDX-License-Identifier: MIT
"""The watcher: verifies what a registry holds against the networks, when somebody asks for it and again and again.

Several may run on one database. One that is killed leaves what it was at to the next, after a while.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row, Select, and_, exists, insert, literal, or_, select, update
from sqlalchemy.exc import IntegrityError

from mrv_core.errors import BackendError
from mrv_core.failpoint import failpoint
from mrv_core.manager import BlockchainManager
from mrv_core.models import Verdict, format_time, utc_now
from mrv_core.registry import Registry
from mrv_service.alarms import Teller, alarm_of, tell_alarms
from mrv_service.database import Database
from mrv_service.examining import Examiner, Found
from mrv_service.repeating import lease_of, repeat
from mrv_service.tables import batches, bundles, members, receipts, records, verifications
from mrv_service.verifications import Kind, of

_logger = logging.getLogger(__name__)

_SOON: Final = timedelta(minutes=15)
"""Until the next look at what is not final yet, or could not be checked, where its turn is not earlier."""
_LOOK: Final = timedelta(minutes=1)
"""Between two looks for what is new, and between two messages about alarms."""
_SPARE_S: Final = 300.0
"""How much longer than its networks' timeout a verification stays with a watcher that says nothing more."""
_OPEN: Final = frozenset({Verdict.PENDING, Verdict.UNREACHABLE})


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

    Raises:
        ConfigurationError: the manager's configuration has no network.
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
        self._examiner = Examiner(database, manager, registry)
        self._name = name
        self._every = every
        self._tellers = tellers
        self._clock = clock
        self._lease = lease_of(manager, _SPARE_S)
        self._enrol_at = self._tell_at = clock()
        self._was_requested = False

    def run(self, stop: threading.Event, pause_s: float) -> None:
        """Watch until told to stop. What fails is logged, and tried again."""

        def step() -> bool:
            self._tell_in_time()
            now = self._clock()
            if now >= self._enrol_at:
                self._enrol_at = now + _LOOK
                self.enrol()
            return self.verify_next()

        repeat(step, stop, pause_s)

    def run_once(self, stop: threading.Event) -> None:
        """Verify what is due now, tell of it, and end; what comes due meanwhile is for the next time.

        Raises:
            MrvError: the database cannot be used, or a teller could not tell.
        """
        self.enrol()
        begun = self._clock()
        try:
            while not stop.is_set() and self.verify_next(begun):
                try:
                    self._tell_in_time()
                except BackendError as error:  # who is deaf is told at the end, and keeps nothing from being looked at
                    _logger.error("%s", error.message)
        finally:
            self.tell()

    def enrol(self) -> None:
        """See to it that everything that is anchored has its turns."""
        now = format_time(self._clock())
        for kind, names in ((Kind.RECORD, _anchored_records()), (Kind.BUNDLE, select(bundles.c.hash))):
            (name,) = names.selected_columns
            known = exists().where(verifications.c.kind == kind, verifications.c.name == name)
            new = names.where(~known).subquery()
            rows = select(literal(str(kind)), new.c[0], literal(now), literal(now))
            asked_for = and_(verifications.c.kind == kind, verifications.c.enrolled_at.is_(None))
            try:
                with self._database.write() as connection:
                    connection.execute(
                        insert(verifications).from_select(["kind", "name", "due_at", "enrolled_at"], rows)
                    )
                    connection.execute(
                        update(verifications).where(asked_for, verifications.c.name.in_(names)).values(enrolled_at=now)
                    )
            except IntegrityError:  # another watcher, or a client, was quicker with one of them: next time
                _logger.info("others are enrolling, too")

    def verify_next(self, until: datetime | None = None) -> bool:
        """Claim what is due, verify it, and keep what was found; by turns what clients wait for, and all the other.

        Args:
            until: Only what was due then; now by default.

        Raises:
            MrvError: the database cannot be used.
        """
        row = self._claim(until)
        if row is None:
            return False
        failpoint("watcher.claimed")
        found = self._examiner.examine(row.kind, row.name)
        failpoint("watcher.verified")
        self._note(row, found)
        failpoint("watcher.noted")
        return True

    def tell(self) -> int:
        """Tell of alarms that were not told of, and return how many there were.

        Raises:
            MrvError: the database cannot be used, or a teller could not tell.
        """
        return tell_alarms(self._database, self._tellers)

    def _tell_in_time(self) -> None:
        now = self._clock()
        if now >= self._tell_at:
            self._tell_at = now + _LOOK
            self.tell()

    def _claim(self, until: datetime | None) -> Row[Any] | None:
        now = self._clock()
        is_due = verifications.c.due_at <= format_time(until or now)
        order = verifications.c.due_at, verifications.c.name
        due = select(verifications).where(is_due).order_by(*order).limit(1).with_for_update(skip_locked=True)
        turns = [
            due.where(verifications.c.requested_at.is_not(None)),
            due.where(verifications.c.requested_at.is_(None)),
        ]
        if self._was_requested:
            turns.reverse()
        self._was_requested = not self._was_requested
        with self._database.write() as connection:
            found = (connection.execute(each).one_or_none() for each in turns)
            row = next((each for each in found if each is not None), None)
            if row is not None:
                leased = {"claimed_by": self._name, "due_at": format_time(now + self._lease)}
                connection.execute(update(verifications).where(of(row.kind, row.name)).values(leased))
        return row

    def _note(self, claimed: Row[Any], found: Found) -> None:
        now = self._clock()
        this = of(claimed.kind, claimed.name)
        with self._database.write() as connection:
            row = connection.execute(select(verifications).where(this).with_for_update()).one_or_none()
            if row is None or row.claimed_by != self._name:  # it took too long, and another has it
                return
            found = _without_loss(found, frozenset((row.held or "").splitlines()))
            is_valid = found.verdict is Verdict.VALID
            is_asked_again = row.requested_at != claimed.requested_at
            wait = min(_SOON, self._every) if found.verdict in _OPEN else self._every
            is_next = now - (_time(row.checked_at) or now) <= 2 * self._every  # else it was off meanwhile
            failing_since = (_time(row.failing_since) if is_next else None) or now
            alarm = alarm_of(
                found.verdict,
                now,
                on=_verdict(row.alarm),
                valid_at=now if is_valid else _time(row.valid_at),
                failing_since=failing_since,
                enrolled_at=_time(row.enrolled_at),
                every=self._every,
            )
            connection.execute(
                update(verifications)
                .where(this)
                .values(
                    claimed_by=None,
                    due_at=format_time(now if is_asked_again else now + wait),
                    requested_at=row.requested_at if is_asked_again else None,
                    checked_at=format_time(now),
                    verdict=found.verdict,
                    summary=found.summary,
                    report=found.report,
                    valid_at=format_time(now) if is_valid else row.valid_at,
                    failing_since=None if is_valid else format_time(failing_since),
                    held="\n".join(sorted(found.held or ())) if is_valid else row.held,
                    alarm=alarm,
                )
            )


def _without_loss(found: Found, before: frozenset[str]) -> Found:
    """Return what was found; as NOT_FOUND where the rest verifies, and something that was there is not any more."""
    lost = [] if found.held is None else sorted(before - found.held)
    if not lost or found.verdict not in (Verdict.VALID, *_OPEN):
        return found
    return Found(
        Verdict.NOT_FOUND, f"The registry does not have any more: {', '.join(lost)}.", found.report, found.held
    )


def _anchored_records() -> Select[Any]:
    """Return the ids of records of which receipts are here; others cannot stop verifying."""
    own = exists().where(receipts.c.record_id == records.c.id)
    in_batch = exists().where(
        members.c.record_id == records.c.id, batches.c.id == members.c.batch_id, batches.c.networks != ""
    )
    return select(records.c.mrv_id).where(or_(own, in_batch))


def _verdict(text: str | None) -> Verdict | None:
    return next((each for each in Verdict if each == text), None)


def _time(text: str | None) -> datetime | None:
    """Return a time of a row, or None where there is none, or what somebody wrote in its place."""
    try:
        found = None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if found is None or found.tzinfo is None else found
