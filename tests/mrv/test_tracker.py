# SPDX-License-Identifier: MIT
"""The tracker measures and writes what it measured; whatever happens to it, the training goes on as without it."""

from __future__ import annotations

import atexit
import itertools
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mrv_core import MRVTracker
from mrv_core.errors import ConfigurationError, FormatError, RunStateError, StorageError
from mrv_core.mrv import meters
from mrv_core.mrv.meters import Detected
from mrv_core.mrv.recompute import check_numbers, check_samples
from mrv_core.mrv.record import MAX_RECORD_BYTES, Component, Method, MrvRecord, Status, parse_record
from mrv_core.mrv.samples import read_samples
from mrv_core.mrv.storage import samples_path
from mrv_core.tracker import ProvenanceTracker

FAST: dict[str, Any] = {"blockchain_enabled": False, "interval_s": 0.05}


class Steady:
    """A meter that always gives the same power, or raises what it is given."""

    component = Component.CPU
    method = Method.MEASURED
    source = "a steady meter"
    limit_mw = 10_000

    def __init__(self, *answers: Any) -> None:
        self._answers = itertools.chain(answers, itertools.repeat(answers[-1]))

    def start(self) -> None:
        """Nothing to prepare."""

    def read(self, elapsed_s: float) -> int:
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer


def found(*steady: Steady) -> Any:
    return lambda scope: Detected(meters=steady, tool_version="1", unmeasured={Component.GPU: "none was found"})


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meters, "detect", found(Steady(5000)))


def wait_for_samples(tracker: MRVTracker, count: int = 2) -> None:
    path = samples_path(tracker.record_path)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not (path.exists() and path.read_bytes().count(b"\n") > count):
        time.sleep(0.01)


def require_right(tracker: MRVTracker) -> MrvRecord:
    """Check that the file is the record, and that its numbers are those of its samples."""
    record = parse_record(tracker.record_path.read_bytes(), what="the record")
    assert record == tracker.record
    assert tracker.mrv_hash == record.hash.hex
    assert check_numbers(record) == []
    if record.samples is not None:
        file = read_samples(samples_path(tracker.record_path))
        assert check_samples(record, record.samples, file) == []
    return record


def test_a_real_measurement(tmp_path):
    """With CodeCarbon and this machine's hardware."""
    with MRVTracker(
        "real", "MLP", "digits", 2, 32, "numpy", tmp_path / "mrv", emission_factor=56.039, pue=1.2, **FAST
    ) as tracker:
        assert tracker.start_time is not None
        assert tracker.start_time_iso.endswith("Z")
        wait_for_samples(tracker)
        for epoch in range(2):
            with tracker.epoch(epoch):
                tracker.log(loss=1 / (epoch + 1))
                wait_for_samples(tracker, 6 * (epoch + 1))
        tracker.log(accuracy=0.5, divergence=float("nan"))
    record = require_right(tracker)
    assert record.status is Status.COMPLETED
    assert record.measurement.measurement_tool == "CodeCarbon"
    assert record.measurement.tool_version is not None
    assert {part.component for part in record.energy.components} == set(Component)
    assert record.energy.total_uwh > 0
    assert record.emissions.factor.value == 56_039
    assert record.metrics == {"accuracy": 0.5, "divergence": {"non_finite": "NaN"}}
    assert [(epoch.epoch, epoch.metrics) for epoch in record.epochs] == [(0, {"loss": 1.0}), (1, {"loss": 0.5})]
    assert all(epoch.energy_uwh is not None for epoch in record.epochs)
    assert record.environment["python"]
    assert record.hardware.cpu_cores == os.cpu_count()
    first = record.measurement.gaps[0]
    assert (first.component, first.start_ms, first.reason) == (None, 0, "the hardware was being detected")
    names = sorted(path.name for path in tracker.storage_dir.iterdir())
    assert names == [f"{tracker.mrv_id}.json", f"{tracker.mrv_id}.samples.csv"]


def test_it_is_anchored_and_verified(tmp_path, steady):
    with MRVTracker("anchored", storage_dir=tmp_path, interval_s=0.05) as tracker:
        wait_for_samples(tracker)
    assert set(tracker.receipts) == {"ethereum", "ipfs", "log"}
    assert tracker.tx_hash == tracker.receipts["ethereum"].reference
    assert {str(receipt.commitment) for receipt in tracker.receipts.values()} == {f"sha256:{tracker.mrv_hash}"}
    assert tracker.verify_on_blockchain().status == "VALID"
    require_right(tracker)


