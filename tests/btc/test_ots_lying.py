# SPDX-License-Identifier: MIT
"""Imported proofs, and nodes that lie about the block that one leads to: no lie makes one valid (A05, A07)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from btc.support import anchor, commitment_of
from btc.test_btc_header import grind

from mrv_backends_btc.driver import BitcoinDriver
from mrv_backends_btc.ots_codec import MAGIC, PENDING_TAG, SHA256, write_ots
from mrv_core.errors import AnchorNotFoundError, BackendError, BackendUnavailableError, VerificationError
from mrv_core.models import Receipt, ReceiptState
from mrv_core.testing.conformance import altered
from mrv_devnet.nodes import BitcoinNode

LiedTo = Callable[..., BitcoinDriver]


def of_the_header(changed: Any, *, verbose: bool) -> Callable[[str, list[Any], Any], Any]:
    """Return a lie about `getblockheader` only, in one of its two forms."""
    asked = ("getblockheader", [verbose])
    return lambda method, parameters, result: changed(result) if (method, parameters[1:]) == asked else result


@pytest.fixture
def imported(driver: BitcoinDriver, regtest: BitcoinNode) -> Receipt:
    """A receipt made of the honest proof of an anchor."""
    return driver.import_ots(driver.export_ots(anchor(driver, regtest, commitment_of("proven"))).ots)


class TestLyingNodes:
    def test_a_header_that_is_not_the_blocks(self, driver: BitcoinDriver, lied_to: LiedTo) -> None:
        """The node shows a header that was ground for a file that nobody has ever anchored, with a time in 2017."""
        never = commitment_of("never anchored")
        proof = driver.import_ots(write_ots(never.value, [SHA256], 50))
        forged = grind(SHA256.apply(never.value), 0x207FFFFF, 1_500_000_000)
        liar = lied_to(of_the_header(lambda _: forged.data.hex(), verbose=False))
        for call in (lambda: liar.verify(proof, never), lambda: liar.upgrade(proof)):
            with pytest.raises(BackendError, match="getblockheader"):
                call()

    @pytest.mark.parametrize("header", [None, 7, "", "zz", "00" * 79, {}])
    def test_a_header_that_is_none(self, lied_to: LiedTo, imported: Receipt, header: Any) -> None:
        with pytest.raises(BackendError, match="getblockheader"):
            lied_to(of_the_header(lambda _: header, verbose=False)).verify(imported, imported.commitment)

    def test_a_block_at_another_height(self, lied_to: LiedTo, imported: Receipt) -> None:
        liar = lied_to(of_the_header(lambda result: {**result, "height": 5}, verbose=True))
        with pytest.raises(BackendError, match="getblockheader"):
            liar.verify(imported, imported.commitment)

    def test_a_block_that_is_not_in_the_chain(self, lied_to: LiedTo, imported: Receipt) -> None:
        """It left the chain between two questions: neither included nor absent, and asked again."""
        liar = lied_to(of_the_header(lambda result: {**result, "confirmations": -1}, verbose=True))
        for call in (lambda: liar.verify(imported, imported.commitment), lambda: liar.upgrade(imported)):
            with pytest.raises(BackendUnavailableError, match="has just left the chain") as failure:
                call()
            assert failure.value.retryable


class TestWhatAProofMustHave:
    def test_a_block_that_has_cost_what_the_settings_ask_for(
        self, regtest: BitcoinNode, make_driver: Any, imported: Receipt
    ) -> None:
        demanding = make_driver(regtest, min_work=40)
        for call in (
            lambda: demanding.verify(imported, imported.commitment),
            lambda: demanding.upgrade(imported),
        ):
            with pytest.raises(VerificationError, match="anyone could have made it"):
                call()

    def test_more_than_a_calendars_promise(self, driver: BitcoinDriver) -> None:
        """A receipt that calls a promise final is taken back to what it is."""
        commitment, uri = commitment_of("promised"), b"https://calendar.example"
        payload = bytes([len(uri)]) + uri
        promise = bytes([0x00]) + PENDING_TAG + bytes([len(payload)]) + payload
        receipt = driver.import_ots(MAGIC + b"\x01\x08" + commitment.value + promise)
        claimed = altered(receipt, state=ReceiptState.FINAL)
        assert driver.upgrade(claimed) == receipt
        assert driver.verify(claimed, commitment).state is ReceiptState.PENDING

    @pytest.mark.parametrize("height", [2**31 - 1, 2**31, 2**32 - 1])
    def test_a_height_that_a_chain_reaches(self, driver: BitcoinDriver, height: int) -> None:
        """Nodes refuse to be asked about the larger ones, which must not read as a node that cannot be asked."""
        early = driver.import_ots(write_ots(commitment_of("far").value, [SHA256], height))
        with pytest.raises(AnchorNotFoundError, match=f"no block {height} yet"):
            driver.verify(early, early.commitment)
