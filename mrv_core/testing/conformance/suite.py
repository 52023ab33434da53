# SPDX-License-Identifier: MIT
# ruff: noqa: S101  (this is a test suite; its assertions are the product)
"""What core expects from a driver, one scenario a test."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, Final

import pytest

from mrv_core.driver import AnchorDriver, DriverContext
from mrv_core.errors import AnchorNotFoundError, BackendError, FormatError, MrvError, VerificationError
from mrv_core.hashing import Digest, HashFactory
from mrv_core.models import NO_METADATA, Metadata, Prepared, Receipt, ReceiptState, VerifiedAnchor
from mrv_core.testing.conformance.attempts import AttemptScenarios
from mrv_core.testing.conformance.forgeries import altered, commitment_of, forgeries, secrets_in
from mrv_core.testing.conformance.hooks import INCLUDED, REFUSALS, is_refused

THREADS: Final = 8


class DriverConformance(AttemptScenarios):
    """The suite; see the package for an example.

    A subclass sets `driver_class` and overrides the fixture `context`; the other fixture and the hooks only where
    the defaults do not fit.
    """

    # Preparing and submitting.

    def test_prepare_anchors_nothing(self, driver: AnchorDriver) -> None:
        """An anchor that was prepared and never submitted is not on the network, also not later."""
        commitment = commitment_of("never submitted")
        real = self.anchor(driver, commitment_of("submitted"))
        prepared = driver.prepare(commitment, NO_METADATA)
        self.settle(driver)
        with pytest.raises(AnchorNotFoundError):
            driver.lookup(prepared.reference)
        claim = altered(real, commitment=commitment, reference=prepared.reference, block_time=None, evidence={})
        for state in ReceiptState:
            assert is_refused(driver.verify, altered(claim, state=state), commitment)
        assert is_refused(driver.upgrade, altered(claim, state=ReceiptState.PENDING))
        self._assert_count(driver, commitment, 0)

    def test_reference_is_known_before_submission(self, driver: AnchorDriver, context: DriverContext) -> None:
        """The reference in the prepared anchor is the one the receipt has."""
        commitment = commitment_of("reference")
        prepared = driver.prepare(commitment, {"run": "r1", "phase": "before_training"})
        assert (prepared.network, prepared.commitment) == (context.network, commitment)
        assert bytes.fromhex(prepared.payload_hex), "there must be bytes to send"
        assert driver.submit(prepared).reference == prepared.reference

    def test_receipt_says_what_it_is(self, driver: AnchorDriver, context: DriverContext) -> None:
        """A receipt names network, driver, commitment and honesty label, and its state fits the capabilities."""
        commitment = commitment_of("receipt")
        receipt = driver.submit(driver.prepare(commitment, NO_METADATA))
        assert (receipt.network, receipt.driver, receipt.commitment) == (context.network, driver.name, commitment)
        assert receipt.embedded is driver.capabilities.embedded
        assert receipt.network_id
        assert receipt.submitted_at.utcoffset() == timedelta(0)
        assert (receipt.state in INCLUDED) is not driver.capabilities.mines_later

    def test_submitting_twice_anchors_once(self, driver: AnchorDriver) -> None:
        """The same prepared anchor is submitted again, before and after inclusion: success, and one anchor."""
        commitment = commitment_of("twice")
        prepared = driver.prepare(commitment, NO_METADATA)
        references = {driver.submit(prepared).reference, driver.submit(prepared).reference}
        self.settle(driver)
        references.add(driver.submit(prepared).reference)
        self.settle(driver)
        assert references == {prepared.reference}
        self._assert_count(driver, commitment, 1)
        assert driver.verify(driver.lookup(prepared.reference), commitment).reference == prepared.reference

    def test_another_process_submits_after_a_crash(self, driver: AnchorDriver, context: DriverContext) -> None:
        """The journal hands the stored bytes to new drivers, which know nothing else: one anchor."""
        commitment = commitment_of("crash")
        stored = driver.prepare(commitment, {"run": "r2"}).to_bytes()
        for _ in range(2):
            later = self.reopen(context)
            prepared = Prepared.from_bytes(stored, what="prepared anchor")
            assert later.submit(prepared).reference == prepared.reference
            later.close()
        self.settle(driver)
        self._assert_count(driver, commitment, 1)
        assert driver.verify(driver.lookup(prepared.reference), commitment).commitment == commitment

    def test_stored_forms_round_trip(self, driver: AnchorDriver) -> None:
        """Prepared anchor, receipt and verdict read back from their bytes are equal to what was written."""
        commitment = commitment_of("bytes")
        prepared = driver.prepare(commitment, {"run": "r3", "epochs": 3, "nested": {"list": [1, 2.5, None, True]}})
        assert Prepared.from_bytes(prepared.to_bytes(), what="prepared anchor") == prepared
        submitted = driver.submit(prepared)
        self.settle(driver)
        for receipt in (submitted, driver.upgrade(submitted), driver.lookup(prepared.reference)):
            assert Receipt.from_bytes(receipt.to_bytes(), what="receipt") == receipt
            verified = driver.verify(Receipt.from_bytes(receipt.to_bytes(), what="receipt"), commitment)
            assert VerifiedAnchor.from_bytes(verified.to_bytes(), what="verdict") == verified

    def test_one_commitment_anchored_twice(self, driver: AnchorDriver) -> None:
        """The same commitment is prepared and submitted again: the first anchor or another, and both verify."""
        commitment = commitment_of("again")
        for receipt in [self.anchor(driver, commitment), self.anchor(driver, commitment)]:
            assert driver.verify(receipt, commitment).reference == receipt.reference

    @pytest.mark.parametrize("algorithm", HashFactory.algorithms())
    def test_commitments_of_every_algorithm(self, driver: AnchorDriver, algorithm: str) -> None:
        """Any digest is anchored, all zeros included, or refused with a reason before anything is sent."""
        for value in (bytes(32), b"\xff" * 32, commitment_of(algorithm).value):
            self._assert_anchors_or_refuses(driver, Digest(algorithm, value), NO_METADATA)

    @pytest.mark.parametrize(
        "metadata",
        [
            pytest.param({"name": "Ω ü 訓練 🌍 \u202e \x00", "": ""}, id="unicode"),
            pytest.param({"text": "x" * 100_000}, id="100-kB"),
            pytest.param({"number": float("nan")}, id="nan"),
            pytest.param({"object": object()}, id="not-json"),
        ],
    )
    def test_unusual_metadata(self, driver: AnchorDriver, metadata: Metadata) -> None:
        """Whatever the metadata, the anchor is made and verifies, or it is refused with a reason."""
        self._assert_anchors_or_refuses(driver, commitment_of("metadata"), metadata)

    # Finding again.

    def test_lookup_finds_the_anchor(self, driver: AnchorDriver, context: DriverContext) -> None:
        """Another process has nothing but the reference, and gets an equivalent receipt."""
        receipt = self.anchor(driver, commitment_of("lookup"))
        reader = self.reopen(context)
        found = reader.lookup(receipt.reference)
        reader.close()
        ours = receipt.model_dump(exclude={"evidence", "submitted_at"})
        assert found.model_dump(exclude={"evidence", "submitted_at"}) == ours
        assert driver.verify(found, receipt.commitment).commitment == receipt.commitment

    @pytest.mark.parametrize(
        "reference", ["", "0x", "no reference", "../../etc/passwd", "\x00", "é", "-1", "0" * 63, "b" * 100_000]
    )
    def test_lookup_of_nonsense(self, driver: AnchorDriver, reference: str) -> None:
        """A malformed reference is not found or refused, and nothing else happens."""
        self.anchor(driver, commitment_of("something"))
        with pytest.raises((AnchorNotFoundError, FormatError, VerificationError)):
            driver.lookup(reference)

    def test_upgrade_changes_what_it_must(self, driver: AnchorDriver) -> None:
        """Looking again keeps what the receipt is about, and a second look keeps everything."""
        first = driver.submit(driver.prepare(commitment_of("upgrade"), NO_METADATA))
        self.settle(driver)
        upgraded = driver.upgrade(first)
        assert upgraded.state in INCLUDED
        for field in ("network", "driver", "network_id", "embedded", "commitment", "reference", "submitted_at"):
            assert getattr(upgraded, field) == getattr(first, field), field
        assert driver.upgrade(upgraded) == upgraded

    def test_upgrade_does_not_adopt_a_forged_commitment(self, driver: AnchorDriver) -> None:
        """A receipt whose commitment was edited is refused, or comes back with the commitment the network has."""
        receipt = self.anchor(driver, commitment_of("edited"))
        try:
            upgraded = driver.upgrade(altered(receipt, commitment=commitment_of("forged")))
        except REFUSALS:
            return
        assert upgraded.commitment == receipt.commitment

    def test_pending_is_not_included_yet(self, driver: AnchorDriver) -> None:
        """Between submission and the next block an anchor is PENDING, in the receipt and in the verdict."""
        if not driver.capabilities.mines_later:
            pytest.skip("this network includes at once")
        commitment = commitment_of("pending")
        receipt = driver.submit(driver.prepare(commitment, NO_METADATA))
        for pending in (receipt, driver.upgrade(receipt), driver.lookup(receipt.reference)):
            assert (pending.state, pending.block_time) == (ReceiptState.PENDING, None)
            verified = driver.verify(pending, commitment)
            assert (verified.state, verified.block_time) == (ReceiptState.PENDING, None)
        self.settle(driver)
        assert driver.verify(receipt, commitment).state in INCLUDED, "the pending receipt stays usable"

    def test_reorg_is_not_tampering(self, driver: AnchorDriver) -> None:
        """The block of an anchor leaves the chain: not included, not wrong; the same bytes bring it back."""
        commitment = commitment_of("reorg")
        prepared = driver.prepare(commitment, NO_METADATA)
        driver.submit(prepared)
        self.settle(driver)
        receipt = driver.lookup(prepared.reference)
        assert driver.verify(receipt, commitment).state in INCLUDED
        if not self.reorg(driver):
            pytest.skip("this network offers no reorg")
        for call in (lambda: driver.verify(receipt, commitment), lambda: driver.upgrade(receipt)):
            try:
                assert call().state is ReceiptState.PENDING
            except AnchorNotFoundError:
                continue
        assert driver.submit(prepared).reference == prepared.reference
        self.settle(driver)
        assert driver.verify(driver.upgrade(receipt), commitment).state in INCLUDED
        self._assert_count(driver, commitment, 1)

    # Verifying.

    def test_verdict_of_an_honest_receipt(self, driver: AnchorDriver, context: DriverContext) -> None:
        """An included anchor verifies, in this process and in another, and the verdict states what was checked."""
        commitment = commitment_of("honest")
        receipt = self.anchor(driver, commitment)
        reader = self.reopen(context)
        for verified in (driver.verify(receipt, commitment), reader.verify(receipt, commitment)):
            assert verified.commitment == commitment
            assert (verified.network, verified.network_id) == (context.network, receipt.network_id)
            assert verified.reference == receipt.reference
            assert verified.state in INCLUDED
            assert verified.block_time == receipt.block_time
            assert verified.trusts or not driver.capabilities.embedded, "an embedded network must say whom one trusts"
        reader.close()

    def test_block_time_is_shown_only_where_attested(self, driver: AnchorDriver) -> None:
        """A network that attests no time shows none; one that does shows it in UTC."""
        commitment = commitment_of("time")
        receipt = self.anchor(driver, commitment)
        for time in (receipt.block_time, driver.verify(receipt, commitment).block_time):
            assert (time is not None) is driver.capabilities.attests_time
            assert time is None or time.utcoffset() == timedelta(0)

    def test_another_commitment_is_refused(self, driver: AnchorDriver) -> None:
        """An honest receipt does not confirm anything but its own commitment."""
        receipt = self.anchor(driver, commitment_of("mine"))
        assert driver.verify(receipt, receipt.commitment)
        for other in (commitment_of("theirs"), Digest("blake3", receipt.commitment.value)):
            with pytest.raises(VerificationError):
                driver.verify(receipt, other)

    def test_every_changed_claim_is_refused(self, driver: AnchorDriver) -> None:
        """Each field of a receipt and each leaf of its evidence is changed in turn: no verdict at all."""
        self.anchor(driver, commitment_of("neighbour"))
        receipt = self.anchor(driver, commitment_of("claims"))
        assert driver.verify(receipt, receipt.commitment)
        accepted = [
            what
            for what, forged in forgeries(receipt)
            for commitment in {forged.commitment, receipt.commitment}
            if not is_refused(driver.verify, forged, commitment)
        ]
        assert not accepted, f"accepted although changed: {', '.join(accepted)}"

    def test_claimed_state_is_recomputed(self, driver: AnchorDriver) -> None:
        """The state in a receipt is overwritten by what is true now, or the receipt is refused."""
        receipt = self.anchor(driver, commitment_of("state"))
        honest = driver.verify(receipt, receipt.commitment).state
        for claimed in ReceiptState:
            try:
                verified = driver.verify(altered(receipt, state=claimed), receipt.commitment)
            except REFUSALS:
                assert claimed is not receipt.state
            else:
                assert verified.state is honest

    def test_evidence_of_another_anchor_is_refused(self, driver: AnchorDriver) -> None:
        """Parts of two honest receipts are mixed: the evidence of one anchor says nothing about another."""
        mine, theirs = (self.anchor(driver, commitment_of(text)) for text in ("mine", "theirs"))
        assert mine.reference != theirs.reference
        parts: dict[str, Any] = {"reference": theirs.reference, "block_time": theirs.block_time}
        for changes in ({"reference": theirs.reference}, parts, {**parts, "evidence": theirs.evidence}):
            assert is_refused(driver.verify, altered(mine, **changes), mine.commitment), sorted(changes)

    def test_receipt_of_another_network_is_refused(self, driver: AnchorDriver, context: DriverContext) -> None:
        """A receipt of one network is shown to another network of the same kind."""
        other = self.elsewhere(driver, context)
        if other is None:
            pytest.skip("there is no other network of this kind")
        receipt = self.anchor(driver, commitment_of("here"))
        self.anchor(other, commitment_of("there"))
        assert driver.verify(receipt, receipt.commitment)
        assert is_refused(other.verify, receipt, receipt.commitment)
        with pytest.raises(AnchorNotFoundError):
            other.lookup(receipt.reference)
        other.close()

    def test_missing_network_is_neither_wrong_nor_valid(self, driver: AnchorDriver, context: DriverContext) -> None:
        """The network's store is gone: could not check or not found; reading does not make a new one."""
        receipt = self.anchor(driver, commitment_of("gone"))
        driver.close()
        if not self.remove_store(driver, context):
            pytest.skip("this network cannot be removed")
        reader = self.reopen(context)
        for call in (
            lambda: reader.verify(receipt, receipt.commitment),
            lambda: reader.upgrade(receipt),
            lambda: reader.lookup(receipt.reference),
        ):
            with pytest.raises((BackendError, AnchorNotFoundError)):
                call()
        assert reader.status().network == context.network
        reader.close()
        assert not (driver.capabilities.embedded and context.store_dir.exists()), "reading created a store"

    # Living together.

    def test_threads_share_one_driver(self, driver: AnchorDriver) -> None:
        """Eight threads anchor different commitments, look them up and verify them on one driver."""
        start, turn = threading.Barrier(THREADS), threading.Lock()

        def submit(number: int) -> Receipt:
            start.wait()
            with turn:  # core's promise: one journal never prepares and submits at the same time
                receipt = driver.submit(driver.prepare(commitment_of(f"thread {number}"), NO_METADATA))
            driver.status()
            return driver.lookup(receipt.reference)

        def verify(receipt: Receipt) -> VerifiedAnchor:
            start.wait()
            return driver.verify(driver.upgrade(receipt), receipt.commitment)

        with ThreadPoolExecutor(THREADS) as pool:
            receipts = list(pool.map(submit, range(THREADS)))
            self.settle(driver)
            verdicts = list(pool.map(verify, receipts))
        assert [verdict.commitment for verdict in verdicts] == [commitment_of(f"thread {n}") for n in range(THREADS)]
        assert len({verdict.reference for verdict in verdicts}) == THREADS
        assert all(verdict.state in INCLUDED for verdict in verdicts)

    def test_status_describes_the_network(self, driver: AnchorDriver, context: DriverContext) -> None:
        """A network that can be used says so, before anything is anchored and after."""
        before = driver.status()
        receipt = self.anchor(driver, commitment_of("status"))
        after = driver.status()
        for status in (before, after):
            assert (status.network, status.driver, status.ready) == (context.network, driver.name, True)
            assert status.embedded is driver.capabilities.embedded
        assert after.network_id == receipt.network_id

    def test_closing_twice_is_harmless(self, driver: AnchorDriver, context: DriverContext) -> None:
        """A driver is closed twice, once unused; what it anchored stays."""
        receipt = self.anchor(driver, commitment_of("close"))
        unused = self.reopen(context)
        for closing in (driver, driver, unused, unused):
            closing.close()
        reader = self.reopen(context)
        assert reader.verify(receipt, receipt.commitment).commitment == receipt.commitment
        reader.close()

    def test_secrets_stay_inside(
        self, driver: AnchorDriver, context: DriverContext, caplog: pytest.LogCaptureFixture
    ) -> None:
        """No secret of the settings is in anything the driver shows, stores, raises or logs."""
        secrets = [secret.removeprefix("0x") for secret in secrets_in(context.settings) if secret]
        if not secrets:
            pytest.skip("the settings hold no secret")
        caplog.set_level("DEBUG")
        commitment = commitment_of("secret")
        prepared = driver.prepare(commitment, NO_METADATA)
        receipt = self.anchor(driver, commitment)
        with pytest.raises(MrvError) as failure:
            driver.lookup("no reference")
        models = (driver.status(), prepared, receipt, driver.verify(receipt, commitment))
        shown = [repr(driver), str(driver), repr(context), repr(failure.value), str(failure.value.hint), caplog.text]
        shown += [model.to_bytes().decode() for model in models]
        for secret in secrets:
            assert not any(secret in text for text in shown), "a secret is shown"
