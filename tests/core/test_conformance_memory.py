# SPDX-License-Identifier: MIT
"""The in-memory driver passes the conformance suite, and drivers with one defect each do not."""

from __future__ import annotations

import copy
import inspect
import json
import signal
import subprocess
import sys
import textwrap
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from mrv_core.driver import DriverContext
from mrv_core.errors import (
    AnchorConflictError,
    AnchorNotFoundError,
    BackendUnavailableError,
    FormatError,
    MrvError,
    SubmissionRejectedError,
    VerificationError,
)
from mrv_core.models import NO_METADATA, Prepared, ReceiptState
from mrv_core.testing.blocks import Payload, reference_of
from mrv_core.testing.conformance import DriverConformance, altered, commitment_of, mutations
from mrv_core.testing.memory import Fault, MemoryChain, MemoryDriver, MemorySettings

COMMITMENT = commitment_of("a run")


class SettingsWithSecret(MemorySettings):
    token: SecretStr = SecretStr("sentinel-4711")


class MemoryConformance(DriverConformance):
    driver_class = MemoryDriver

    def count(self, driver, commitment):
        return driver.chain.count(commitment)

    def reorg(self, driver):
        driver.chain.reorg(driver.chain.height())
        return True

    def anchor_by_another(self, driver, commitment):
        settings = driver._settings.model_copy(update={"sender": "them", "instant_mining": True})
        other = MemoryDriver(DriverContext(driver._network, settings, driver.chain.path.parent))
        other.submit(other.prepare(commitment, NO_METADATA))
        return True


class TestInstantMining(MemoryConformance):
    @pytest.fixture
    def context(self, tmp_path: Path) -> DriverContext:
        return DriverContext("alpha", SettingsWithSecret(), tmp_path / "store")


class TestMiningLater(MemoryConformance):
    @pytest.fixture
    def context(self, tmp_path: Path) -> DriverContext:
        settings = MemorySettings(instant_mining=False, finality_depth=3, attests_time=False)
        return DriverContext("beta", settings, tmp_path / "store")

    def settle(self, driver):
        driver.chain.mine(2)


MARKET = MemorySettings(
    instant_mining=False, finality_depth=3, replaces=True, searches=True, sequential=True, max_fee=50
)


class MarketConformance(MemoryConformance):
    """A network whose driver searches, outbids what is stuck, and numbers what it sends."""

    def settle(self, driver):
        driver.chain.mine(2)

    def ask_for_more(self, driver):
        driver.chain.set_fees(mining=2 * driver.chain.fees().mining + 5)
        driver.chain.mine()
        return True

    def overtake(self, driver, prepared):
        driver.chain.spend(bytes.fromhex(prepared.payload_hex))
        driver.chain.mine(2)
        return True


class TestFeesAndConflicts(MarketConformance):
    @pytest.fixture
    def context(self, tmp_path: Path) -> DriverContext:
        return DriverContext("gamma", MARKET, tmp_path / "store")


# The suite can fail: each driver below is the memory driver with one defect that a real one could have.


class SendsWhenPreparing(MemoryDriver):
    def prepare(self, commitment, metadata):
        prepared = super().prepare(commitment, metadata)
        self.submit(prepared)
        return prepared


class AnchorsAgain(MemoryDriver):
    """Builds a new transaction when it is asked to submit one that is already known."""

    def submit(self, prepared):
        if self.chain.count(prepared.commitment):
            super().submit(super().prepare(prepared.commitment, NO_METADATA))
        return super().submit(prepared)


class ForgetsAfterRestart(MemoryDriver):
    """Knows what to send only in the process that prepared it."""

    def prepare(self, commitment, metadata):
        self.prepared = super().prepare(commitment, metadata)
        return self.prepared

    def submit(self, prepared):
        return super().submit(self.prepared)


class AcceptsAnyCommitment(MemoryDriver):
    def verify(self, receipt, commitment):
        verified = super().verify(receipt, receipt.commitment)
        return verified.model_copy(update={"commitment": commitment})


