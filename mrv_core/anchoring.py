# SPDX-License-Identifier: MIT
"""How one anchor comes onto one network, from whatever state it is in: prepare, submit, look again, outbid, begin anew.

Every step is written into the journal before the next one is taken. The caller holds the network's lock, and gives
the function through which every call of the driver is made: it retries, and keeps the deadline.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, cast

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
            row = self._upgrade(row, row.receipt)
        for _ in range(2):  # a conflict that shows on sending is answered at once, by preparing anew
            if row.state is JournalState.QUEUED:
                row = self._prepare(row)
            if row.state is JournalState.PREPARED and row.prepared is not None:
                row = self._submit(row, row.prepared)

    def holds_up(self, row: JournalRow, error: MrvError) -> bool:
        """Remember why a row got no further, and tell whether the rows behind it have to wait for it."""
        row = self._journal.record_error(row, str(error))
        _logger.warning("%s: %s is %s: %s", row.network, row.commitment, row.state, error)
        if row.state is JournalState.PREPARED:
            return True  # its bytes may be on their way: what is prepared next could take the same nonce
        return row.state is JournalState.QUEUED and isinstance(error, BackendError) and error.retryable

    def _prepare(self, row: JournalRow) -> JournalRow:
        if self._driver.capabilities.searches:
            # A journal that was lost, or put back from a copy, does not know what has been sent; the network does.
            failpoint("anchor.before_find")
            found = self._call(lambda: cast("SearchingDriver", self._driver).find(row.commitment, row.metadata))
            if found is not None:
                return self._record_receipt(row, found)
        failpoint("anchor.before_prepare")
        prepared = self._call(lambda: self._driver.prepare(row.commitment, row.metadata))
        _check_same(row, prepared, "the driver prepared")
        failpoint("anchor.before_prepared")
        row = self._journal.record_prepared(row, prepared)
        failpoint("anchor.prepared")
        return row

    def _submit(self, row: JournalRow, prepared: Prepared) -> JournalRow:
        failpoint("anchor.before_submit")
        try:
            receipt = self._call(lambda: self._driver.submit(prepared))
        except SubmissionRejectedError as error:
            if error.retryable:
                return self._outbid(row, None, error)
            # An error's text decides nothing: the network is asked by id whether it is there after all.
            found = self._find_attempt(row, row.attempts)
            if found is None:
                self._journal.record_rejected(row, str(error))
                raise
            receipt = found
        except AnchorConflictError as error:
            return self._settle_conflict(row, error)
        except BackendError:
            # A replacement whose sending came too late: the one that it was to outbid may have been included.
            found = self._find_attempt(row, _others(row, prepared.reference))
            if found is None:
                raise
            receipt = found
        failpoint("anchor.after_submit")
        row = self._record_receipt(row, receipt)
        failpoint("anchor.submitted")
        return row

    def _upgrade(self, row: JournalRow, receipt: Receipt) -> JournalRow:
        try:
            newer = self._call(lambda: self._driver.upgrade(receipt))
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
        return self._outbid(row, newer, None) if newer.state is ReceiptState.PENDING else row

    def _outbid(self, row: JournalRow, receipt: Receipt | None, refusal: SubmissionRejectedError | None) -> JournalRow:
        """Replace what waits, or was refused, for paying too little, where the driver can and finds it worth while."""
        sent = next((item for item in row.attempts if receipt is None or item.reference == receipt.reference), None)
        replacement = None
        if self._driver.capabilities.replaces and sent is not None:
            replacing, attempt = cast("ReplacingDriver", self._driver), sent
            replacement = self._call(lambda: replacing.replace(attempt, receipt))
        if replacement is None:
            if refusal is not None:
                raise refusal
            return row
        _check_same(row, replacement, "the driver replaced it by")
        failpoint("anchor.before_replacement")
        row = self._journal.record_replacement(row, replacement, f"outbid by {replacement.reference}")
        _logger.info("%s: %s is outbid by %s", row.network, row.commitment, replacement.reference)
        failpoint("anchor.replacement")
        return row if refusal is not None else self._submit(row, replacement)

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

    def _find_attempt(self, row: JournalRow, attempts: Iterable[Prepared]) -> Receipt | None:
        """Ask by id which of the attempts at one anchor the network has, if any."""
        for attempt in attempts:
            try:
                found: Receipt = self._call(partial(self._driver.lookup, attempt.reference))
            except (AnchorNotFoundError, AnchorConflictError):
                continue
            return found
        return None

    def _record_receipt(self, row: JournalRow, receipt: Receipt) -> JournalRow:
        _check_same(row, receipt, "the receipt is for")
        row = self._journal.record_receipt(row, receipt)
        _logger.info("%s: %s is %s as %s", row.network, row.commitment, row.state, row.reference)
        return row


def _others(row: JournalRow, reference: str) -> Iterator[Prepared]:
    """Yield the attempts at an anchor other than the one with this reference."""
    return (attempt for attempt in row.attempts if attempt.reference != reference)


def _check_same(row: JournalRow, answer: Prepared | Receipt, what: str) -> None:
    if (answer.commitment, answer.network) != (row.commitment, row.network):
        raise VerificationError(
            f"{row.network}: {what} {answer.commitment} on {answer.network[:80]!r} where {row.commitment} was asked for"
        )