def test_it_is_anchored_when_it_is_told_to(tmp_path, steady):
    tracker = MRVTracker("later", storage_dir=tmp_path, interval_s=0.05, auto_anchor=False)
    with pytest.raises(RunStateError, match="there is no record yet"):
        tracker.anchor()
    with tracker:
        wait_for_samples(tracker)
    assert (tracker.tx_hash, tracker.receipts) == (None, {})
    assert tracker.verify_on_blockchain().status == "NOT FOUND"
    assert set(tracker.anchor(["log"])) == {"log"}
    assert tracker.verify_on_blockchain().status == "VALID"
    assert tracker.wait_until_final(5) == []


def test_without_anchoring_there_is_no_journal(tmp_path, steady):
    with MRVTracker("alone", storage_dir=tmp_path, **FAST) as tracker:
        wait_for_samples(tracker)
    assert tracker.tx_hash is None
    assert not list(tmp_path.glob("journal*"))
    for call in (tracker.anchor, tracker.verify_on_blockchain, lambda: tracker.wait_until_final(1)):
        with pytest.raises(ConfigurationError, match="anchoring is off"):
            call()


def test_an_unknown_factor_stays_unknown(tmp_path, steady):
    with MRVTracker("unknown", storage_dir=tmp_path, **FAST) as tracker:
        wait_for_samples(tracker)
    record = require_right(tracker)
    assert record.energy.total_uwh is not None
    assert (record.emissions.factor, record.emissions.co2e_mg) == (None, None)