class RepeatsBlockTime(MemoryDriver):
    def verify(self, receipt, commitment):
        honest = self.lookup(receipt.reference).block_time
        verified = super().verify(altered(receipt, block_time=honest), commitment)
        return verified.model_copy(update={"block_time": receipt.block_time})


class IgnoresEvidence(MemoryDriver):
    def verify(self, receipt, commitment):
        honest = self.lookup(receipt.reference)
        return super().verify(altered(receipt, evidence=honest.evidence), commitment)


class BelievesReference(MemoryDriver):
    """Checks the evidence without tying it to the reference; lets an exception out where it is malformed."""

    def verify(self, receipt, commitment):
        proven = reference_of(bytes.fromhex(receipt.evidence["payload"]))
        verified = super().verify(altered(receipt, reference=proven), commitment)
        return verified.model_copy(update={"reference": receipt.reference})


class RepeatsState(MemoryDriver):
    def verify(self, receipt, commitment):
        return super().verify(receipt, commitment).model_copy(update={"state": receipt.state})


class LeaksLibraryErrors(MemoryDriver):
    def lookup(self, reference):
        try:
            return super().lookup(reference)
        except MrvError as error:
            raise KeyError(reference) from error


class MistakesReorgForTampering(MemoryDriver):
    def verify(self, receipt, commitment):
        try:
            return super().verify(receipt, commitment)
        except AnchorNotFoundError as error:
            raise VerificationError(error.message) from error


class MistakesLossForTampering(MemoryDriver):
    def verify(self, receipt, commitment):
        try:
            return super().verify(receipt, commitment)
        except BackendUnavailableError as error:
            raise VerificationError(error.message) from error


class CreatesStoreWhenReading(MemoryDriver):
    def status(self):
        self.chain.path.parent.mkdir(parents=True, exist_ok=True)
        return super().status()


class ShowsSecret(MemoryDriver):
    def __repr__(self):
        return f"ShowsSecret({self._settings.token.get_secret_value()})"


NOT_RAISED = pytest.fail.Exception


@pytest.mark.parametrize(
    ("defect", "scenario", "failure"),
    [
        (SendsWhenPreparing, "test_prepare_anchors_nothing", NOT_RAISED),
        (AnchorsAgain, "test_submitting_twice_anchors_once", AssertionError),
        (ForgetsAfterRestart, "test_another_process_submits_after_a_crash", AttributeError),
        (AcceptsAnyCommitment, "test_another_commitment_is_refused", NOT_RAISED),
        (RepeatsBlockTime, "test_every_changed_claim_is_refused", AssertionError),
        (IgnoresEvidence, "test_every_changed_claim_is_refused", AssertionError),
        (BelievesReference, "test_every_changed_claim_is_refused", TypeError),
        (BelievesReference, "test_evidence_of_another_anchor_is_refused", AssertionError),
        (RepeatsState, "test_claimed_state_is_recomputed", AssertionError),
        (LeaksLibraryErrors, "test_lookup_of_nonsense", KeyError),
        (MistakesReorgForTampering, "test_reorg_is_not_tampering", VerificationError),
        (MistakesLossForTampering, "test_missing_network_is_neither_wrong_nor_valid", VerificationError),
        (CreatesStoreWhenReading, "test_missing_network_is_neither_wrong_nor_valid", AssertionError),
        (ShowsSecret, "test_secrets_stay_inside", AssertionError),
    ],
)
def test_the_suite_catches(defect, scenario, failure, tmp_path, caplog):
    class Suite(MemoryConformance):
        driver_class = defect

    context = DriverContext("alpha", SettingsWithSecret(), tmp_path / "store")
    offered = {"driver": defect(context), "context": context, "caplog": caplog, "reference": "no reference"}
    test = getattr(Suite(), scenario)
    with pytest.raises(failure):
        test(**{name: offered[name] for name in inspect.signature(test).parameters})


