# SPDX-License-Identifier: MIT
"""How one anchor comes onto one network, from whatever state it is in: prepare, submit, look again, outbid, begin anew.

Every step is written into the journal before the next one is taken. The caller holds the network's lock, and gives
the function through which every call of the driver is made: it retries, and keeps the deadline.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Final, cast

from mrv_core.driver import AnchorDriver, ReplacingDriver, SearchingDriver
from mrv_core.errors import (
    AnchorConflictError,
    AnchorNotFoundError,
    BackendError,
    MrvError,
    SubmissionRejectedError,
    VerificationError,
)
from mrv_core.failpoint import failpoint
from mrv_core.journal import Journal, JournalRow, JournalState
from mrv_core.models import Prepared, Receipt, ReceiptState

_logger = logging.getLogger(__name__)

_ROUNDS: Final = 2
"""What is refused for its fee, or outdone for good, is answered at once, and sent once more."""


class Anchoring:
    """Works off the journal's rows of one network.

    Args:
        driver: The network's driver.
        journal: Where the rows are.
        call: Makes one call of the driver within the network's policy.
    """

    def __init__(self, driver: AnchorDriver, journal: Journal, call: Callable[[Callable[[], Any]], Any]) -> None:
        self._driver = driver
        self._journal = journal
        self._call = call

    def advance(self, row: JournalRow) -> None:
        """Bring one open row as far as it goes now.

        Raises:
            MrvError: why it got no further.
        """
        if row.receipt is not None:
            row = self._look_again(row, row.receipt)
        failure: MrvError | None = None
        for _ in range(_ROUNDS):
            if row.state is JournalState.QUEUED:
                row = self._prepare(row)
            if row.state is not JournalState.PREPARED or row.prepared is None:
                return
            row, failure = self._submit(row, row.prepared)
        if failure is not None and row.receipt is None:
            raise failure

    def locate(self, row: JournalRow, *others: Receipt) -> Receipt | None:
        """Ask the network for an anchor by every reference that is known, then by its commitment; change nothing.

        Args:
            row: The anchor; it need not be in the journal.
            others: Further receipts that may be of it.

        Returns:
            The network's newest receipt, or None where it has none of them.

        Raises:
            VerificationError: what the network has is another anchor.
            BackendError: it could not be asked.
        """
        receipts = others if row.receipt is None else (row.receipt, *others)
        for receipt in receipts:
            with suppress(AnchorNotFoundError, AnchorConflictError):
                return self._upgrade(row, receipt)
        found = self._find_attempt(row, row.attempts) or self._search(row)
        if found is not None:
            check_same(row, found, "the receipt is for")
        return found

    def holds_up(self, row: JournalRow, error: MrvError) -> bool:
        """Remember why a row got no further, and tell whether the rows behind it have to wait for it."""
        row = self._journal.record_error(row, str(error))
        _logger.warning("%s: %s is %s: %s", row.network, row.commitment, row.state, error)
        if row.state is JournalState.PREPARED:
            return True  # its bytes may be on their way: what is prepared next could take the same nonce
        return row.state is JournalState.QUEUED and isinstance(error, BackendError) and error.retryable

    def _prepare(self, row: JournalRow) -> JournalRow:
        try:
            found = self._find_attempt(row, row.attempts) or self._search(row)
        except SubmissionRejectedError as error:  # something else is in its place
            if not error.retryable and not row.attempts:
                self._journal.record_rejected(row, str(error))
            raise
        if found is not None:
            return self._record_receipt(row, found)
        failpoint("anchor.before_prepare")
        prepared = self._call(lambda: self._driver.prepare(row.commitment, row.metadata))
        check_same(row, prepared, "the driver prepared")
        failpoint("anchor.before_prepared")
        row = self._journal.record_prepared(row, prepared)
        failpoint("anchor.prepared")
        return row

    def _search(self, row: JournalRow) -> Receipt | None:
        """A journal that was lost, or put back from a copy, does not know what has been sent; the network does."""
        if not self._driver.capabilities.searches:
            return None
        failpoint("anchor.before_find")
        searching = cast("SearchingDriver", self._driver)
        found: Receipt | None = self._call(lambda: searching.find(row.commitment, row.metadata))
        return found

    def _submit(self, row: JournalRow, prepared: Prepared) -> tuple[JournalRow, MrvError | None]:
        """Send what is prepared; the error is why it was not taken, where another round may help."""
        failpoint("anchor.before_submit")
        try:
            receipt = self._call(lambda: self._driver.submit(prepared))
            check_reference(row, receipt, prepared.reference)
        except SubmissionRejectedError as error:
            return self._settle_refusal(row, prepared, error), error
        except AnchorConflictError as error:
            return self._settle_conflict(row, error), error
        except BackendError:
            # Perhaps a replacement that came too late: what it was to outbid may have been included.
            found = self._find_attempt(row, _others(row, prepared.reference))
            if found is None:
                raise
            receipt = found
        failpoint("anchor.after_submit")
        row = self._record_receipt(row, receipt)
        failpoint("anchor.submitted")
        return row, None

    def _settle_refusal(self, row: JournalRow, prepared: Prepared, error: SubmissionRejectedError) -> JournalRow:
        """Find out whether one of the attempts is there, else pay more if that was the reason, else give up.

        The text of the error decides nothing: the network is asked by id.
        """
        found = self._find_attempt(row, _others(row, prepared.reference) if error.retryable else row.attempts)
        if error.retryable and (found is None or found.state is ReceiptState.PENDING):
            outbid = self._outbid(row, prepared, None)
            if outbid is not None:
                return outbid
        if found is not None:
            return self._record_receipt(row, found)
        if not error.retryable:
            self._journal.record_rejected(row, str(error))
        raise error

    def _settle_conflict(self, row: JournalRow, error: AnchorConflictError) -> JournalRow:
        """One attempt is dead for good: find out whether another took its place, else queue the anchor anew."""
        found = self._find_attempt(row, row.attempts)
        if found is not None:
            return self._record_receipt(row, found)
        _logger.warning("%s: %s has to be anchored anew: %s", row.network, row.commitment, error)
        failpoint("anchor.before_conflict")
        row = self._journal.record_conflict(row, str(error))
        failpoint("anchor.conflict")
        return row

    def _look_again(self, row: JournalRow, receipt: Receipt) -> JournalRow:
        try:
            newer = self._upgrade(row, receipt)
        except AnchorNotFoundError:
            found = self._find_attempt(row, _others(row, receipt.reference))
            if found is None:
                _logger.warning("%s no longer has %s; the same bytes go out again", row.network, receipt.reference)
                return self._journal.record_dropped(row)
            newer = found
        except AnchorConflictError as error:
            return self._settle_conflict(row, error)
        if newer != receipt or row.error is not None:
            failpoint("anchor.before_receipt")
            row = self._record_receipt(row, newer)
            failpoint("anchor.receipt")
        if newer.state is not ReceiptState.PENDING:
            return row
        sent = next((attempt for attempt in row.attempts if attempt.reference == newer.reference), None)
        return (self._outbid(row, sent, newer) if sent is not None else None) or row

    def _upgrade(self, row: JournalRow, receipt: Receipt) -> Receipt:
        newer: Receipt = self._call(lambda: self._driver.upgrade(receipt))
        check_reference(row, newer, receipt.reference)
        check_same(row, newer, "the receipt is for")
        return newer

    def _outbid(self, row: JournalRow, sent: Prepared, receipt: Receipt | None) -> JournalRow | None:
        """Write down a replacement of what waits, or was refused, where the driver finds one worth while."""
        if not self._driver.capabilities.replaces:
            return None
        replacing = cast("ReplacingDriver", self._driver)
        replacement: Prepared | None = self._call(lambda: replacing.replace(sent, receipt))
        if replacement is None:
            return None
        check_same(row, replacement, "the driver replaced it by")
        if any(attempt.reference == replacement.reference for attempt in row.attempts):
            raise VerificationError(
                f"{row.network}: the driver replaced {sent.reference[:80]!r} by what was sent before"
            )
        failpoint("anchor.before_replacement")
        row = self._journal.record_replacement(row, replacement, f"outbid by {replacement.reference}")
        _logger.info("%s: %s is outbid by %s", row.network, row.commitment, replacement.reference)
        failpoint("anchor.replacement")
        return row

    def _find_attempt(self, row: JournalRow, attempts: Iterable[Prepared]) -> Receipt | None:
        """Ask by id which of the attempts at one anchor the network has, if any."""
        for attempt in attempts:
            try:
                found: Receipt = self._call(partial(self._driver.lookup, attempt.reference))
            except (AnchorNotFoundError, AnchorConflictError):
                continue
            check_reference(row, found, attempt.reference)
            return found
        return None

    def _record_receipt(self, row: JournalRow, receipt: Receipt) -> JournalRow:
        check_same(row, receipt, "the receipt is for")
        row = self._journal.record_receipt(row, receipt)
        _logger.info("%s: %s is %s as %s", row.network, row.commitment, row.state, row.reference)
        return row


def _others(row: JournalRow, reference: str) -> Iterator[Prepared]:
    """Yield the attempts at an anchor other than the one with this reference."""
    return (attempt for attempt in row.attempts if attempt.reference != reference)


def check_same(row: JournalRow, answer: Prepared | Receipt, what: str) -> None:
    """Refuse an answer of a driver that is about another anchor than was asked for.

    Raises:
        VerificationError: it is.
    """
    if (answer.commitment, answer.network) != (row.commitment, row.network):
        raise VerificationError(
            f"{row.network}: {what} {answer.commitment} on {answer.network[:80]!r} where {row.commitment} was asked for"
        )


def check_reference(row: JournalRow, receipt: Receipt, reference: str) -> None:
    """Refuse a receipt with another reference than was asked for.

    Raises:
        VerificationError: it has one.
    """
    if receipt.reference != reference:
        raise VerificationError(f"{row.network}: the driver answered for {receipt.reference[:80]!r}, not {reference!r}")