def test_a_country_s_factor_is_that_of_the_data(tmp_path, steady):
    with MRVTracker("france", storage_dir=tmp_path, country="FRA", **FAST) as tracker:
        wait_for_samples(tracker)
    factor = require_right(tracker).emissions.factor
    assert (factor.region, factor.value > 0, factor.source.startswith("CodeCarbon ")) == ("FRA", True, True)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"country": "XXX"}, ConfigurationError, "no emission factor for the country 'XXX'"),
        ({"country": "CAF"}, ConfigurationError, "no emission factor for the country 'CAF'"),
        ({"country": "France"}, ConfigurationError, "'France' is no country code"),
        ({"country": "FRA", "emission_factor": 5}, ConfigurationError, "both given"),
        ({"emission_factor": float("nan")}, FormatError, "the emission factor in g CO2e/kWh"),
        ({"emission_factor": -1}, FormatError, "the emission factor in g CO2e/kWh"),
        ({"pue": 0.9}, ConfigurationError, "a PUE is 1 or more"),
        ({"pue": 120}, ConfigurationError, "100 at most, not 120"),
        ({"emission_factor": 1e300}, FormatError, "beyond 2"),
        ({"emission_factor": 1, "emission_factor_source": "\udc80"}, FormatError, "lone surrogate"),
        ({"interval_s": 0}, ConfigurationError, "interval_s is"),
        ({"scope": "room"}, ConfigurationError, 'scope is "machine" or "process"'),
        ({"mrv_id": "MRV 1"}, FormatError, "an MRV id is"),
        ({"mrv_id": "../x"}, FormatError, "cannot be a file's name"),
        ({"epochs": -1}, FormatError, "epochs"),
        ({"batch_size": "32"}, FormatError, "batch_size"),
        ({"registry_url": "registry.example"}, ConfigurationError, "registry_url: not an http or https URL"),
    ],
)
def test_bad_settings_are_refused_before_anything_happens(tmp_path, settings, error, message):
    with pytest.raises(error, match=message):
        MRVTracker("bad", storage_dir=tmp_path / "new", **{**FAST, **settings})
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_written_is_found_before_the_training(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        MRVTracker("nowhere", storage_dir=tmp_path / "file" / "mrv", **FAST).start()


def test_a_folder_that_is_lost_meanwhile_does_not_lose_the_record(tmp_path, steady, caplog):
    tracker = MRVTracker("moved", storage_dir=tmp_path / "mrv", **FAST).start()
    wait_for_samples(tracker)
    shutil.rmtree(tmp_path / "mrv")
    (tmp_path / "mrv").write_text("in the way")
    record = tracker.stop()
    assert parse_record(tracker.record_path.read_bytes(), what="the record") == record
    assert record.energy.total_uwh > 0
    assert record.samples is None
    assert f"is in {tracker.record_path} instead" in caplog.text


def test_starting_and_stopping(tmp_path, steady):
    tracker = MRVTracker("order", storage_dir=tmp_path, mrv_id="MRV-mine", **FAST)
    for early in (tracker.stop, lambda: tracker.log(a=1), lambda: tracker.epoch(0).__enter__()):
        with pytest.raises(RunStateError):
            early()
    tracker.start()
    with pytest.raises(RunStateError, match="was started before"):
        tracker.start()
    with tracker.epoch(0), pytest.raises(RunStateError, match="epoch 0 has not ended"), tracker.epoch(1):
        pass
    with pytest.raises(FormatError, match="thing"):
        tracker.log(thing=object())
    with pytest.raises(FormatError, match="deeper than 64"):
        tracker.log(deep=json.loads("[" * 62 + "]" * 62))
    for number in (-1, 0.5, "1", True):
        with pytest.raises(FormatError, match="an epoch is a whole number"), tracker.epoch(number):
            pass
    with tracker.epoch(np.int64(7)):
        pass
    record = tracker.stop()
    assert tracker.stop() is record
    assert [epoch.epoch for epoch in record.epochs] == [0, 7]
    with pytest.raises(RunStateError, match="not measuring"):
        tracker.log(a=1)
    with pytest.raises(RunStateError, match="there is a record"):
        MRVTracker("again", storage_dir=tmp_path, mrv_id="MRV-mine", **FAST).start()


@pytest.mark.parametrize("why", ["a traceback\n" * 1000, "\udc80"])
def test_any_reason_is_kept(tmp_path, steady, why):
    tracker = MRVTracker("ended", storage_dir=tmp_path, **FAST).start()
    assert tracker.stop(why).status is Status.INTERRUPTED
    require_right(tracker)


def test_the_samples_of_a_killed_training_are_not_those_of_another(tmp_path, steady):
    path = tmp_path / "MRV-mine.samples.csv"
    path.write_text("end_ms,span_ms,cpu_mw\n3600000,3600000,99000\n")
    with pytest.raises(RunStateError, match="there is a file of samples"):
        MRVTracker("again", storage_dir=tmp_path, mrv_id="MRV-mine", **FAST).start()


def test_more_metrics_than_a_record_takes_do_not_lose_it(tmp_path, steady):
    with MRVTracker("much", storage_dir=tmp_path, **FAST) as tracker:
        wait_for_samples(tracker)
        tracker.log(text="x" * MAX_RECORD_BYTES)
    record = require_right(tracker)
    assert record.metrics == {"left_out": "too large for a record"}
    assert record.energy.total_uwh > 0
    assert "too large for a record" in tracker.error.message


def test_as_a_decorator(tmp_path, steady):
    tracker = MRVTracker("decorated", storage_dir=tmp_path, **FAST)

    @tracker
    def train(steps: int) -> int:
        """Train."""
        wait_for_samples(tracker)
        return steps * 2

    assert (train.__name__, train.__doc__, train(21)) == ("train", "Train.", 42)
    require_right(tracker)


def test_one_inside_another(tmp_path, steady):
    with MRVTracker("outer", storage_dir=tmp_path, **FAST) as outer:
        for _ in range(2):
            with MRVTracker("inner", storage_dir=tmp_path, **FAST) as inner:
                wait_for_samples(inner)
            require_right(inner)
    assert require_right(outer).energy.total_uwh > 0
    assert len(list(tmp_path.glob("MRV-*.json"))) == 3


def test_the_run_that_it_is_about_and_the_record_that_it_corrects(tmp_path, steady):
    run = ProvenanceTracker(tmp_path / "artifacts")
    run.track_data(b"data")
    with MRVTracker("first", storage_dir=tmp_path, provenance=run, **FAST) as first:
        wait_for_samples(first)
    with MRVTracker("second", storage_dir=tmp_path, supersedes=first.record, **FAST) as second:
        wait_for_samples(second)
    link = require_right(first).provenance
    assert (link.run_id, link.root) == (run.run_id, run.tree.root("snapshot"))
    corrected = require_right(second).supersedes
    assert (corrected.mrv_id, corrected.hash.hex) == (first.mrv_id, first.mrv_hash)
    run.close()


# --- what fails in it ---------------------------------------------------------------------------------------------


def test_a_meter_that_fails_at_times_leaves_gaps(tmp_path, monkeypatch):
    meter = Steady(5000, OSError("no such sensor"), ValueError("broken"), 5000)
    monkeypatch.setattr(meters, "detect", found(meter))
    with MRVTracker("gaps", storage_dir=tmp_path, **FAST) as tracker:
        wait_for_samples(tracker, 5)
    record = require_right(tracker)
    (gap,) = [gap for gap in record.measurement.gaps if gap.component is Component.CPU]
    assert gap.reason == "OSError: no such sensor"
    assert record.energy.total_uwh > 0


def detection_that_raises(scope: str) -> Detected:
    raise RuntimeError("no hardware")


def detection_that_hangs(scope: str) -> Detected:
    time.sleep(30)
    return Detected()


@pytest.mark.parametrize(
    ("detect", "reason"),
    [
        (detection_that_raises, "RuntimeError: no hardware"),
        (lambda scope: Detected(unmeasured={Component.CPU: "none was found"}), "cpu: none was found"),
        (detection_that_hangs, "the hardware did not answer in time"),
        (found(Steady(ValueError("NaN"))), "ValueError: NaN"),
    ],
)
def test_what_cannot_be_measured_is_not_known_and_says_why(tmp_path, monkeypatch, detect, reason):
    monkeypatch.setattr(meters, "detect", detect)
    monkeypatch.setattr("mrv_core.mrv.sampler.STOP_TIMEOUT_S", 0.2)
    with MRVTracker("none", storage_dir=tmp_path, emission_factor=50, **FAST) as tracker:
        time.sleep(0.2)
    record = require_right(tracker)
    assert (record.energy.total_uwh, record.emissions.co2e_mg) == (None, None)
    said = [gap.reason for gap in record.measurement.gaps] + [part.source for part in record.energy.components]
    assert any(reason in text for text in said), said


def test_a_reading_that_hangs_costs_what_it_would_have_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(meters, "detect", found(Steady(5000, 5000, lambda: time.sleep(30))))
    monkeypatch.setattr("mrv_core.mrv.sampler.STOP_TIMEOUT_S", 0.2)
    with MRVTracker("hangs", storage_dir=tmp_path, **FAST) as tracker:
        wait_for_samples(tracker, 2)
        time.sleep(0.2)
    record = require_right(tracker)
    assert record.energy.total_uwh > 0
    assert record.measurement.gaps[-1].reason == "the last sample was not taken"


@pytest.mark.parametrize("slow", ["detection", "reading"])
def test_nothing_is_written_after_the_record(tmp_path, monkeypatch, slow):
    def late() -> None:
        resume.wait(20)

    resume = threading.Event()
    meter = Steady(5000, 5000, late)
    monkeypatch.setattr(meters, "detect", lambda scope: (slow == "detection" and late()) or found(meter)(scope))
    monkeypatch.setattr("mrv_core.mrv.sampler.STOP_TIMEOUT_S", 0.2)
    with MRVTracker("late", storage_dir=tmp_path, **FAST) as tracker:
        if slow == "reading":
            wait_for_samples(tracker, 2)
        time.sleep(0.2)
    resume.set()
    tracker._sampler._thread.join(20)
    record = require_right(tracker)
    assert samples_path(tracker.record_path).exists() == (record.samples is not None)


def test_a_failure_of_ours_is_not_the_training_s(tmp_path, monkeypatch, steady):
    monkeypatch.setattr("mrv_core.mrv.tracker.energy_of", lambda *_: 1 / 0)
    with MRVTracker("defect", storage_dir=tmp_path, **FAST) as tracker:
        wait_for_samples(tracker)
    assert tracker.error.message.startswith("ZeroDivisionError")
    atexit.unregister(tracker._at_exit)


def test_no_record_names_a_folder_of_the_machine(tmp_path, monkeypatch):
    def detect(scope: str) -> Detected:
        raise PermissionError(13, "Permission denied", str(tmp_path / "secret"))

    monkeypatch.setattr(meters, "detect", detect)
    with MRVTracker("private", storage_dir=tmp_path, **FAST) as tracker:
        time.sleep(0.2)
    assert "PermissionError: Permission denied" in tracker.record.measurement.gaps[0].reason
    monkeypatch.setattr(meters, "detect", found(Steady(5000)))
    with MRVTracker("damaged", storage_dir=tmp_path, **FAST) as damaged:
        wait_for_samples(damaged)
        samples_path(damaged.record_path).write_text("damaged\n")
    assert "not the head of a file of samples" in damaged.record.measurement.gaps[0].reason
    for each in (tracker, damaged):
        assert str(tmp_path).encode() not in each.record_path.read_bytes()


@pytest.mark.parametrize("answer", [float("nan"), float("inf"), -1.0])
def test_a_power_that_cannot_be_is_refused(answer):
    class Part:
        def measure_power_and_energy(self, elapsed_s: float) -> Any:
            return None, type("Energy", (), {"kWh": answer})()

    meter = meters.CodeCarbonMeter(Part(), Component.CPU, Method.MEASURED, "a part", None)
    with pytest.raises(Exception, match="a part gave"):
        meter.read(1.0)


def test_codecarbon_s_logger_is_as_it_was(tmp_path):
    logger = logging.getLogger("codecarbon")
    meters.detect("machine")  # imported, so that what follows is not the import
    logger.setLevel(logging.INFO)
    before = logger.level, list(logger.handlers), logger.disabled, logger.propagate
    meters.detect("process")
    assert (logger.level, list(logger.handlers), logger.disabled, logger.propagate) == before


# --- what happens to the training -----------------------------------------------------------------------------------

PRELUDE = """
import os, signal, sys, time
from pathlib import Path
from mrv_core import MRVTracker
from mrv_core.mrv.storage import samples_path
tracker = MRVTracker("training", storage_dir="mrv", blockchain_enabled=False, interval_s=0.05)
handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
def measured():
    path = samples_path(tracker.record_path)
    while not path.exists() or path.read_bytes().count(b"\\n") < 3:
        time.sleep(0.01)
    assert handlers == {number: signal.getsignal(number) for number in handlers}
"""


def run(tmp_path: Path, program: str, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    (tmp_path / "train.py").write_text(PRELUDE + textwrap.dedent(program))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        [*command, sys.executable, "train.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )


def record_in(tmp_path: Path) -> MrvRecord:
    (path,) = (path for path in (tmp_path / "mrv").glob("MRV-*.json"))
    return parse_record(path.read_bytes(), what="the record")


@pytest.mark.parametrize(
    ("program", "code", "error", "interruption"),
    [
        ("with tracker:\n    measured()", 0, "", None),
        ("with tracker:\n    measured()\n    raise ValueError('mine')", 1, "ValueError: mine", "ValueError"),
        ("with tracker:\n    measured()\n    sys.exit(3)", 3, "", "SystemExit"),
        ("with tracker:\n    measured()\n    sys.exit(0)", 0, "", None),
        (
            "with tracker:\n    measured()\n    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(9)",
            -signal.SIGINT,
            "KeyboardInterrupt",
            "KeyboardInterrupt",
        ),
        ("tracker.start()\nmeasured()", 0, "", "the program ended without stop()"),
        ("tracker.start()\nmeasured()\nraise OSError('mine')", 1, "OSError: mine", "the program ended without stop()"),
        ("with tracker:\n    measured()\n    if os.fork() == 0:\n        sys.exit(0)\n    os.wait()", 0, "", None),
        ("with tracker:\n    measured()\n    os.chdir('/')", 0, "", None),
        (
            "def train():\n    with tracker:\n        measured()\n"
            "if (child := os.fork()) == 0:\n    train()\n    sys.exit(0)\nassert os.waitpid(child, 0)[1] == 0",
            0,
            "",
            None,
        ),
        (
            "tracker._surroundings.result = lambda: os.kill(os.getpid(), signal.SIGINT) or time.sleep(9)\n"
            "with tracker:\n    measured()\n"
            "    import atexit; atexit.register(lambda: vars(tracker._surroundings).pop('result'))",
            -signal.SIGINT,
            "KeyboardInterrupt",
            "the program ended without stop()",
        ),
    ],
)
def test_the_training_ends_as_it_would_without_it(tmp_path, program, code, error, interruption):
    done = run(tmp_path, program)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.rstrip().endswith(error)
    if not error:
        assert done.stderr == ""
    record = record_in(tmp_path)
    assert record.interruption == interruption
    assert record.energy.total_uwh > 0
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["mrv", "train.py"], "nothing is left anywhere else"


def test_what_was_measured_survives_a_kill(tmp_path):
    done = run(tmp_path, "with tracker:\n    measured()\n    os.kill(os.getpid(), signal.SIGKILL)")
    assert done.returncode == -signal.SIGKILL
    (path,) = (tmp_path / "mrv").glob("*.samples.csv")
    assert len(read_samples(path).samples) >= 2


def test_without_internet_nothing_is_waited_for_or_made_up(tmp_path):
    """In a network namespace of its own, where every look-up fails."""
    command = ("unshare", "-rn")
    if shutil.which("unshare") is None or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("no network namespaces here")
    done = run(tmp_path, "with tracker:\n    measured()", *command)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    record = record_in(tmp_path)
    assert record.emissions.factor is None
    assert record.energy.total_uwh > 0