class AdoptsAnybodysAnchor(MemoryDriver):
    def find(self, commitment, metadata):
        theirs = MemoryDriver(
            DriverContext(self._network, MARKET.model_copy(update={"sender": "them"}), self.chain.path.parent)
        )
        return super().find(commitment, metadata) or theirs.find(commitment, metadata)


class SearchesBlocksOnly(MemoryDriver):
    """Says that what waits in the mempool is not there, so that core would send it once more."""

    def find(self, commitment, metadata):
        found = super().find(commitment, metadata)
        return None if found is None or found.state is ReceiptState.PENDING else found


class FindsWhatItAnchoredLast(MemoryDriver):
    def submit(self, prepared):
        self.last = super().submit(prepared)
        return self.last

    def find(self, commitment, metadata):
        return super().find(commitment, metadata) and self.last


class FindsAnything(MemoryDriver):
    def find(self, commitment, metadata):
        return super().find(commitment_of("anchored"), metadata)


class ReplacesAtOnce(MemoryDriver):
    def replace(self, prepared, receipt):
        return self._build(content_of(prepared).model_copy(update={"fee": content_of(prepared).fee + 1}))


class NeverReplaces(MemoryDriver):
    def replace(self, prepared, receipt):
        return None


class ReplacesInAnotherSlot(MemoryDriver):
    """Pays from another coin, so that both anchors can be included."""

    def replace(self, prepared, receipt):
        return self._build(content_of(super().replace(prepared, receipt)).model_copy(update={"slot": "another"}))


class WaitsForWhatIsOutdone(MemoryDriver):
    def upgrade(self, receipt):
        try:
            return super().upgrade(receipt)
        except AnchorConflictError:
            return receipt


class MistakesConflictForTampering(MemoryDriver):
    def verify(self, receipt, commitment):
        try:
            return super().verify(receipt, commitment)
        except AnchorNotFoundError as error:
            raise VerificationError(error.message) from error


def content_of(prepared: Prepared) -> Payload:
    return Payload.from_bytes(bytes.fromhex(prepared.payload_hex), what="payload")


@pytest.mark.parametrize(
    ("defect", "scenario", "failure"),
    [
        (AdoptsAnybodysAnchor, "test_anchors_of_others_are_not_found", AssertionError),
        (SearchesBlocksOnly, "test_own_anchor_is_found_by_its_commitment", AssertionError),
        (FindsWhatItAnchoredLast, "test_the_oldest_is_found", AssertionError),
        (FindsAnything, "test_what_is_not_there_is_not_found", AssertionError),
        (ReplacesAtOnce, "test_nothing_is_replaced_right_after_submission", AssertionError),
        (NeverReplaces, "test_what_waits_in_vain_is_outbid", AssertionError),
        (ReplacesInAnotherSlot, "test_one_of_both_is_included", AssertionError),
        (WaitsForWhatIsOutdone, "test_what_is_overtaken_for_good_is_a_conflict", NOT_RAISED),
        (MistakesConflictForTampering, "test_what_is_overtaken_for_good_is_a_conflict", VerificationError),
    ],
)
def test_the_suite_catches_among_several_attempts(defect, scenario, failure, tmp_path):
    class Suite(MarketConformance):
        driver_class = defect

    context = DriverContext("gamma", MARKET, tmp_path / "store")
    offered = {"driver": defect(context), "context": context, "older_first": True}
    test = getattr(Suite(), scenario)
    offered["driver"].chain.set_fees(mining=1)
    with pytest.raises(failure):
        test(**{name: offered[name] for name in inspect.signature(test).parameters})


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_every_mutation_is_a_change_and_leaves_the_original_alone(value):
    before = copy.deepcopy(value)
    texts = [json.dumps(changed, sort_keys=True) for _, changed in mutations(value)]
    assert texts
    assert json.dumps(before, sort_keys=True) not in texts
    assert json.dumps(value) == json.dumps(before)


# The memory driver's own promises: scripted failures, time, reorgs, and a chain that outlives its process.


