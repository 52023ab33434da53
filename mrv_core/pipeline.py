# SPDX-License-Identifier: MIT
"""Many anchors on one network in a few calls: a group is prepared, written down in one transaction, and sent.

The order is that of a single anchor, so is what a crash leaves: whatever was prepared is in the journal before any
byte of the group is sent. Only the plain way is taken here. A row that the network does not have afterwards, or that
it may have had before, is left as it is for `Anchoring`, which knows every other way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from mrv_core.anchoring import check_reference, check_same
from mrv_core.driver import AnchorDriver, PipeliningDriver
from mrv_core.errors import VerificationError
from mrv_core.failpoint import failpoint
from mrv_core.journal import Journal, JournalRow
from mrv_core.models import Prepared, Receipt

GROUP_SIZE: Final = 64
"""Most anchors in a group: what is lost in speed beyond it is small, and a node has a limit for one request."""


class Pipeline:
    """Sends queued rows of one network in groups.

    Args:
        driver: The network's driver, whose capabilities say that it pipelines.
        journal: Where the rows are.
        call: Makes one call of the driver within the network's policy.
    """

    def __init__(self, driver: AnchorDriver, journal: Journal, call: Callable[[Callable[[], Any]], Any]) -> None:
        self._driver = cast("PipeliningDriver", driver)
        self._journal = journal
        self._call = call

    def send(self, rows: Sequence[JournalRow]) -> bool:
        """Prepare and send a group of at most `GROUP_SIZE` queued rows.

        Returns:
            Whether the network took all that was prepared; else nothing more may be prepared before the rest is sent.

        Raises:
            MrvError: why none of it got any further, or no further than being prepared.
        """
        new: list[bool] = self._call(lambda: self._driver.are_new([(row.commitment, row.metadata) for row in rows]))
        group = [row for row, is_new in zip(rows, new, strict=True) if is_new and not row.attempts]
        if not group:
            return True
        failpoint("group.before_prepare")
        anchors = [(row.commitment, row.metadata) for row in group]
        prepared: list[Prepared] = self._call(lambda: self._driver.prepare_many(anchors))
        _check_all(group, prepared)
        failpoint("group.before_prepared")
        group = self._journal.record_prepared_many(list(zip(group, prepared, strict=True)))
        failpoint("group.prepared")
        receipts: list[Receipt | None] = self._call(lambda: self._driver.submit_many(prepared))
        failpoint("group.after_submit")
        taken = _taken(group, prepared, receipts)
        self._journal.record_receipts(taken)
        failpoint("group.submitted")
        return len(taken) == len(group)


def _check_all(rows: Sequence[JournalRow], prepared: Sequence[Prepared]) -> None:
    if len(prepared) != len(rows) or len({item.reference for item in prepared}) != len(rows):
        raise VerificationError(f"{rows[0].network}: the driver prepared {len(prepared)} anchors for {len(rows)} rows")
    for row, item in zip(rows, prepared, strict=True):
        check_same(row, item, "the driver prepared")


def _taken(
    rows: Sequence[JournalRow], prepared: Sequence[Prepared], receipts: Sequence[Receipt | None]
) -> list[tuple[JournalRow, Receipt]]:
    """Return the rows that the network took, with their receipts, each of which must be the row's own."""
    if len(receipts) != len(rows):
        raise VerificationError(f"{rows[0].network}: the driver gave {len(receipts)} receipts for {len(rows)} anchors")
    taken = []
    for row, item, receipt in zip(rows, prepared, receipts, strict=True):
        if receipt is not None:
            check_same(row, receipt, "the receipt is for")
            check_reference(row, receipt, item.reference)
            taken.append((row, receipt))
    return taken
