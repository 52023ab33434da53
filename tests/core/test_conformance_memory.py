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
    AnchorNotFoundError,
    BackendUnavailableError,
    FormatError,
    MrvError,
    SubmissionRejectedError,
    VerificationError,
)
from mrv_core.models import NO_METADATA, Prepared, ReceiptState
from mrv_core.testing.chain import reference_of
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