@pytest.fixture
def driver(tmp_path: Path) -> MemoryDriver:
    return MemoryDriver(DriverContext("alpha", MemorySettings(), tmp_path / "store"))


def test_failures_before_anything_is_done(driver):
    prepared = driver.prepare(COMMITMENT, NO_METADATA)
    driver.script("submit", Fault.UNAVAILABLE, Fault.REJECTED, ZeroDivisionError("not one of ours"))
    with pytest.raises(BackendUnavailableError) as failure:
        driver.submit(prepared)
    assert failure.value.retryable
    with pytest.raises(SubmissionRejectedError):
        driver.submit(prepared)
    with pytest.raises(ZeroDivisionError):
        driver.submit(prepared)
    assert driver.chain.count(COMMITMENT) == 0
    assert driver.submit(prepared).state is ReceiptState.FINAL


def test_a_lost_reply_hides_a_success(driver):
    prepared = driver.prepare(COMMITMENT, NO_METADATA)
    driver.script("submit", Fault.LOST_REPLY)
    with pytest.raises(BackendUnavailableError, match="lost its reply"):
        driver.submit(prepared)
    assert driver.chain.count(COMMITMENT) == 1
    assert driver.submit(prepared).reference == prepared.reference
    assert driver.chain.count(COMMITMENT) == 1


@pytest.mark.parametrize("release", ["released", "close"])
def test_a_hanging_call_goes_on_when_released(driver, release):
    prepared = driver.prepare(COMMITMENT, NO_METADATA)
    driver.script("submit", Fault.HANG)
    thread = threading.Thread(target=driver.submit, args=(prepared,))
    thread.start()
    assert driver.status().ready, "other calls go on"
    assert driver.chain.count(COMMITMENT) == 0
    driver.released.set() if release == "released" else driver.close()
    thread.join(timeout=30)
    assert driver.chain.count(COMMITMENT) == 1


def test_a_lie_speaks_of_another_commitment(driver):
    receipt = driver.submit(driver.prepare(COMMITMENT, NO_METADATA))
    for method in ("prepare", "submit", "lookup", "upgrade", "verify"):
        driver.script(method, Fault.LIE)
    prepared = driver.prepare(COMMITMENT, NO_METADATA)
    answers = [prepared, driver.submit(prepared), driver.lookup(receipt.reference), driver.upgrade(receipt)]
    assert COMMITMENT not in [answer.commitment for answer in (*answers, driver.verify(receipt, COMMITMENT))]
    assert driver.verify(receipt, COMMITMENT).commitment == COMMITMENT


def test_a_network_that_is_down_says_so_in_its_status(driver):
    driver.script("status", Fault.UNAVAILABLE)
    assert (driver.status().ready, driver.status().ready) == (False, True)


def test_failures_are_set_in_the_settings_of_another_process(tmp_path):
    settings = MemorySettings.model_validate_json(b'{"fail": {"submit": ["unavailable", "lost_reply"]}}')
    driver = MemoryDriver(DriverContext("alpha", settings, tmp_path))
    prepared = driver.prepare(COMMITMENT, NO_METADATA)
    counts = []
    for _ in range(2):
        with pytest.raises(BackendUnavailableError):
            driver.submit(prepared)
        counts.append(driver.chain.count(COMMITMENT))
    assert counts == [0, 1]
    for wrong in (b'{"fail": {"submit": ["explode"]}}', b'{"fail": {"sumbit": ["hang"]}}'):
        with pytest.raises(ValidationError, match="fail"):
            MemorySettings.model_validate_json(wrong)


def test_times_come_from_the_clock_and_never_go_back(tmp_path):
    noon = datetime(2026, 1, 11, 12, tzinfo=UTC)
    times = iter([noon, noon, noon - timedelta(hours=1), noon - timedelta(hours=1)])
    driver = MemoryDriver(DriverContext("alpha", MemorySettings(), tmp_path), clock=lambda: next(times))
    first, second = (driver.submit(driver.prepare(COMMITMENT, NO_METADATA)) for _ in range(2))
    assert (first.submitted_at, first.block_time) == (noon, noon)
    assert (second.submitted_at, second.block_time) == (noon - timedelta(hours=1), noon)


