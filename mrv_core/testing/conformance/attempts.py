# SPDX-License-Identifier: MIT
# ruff: noqa: S101  (this is a test suite; its assertions are the product)
"""Scenarios in which one anchor is found again, outbid or overtaken: several attempts, one anchor."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest

from mrv_core.driver import AnchorDriver, DriverContext, ReplacingDriver, SearchingDriver
from mrv_core.errors import AnchorConflictError, AnchorNotFoundError, BackendError
from mrv_core.hashing import Digest
from mrv_core.models import NO_METADATA, Prepared, Receipt, ReceiptState
from mrv_core.testing.conformance.forgeries import commitment_of
from mrv_core.testing.conformance.hooks import INCLUDED, DriverHooks

_NOT_THERE = (AnchorNotFoundError, AnchorConflictError)


def _searching(driver: AnchorDriver) -> SearchingDriver:
    if not driver.capabilities.searches:
        pytest.skip("this driver does not search")
    return cast("SearchingDriver", driver)


def _replacing(driver: AnchorDriver) -> ReplacingDriver:
    if not driver.capabilities.replaces:
        pytest.skip("this driver does not replace")
    return cast("ReplacingDriver", driver)


def _is_pending(driver: AnchorDriver, receipt: Receipt) -> bool:
    """Tell that an anchor is not included: it waits, or it is not there."""
    try:
        return driver.upgrade(receipt).state is ReceiptState.PENDING
    except _NOT_THERE:
        return True


def _unless_not_visible_yet(find: Callable[[], Receipt | None], otherwise: Receipt) -> Receipt | None:
    """Search while the anchor waits; a driver that cannot see what waits says that it could not check, for now."""
    try:
        return find()
    except BackendError as error:
        if not error.retryable:
            raise
        return otherwise


class AttemptScenarios(DriverHooks):
    """What core relies on when it rebuilds a journal, outbids what is stuck, and begins anew after a conflict."""

    # Searching.

    def test_own_anchor_is_found_by_its_commitment(self, driver: AnchorDriver, context: DriverContext) -> None:
        """Another process has nothing but the commitment. While the anchor waits, it is not said to be absent."""
        _searching(driver)
        commitment, metadata = commitment_of("lost"), {"run": "r1"}
        receipt = driver.submit(driver.prepare(commitment, metadata))
        reader = _searching(self.reopen(context))
        waiting = _unless_not_visible_yet(lambda: reader.find(commitment, metadata), receipt)
        assert waiting is not None
        assert waiting.reference == receipt.reference
        self.settle(driver)
        found = reader.find(commitment, metadata)
        assert found is not None
        assert (found.reference, found.commitment, found.network) == (receipt.reference, commitment, context.network)
        assert driver.verify(driver.upgrade(found), commitment).state in INCLUDED
        reader.close()

    def test_what_is_not_there_is_not_found(self, driver: AnchorDriver) -> None:
        """Nothing is found for what was never anchored, only prepared, or anchored under another algorithm."""
        searching = _searching(driver)
        anchored = self.anchor(driver, commitment_of("anchored"))
        prepared = driver.prepare(commitment_of("prepared"), NO_METADATA)
        for commitment in (commitment_of("never"), prepared.commitment, Digest("blake3", anchored.commitment.value)):
            assert searching.find(commitment, NO_METADATA) is None

    def test_anchors_of_others_are_not_found(self, driver: AnchorDriver) -> None:
        """Somebody else anchors our root: it proves the root, but it is not our anchor to adopt."""
        searching, commitment = _searching(driver), commitment_of("copied")
        if not self.anchor_by_another(driver, commitment):
            pytest.skip("there is nobody else on this network")
        assert searching.find(commitment, NO_METADATA) is None
        ours = self.anchor(driver, commitment)
        found = searching.find(commitment, NO_METADATA)
        assert found is not None
        assert found.reference == ours.reference

    def test_the_oldest_is_found(self, driver: AnchorDriver) -> None:
        """Of two anchors of one commitment the first one counts."""
        searching, commitment = _searching(driver), commitment_of("two of them")
        first, _ = self.anchor(driver, commitment), self.anchor(driver, commitment)
        found = searching.find(commitment, NO_METADATA)
        assert found is not None
        assert found.reference == first.reference

    # Replacing.

    def test_nothing_is_replaced_right_after_submission(self, driver: AnchorDriver) -> None:
        """What has just been sent, for what the network asks for, is waited for."""
        replacing = _replacing(driver)
        prepared = driver.prepare(commitment_of("patience"), NO_METADATA)
        assert replacing.replace(prepared, driver.submit(prepared)) is None
        self.settle(driver)
        self._assert_count(driver, prepared.commitment, 1)

    @pytest.mark.parametrize("older_first", [True, False])
    def test_one_of_both_is_included(self, driver: AnchorDriver, older_first: bool) -> None:
        """An anchor and its replacement are both sent, in either order: one of them is included, never both."""
        replacing = _replacing(driver)
        prepared = driver.prepare(commitment_of("one of both"), NO_METADATA)
        if not self.ask_for_more(driver):
            pytest.skip("this network cannot be made to ask for more")
        replacement = replacing.replace(prepared, None)
        assert replacement is not None, "a refused anchor that pays too little must be replaced"
        self._assert_replaces(prepared, replacement)
        for attempt in (prepared, replacement) if older_first else (replacement, prepared):
            self._try_to_submit(driver, attempt)
        self.settle(driver)
        self._assert_count(driver, prepared.commitment, 1)
        assert driver.verify(driver.lookup(replacement.reference), prepared.commitment).state in INCLUDED

    def test_what_waits_in_vain_is_outbid(self, driver: AnchorDriver) -> None:
        """Fees rise after an anchor was sent: its replacement is included, and the old receipt does not claim to be."""
        replacing = _replacing(driver)
        prepared = driver.prepare(commitment_of("stuck"), NO_METADATA)
        receipt = driver.submit(prepared)
        if not self.ask_for_more(driver):
            pytest.skip("this network cannot be made to ask for more")
        waiting = driver.upgrade(receipt)
        assert waiting.state is ReceiptState.PENDING
        replacement = replacing.replace(prepared, waiting)
        assert replacement is not None
        self._assert_replaces(prepared, replacement)
        newer = driver.submit(replacement)
        assert newer.reference == replacement.reference
        self.settle(driver)
        assert driver.verify(driver.upgrade(newer), prepared.commitment).state in INCLUDED
        assert _is_pending(driver, receipt)
        self._assert_count(driver, prepared.commitment, 1)

    def _assert_replaces(self, prepared: Prepared, replacement: Prepared) -> None:
        assert (replacement.commitment, replacement.network) == (prepared.commitment, prepared.network)
        assert replacement.reference != prepared.reference
        assert replacement.payload_hex != prepared.payload_hex

    def _try_to_submit(self, driver: AnchorDriver, prepared: Prepared) -> None:
        try:
            driver.submit(prepared)
        except (BackendError, AnchorConflictError):
            return  # refused for now, or outbid: both are allowed

    # Conflicts.

    def test_what_is_overtaken_for_good_is_a_conflict(self, driver: AnchorDriver) -> None:
        """Something else used the nonce or the coins, and is buried: a conflict, not a wrong anchor; then anew."""
        prepared = driver.prepare(commitment_of("overtaken"), NO_METADATA)
        receipt = driver.submit(prepared)
        if not self.overtake(driver, prepared):
            pytest.skip("nothing can take an anchor's place on this network")
        with pytest.raises(AnchorConflictError):
            driver.upgrade(receipt)
        with pytest.raises(AnchorConflictError):
            driver.submit(prepared)
        with pytest.raises(_NOT_THERE):
            driver.lookup(prepared.reference)
        self._assert_not_verified(driver, receipt)
        anew = self.anchor(driver, prepared.commitment)
        assert anew.reference != prepared.reference
        assert driver.verify(anew, prepared.commitment).state in INCLUDED
        self._assert_count(driver, prepared.commitment, 1)

    def _assert_not_verified(self, driver: AnchorDriver, receipt: Receipt) -> None:
        try:
            verified = driver.verify(receipt, receipt.commitment)
        except (AnchorNotFoundError, BackendError):
            return  # any other error, above all `VerificationError`, would blame an honest receipt
        assert verified.state is ReceiptState.PENDING