@pytest.mark.parametrize("keep", [True, False])
def test_a_reorg_returns_anchors_to_the_mempool_or_drops_them(driver, keep):
    receipt = driver.submit(driver.prepare(COMMITMENT, NO_METADATA))
    driver.chain.reorg(1, keep=keep)
    assert driver.chain.count(COMMITMENT) == (1 if keep else 0)
    if keep:
        assert driver.upgrade(receipt).state is ReceiptState.PENDING
    else:
        with pytest.raises(AnchorNotFoundError):
            driver.upgrade(receipt)
    driver.chain.mine()
    with pytest.raises(AnchorNotFoundError, match="not in the active chain"):
        driver.verify(receipt, COMMITMENT)


def test_confirmations_count_the_including_block(tmp_path):
    settings = MemorySettings(instant_mining=False, finality_depth=3)
    driver = MemoryDriver(DriverContext("alpha", settings, tmp_path))
    receipt = driver.submit(driver.prepare(COMMITMENT, NO_METADATA))
    seen = []
    for _ in range(4):
        verified = driver.verify(receipt, COMMITMENT)
        seen.append((verified.confirmations, verified.state.value))
        driver.chain.mine()
    assert seen == [(0, "PENDING"), (1, "INCLUDED"), (2, "INCLUDED"), (3, "FINAL")]


def test_two_names_in_one_folder_are_two_networks(tmp_path):
    alpha, beta = (MemoryDriver(DriverContext(name, MemorySettings(), tmp_path)) for name in ("alpha", "beta"))
    receipt = alpha.submit(alpha.prepare(COMMITMENT, NO_METADATA))
    beta.submit(beta.prepare(COMMITMENT, NO_METADATA))
    with pytest.raises(VerificationError):
        beta.verify(receipt, COMMITMENT)
    with pytest.raises(AnchorNotFoundError):
        beta.lookup(receipt.reference)


def test_a_prepared_anchor_that_was_edited_is_not_sent(driver):
    prepared = driver.prepare(COMMITMENT, NO_METADATA)
    for payload in (prepared.payload_hex.replace("7b", "7d", 1), prepared.payload_hex.upper(), "not hexadecimal"):
        with pytest.raises(FormatError):
            driver.submit(prepared.model_copy(update={"payload_hex": payload}))
    assert driver.chain.count(COMMITMENT) == 0


def test_a_damaged_file_is_could_not_check(driver):
    receipt = driver.submit(driver.prepare(COMMITMENT, NO_METADATA))
    driver.chain.path.write_bytes(b"not a database, and long enough to be looked at" * 100)
    for call in (lambda: driver.verify(receipt, COMMITMENT), lambda: driver.lookup(receipt.reference)):
        with pytest.raises(BackendUnavailableError, match="cannot use"):
            call()


def test_the_chain_outlives_a_killed_process(tmp_path):
    program = f"""
        import os, signal, sys
        from pathlib import Path
        from mrv_core.driver import DriverContext
        from mrv_core.hashing import Digest
        from mrv_core.testing.memory import MemoryDriver, MemorySettings

        assert "pytest" not in sys.modules
        driver = MemoryDriver(DriverContext("alpha", MemorySettings(), Path({str(tmp_path)!r})))
        prepared = driver.prepare(Digest.parse({str(COMMITMENT)!r}), {{}})
        sys.stdout.buffer.write(prepared.to_bytes())
        sys.stdout.flush()
        driver.submit(prepared)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert MemoryChain(tmp_path, "alpha").count(COMMITMENT) == 1
    driver = MemoryDriver(DriverContext("alpha", MemorySettings(), tmp_path))
    driver.submit(Prepared.from_bytes(killed.stdout, what="prepared anchor"))
    assert driver.chain.count(COMMITMENT) == 1


# Fees, replacement, conflicts and searching, of the memory network itself.


@pytest.fixture
def market(tmp_path: Path) -> MemoryDriver:
    return MemoryDriver(DriverContext("gamma", MARKET, tmp_path / "store"))


def test_what_pays_too_little_waits_or_is_refused_for_now(market):
    prepared = market.prepare(COMMITMENT, NO_METADATA)
    market.chain.set_fees(mining=7, relaying=7)
    with pytest.raises(SubmissionRejectedError, match="less than the fee of 7") as failure:
        market.submit(prepared)
    assert failure.value.retryable
    assert market.chain.count(COMMITMENT) == 0
    market.chain.set_fees(mining=7)
    receipt = market.submit(prepared)
    market.chain.mine()
    assert market.upgrade(receipt).state is ReceiptState.PENDING
    assert content_of(market.replace(prepared, receipt)).fee == 7
    assert content_of(market.prepare(COMMITMENT, NO_METADATA)).fee == 7
    market.chain.set_fees()
    assert market.replace(prepared, receipt) is None, "it pays enough now"
    market.chain.mine()
    assert market.upgrade(receipt).state is ReceiptState.INCLUDED


def test_no_more_is_paid_than_allowed(market):
    prepared = market.prepare(COMMITMENT, NO_METADATA)
    market.chain.set_fees(relaying=1000)
    assert content_of(market.replace(prepared, None)).fee == MARKET.max_fee
    assert market.replace(market.replace(prepared, None), None) is None


def test_a_replacement_evicts_and_both_orders_of_mining_are_possible(market):
    prepared = market.prepare(COMMITMENT, NO_METADATA)
    market.submit(prepared)
    market.chain.set_fees(mining=5)
    market.chain.mine()
    replacement = market.replace(prepared, market.lookup(prepared.reference))
    market.submit(replacement)
    assert market.chain.count(COMMITMENT) == 1
    with pytest.raises(AnchorNotFoundError):
        market.lookup(prepared.reference)
    market.chain.evict()
    market.submit(prepared)
    market.chain.set_fees()
    market.chain.mine()
    assert market.lookup(prepared.reference).state is ReceiptState.INCLUDED
    with pytest.raises(SubmissionRejectedError, match="does not replace"):
        market.submit(replacement)
    market.chain.mine(2)
    with pytest.raises(AnchorConflictError):
        market.submit(replacement)


def test_a_conflict_counts_when_it_is_buried_and_not_after_a_reorg(market):
    prepared = market.prepare(COMMITMENT, NO_METADATA)
    receipt = market.submit(prepared)
    market.chain.spend(bytes.fromhex(prepared.payload_hex))
    market.chain.mine()
    with pytest.raises(AnchorNotFoundError):
        market.upgrade(receipt)
    market.chain.mine()
    with pytest.raises(AnchorConflictError):
        market.upgrade(receipt)
    market.chain.reorg(3, keep=False)
    assert market.submit(prepared).state is ReceiptState.PENDING
    market.chain.mine()
    with pytest.raises(FormatError, match="is used up"):
        market.chain.spend(bytes.fromhex(prepared.payload_hex))


def test_slots_are_numbered_by_what_the_chain_has_taken(market):
    first, second = (market.prepare(commitment_of(str(n)), NO_METADATA) for n in range(2))
    assert [content_of(prepared).slot for prepared in (first, second)] == ["0", "0"]
    market.submit(first)
    assert content_of(market.prepare(COMMITMENT, NO_METADATA)).slot == "1"
    with pytest.raises(SubmissionRejectedError):
        market.submit(second)


def test_searching_a_network_that_is_gone_is_searching_an_empty_one(market):
    assert market.find(COMMITMENT, NO_METADATA) is None
    assert not market.chain.path.exists()
    market.script("find", Fault.UNAVAILABLE)
    with pytest.raises(BackendUnavailableError):
        market.find(COMMITMENT, NO_METADATA)
