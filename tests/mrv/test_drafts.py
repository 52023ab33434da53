# SPDX-License-Identifier: MIT
"""A training that is killed leaves a draft and its samples, and the record that they make is right."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrv_core import MRVTracker
from mrv_core.errors import FormatError, RunStateError, StorageError
from mrv_core.mrv import meters
from mrv_core.mrv.drafts import KILLED, Draft, draft_path, drafts_in, recover, sum_up
from mrv_core.mrv.meters import Detected
from mrv_core.mrv.recompute import check_numbers, check_samples
from mrv_core.mrv.record import Component, MrvRecord, Status, parse_record
from mrv_core.mrv.samples import SampleWriter, parse_samples, read_samples
from mrv_core.mrv.storage import record_path, samples_path

from .making import record_value, steady

MRV = str(Path(sys.executable).with_name("mrv"))

TRAINING = """
import os, signal, sys, time
from mrv_core import MRVTracker
from mrv_core.mrv.drafts import draft_path
from mrv_core.mrv.samples import read_samples
from mrv_core.mrv.storage import samples_path

tracker = MRVTracker("killed", model_name="MLP", epochs=9, storage_dir="mrv", blockchain_enabled=False,
                     interval_s=0.05, country="FRA", mrv_id="MRV-killed")
tracker.start()

def samples(more):
    path = samples_path(tracker.record_path)
    lines = lambda: path.read_bytes().count(b"\\n") if path.exists() else 0
    wanted = lines() + more
    while lines() < wanted:
        time.sleep(0.01)

def noted(text):
    path = draft_path(tracker.record_path)
    while not path.exists() or text not in path.read_text():
        time.sleep(0.01)

samples(3)
with tracker.epoch(0):
    samples(2)
    tracker.log(loss=0.5)
tracker.log(seed=7)
noted('"loss":0.5'), noted('"seed":7')
"""


def train(tmp_path: Path, end: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "train.py").write_text(TRAINING + textwrap.dedent(end))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "train.py"]
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)


def mrv(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [MRV, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)", -signal.SIGTERM),
        ("os._exit(3)", 3),
    ],
)
def test_the_record_of_a_killed_training(tmp_path: Path, end: str, code: int) -> None:
    done = train(tmp_path, end)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")
    folder = tmp_path / "mrv"
    assert sorted(path.name for path in folder.iterdir()) == ["MRV-killed.draft", "MRV-killed.samples.csv"]

    said = mrv("mrv-recover", "--base-dir", folder)
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.startswith("wrote ")
    assert sorted(path.name for path in folder.iterdir()) == ["MRV-killed.json", "MRV-killed.samples.csv"]
    path = folder / "MRV-killed.json"
    record = parse_record(path.read_bytes(), what="the record")
    assert (record.status, record.interruption) == (Status.INTERRUPTED, KILLED)
    assert record.experiment.model_name == "MLP"
    assert record.energy.total_uwh
    assert record.emissions.co2e_mg is not None
    (epoch,) = record.epochs
    assert (epoch.metrics, record.metrics) == ({"loss": 0.5}, {"seed": 7})
    assert epoch.energy_uwh
    file = read_samples(samples_path(path))
    assert record.timestamps.duration_ms == max(file.samples[-1].end_ms, epoch.end_ms)
    assert check_numbers(record) == []
    assert record.samples is not None
    assert check_samples(record, record.samples, file) == []
    assert "not anchored" not in mrv("verify", path, "--samples").stderr
    again = mrv("mrv-recover", "--base-dir", folder)
    assert (again.returncode, again.stderr.strip()) == (0, "no training ended without a record")


def test_what_ends_by_itself_leaves_no_draft(tmp_path: Path) -> None:
    done = train(tmp_path, "assert draft_path(tracker.record_path).exists()\ntracker.stop()")
    assert (done.returncode, done.stderr) == (0, "")
    assert drafts_in(tmp_path / "mrv") == []
    record = parse_record((tmp_path / "mrv" / "MRV-killed.json").read_bytes(), what="the record")
    assert record.status is Status.COMPLETED


def test_a_training_that_runs_is_left_alone(tmp_path: Path) -> None:
    done = train(
        tmp_path,
        """
        import subprocess
        command = [os.path.join(os.path.dirname(sys.executable), "mrv"), "mrv-recover", "--base-dir", "mrv", "--json"]
        said = subprocess.run(command, capture_output=True, text=True)
        print(said.returncode, said.stdout)
        tracker.stop()
        """,
    )
    status, said = done.stdout.split(maxsplit=1)
    assert status == "2", done.stderr
    assert "is still being written" in json.loads(said)["failed"][0]
    assert parse_record((tmp_path / "mrv" / "MRV-killed.json").read_bytes(), what="it").status is Status.COMPLETED


def test_a_training_whose_meters_failed_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_writer: SampleWriter, _sample: Any) -> None:
        failed.set()
        raise StorageError("no space")

    failed = threading.Event()
    monkeypatch.setattr(SampleWriter, "append", full)
    with MRVTracker("full", storage_dir=tmp_path, blockchain_enabled=False, interval_s=0.05) as tracker:
        assert failed.wait(30)
        for sampling in [each for each in threading.enumerate() if each.name == meters.THREAD_NAME]:
            sampling.join(0.2)  # in which it would end, if it did not wait for the training
        with pytest.raises(RunStateError, match="is still being written"):
            recover(draft_path(tracker.record_path))
    assert tracker.record is not None
    assert tracker.record.status is Status.COMPLETED


# Made up, for what a real process does too seldom.


def left(tmp_path: Path, lines: int = 10, **changes: Any) -> tuple[Path, MrvRecord]:
    """Write a draft and its samples as a killed training leaves them; return the draft, and the record that it is."""
    file = steady(lines)
    value = record_value(file, **changes)
    whole = MrvRecord.from_json(value, what="the record")
    path = record_path(tmp_path, whole.mrv_id)
    energy = {**value["energy"], "total_uwh": 0}
    energy["components"] = [{**part, "energy_uwh": 0} if part["method"] else part for part in energy["components"]]
    emissions = {**value["emissions"], "co2e_mg": 0 if value["emissions"]["factor"] else None}
    empty = {"energy": energy, "emissions": emissions, "samples": None}
    draft = MrvRecord.from_json({**value, **empty}, what="the draft")
    draft_path(path).write_bytes(draft.to_bytes())
    samples_path(path).write_bytes(b"".join(line + b"\n" for line in file.lines))
    return draft_path(path), whole


def test_draft_and_samples_make_what_the_tracker_would_have(tmp_path: Path) -> None:
    draft, whole = left(tmp_path)
    record, path = recover(draft)
    expected = whole.model_copy(update={"status": Status.INTERRUPTED, "interruption": KILLED})
    assert record.energy == expected.energy
    assert record.emissions == expected.emissions
    assert record.samples == expected.samples
    assert record.measurement == expected.measurement
    assert parse_record(path.read_bytes(), what="it") == record
    assert not draft.exists()


@given(st.integers(0, 40), st.booleans(), st.integers(0, 60))
def test_any_number_of_samples_makes_a_record_that_agrees_with_itself(count: int, factor: bool, cut: int) -> None:
    whole = MrvRecord.from_json(record_value(steady(60)), what="the record")
    emissions = whole.emissions if factor else whole.emissions.model_copy(update={"factor": None, "co2e_mg": None})
    epochs = whole.epochs[: cut % 3]
    file = parse_samples(b"".join(line + b"\n" for line in steady(60).lines[: count + 1]), what="samples")
    record = sum_up(whole.model_copy(update={"emissions": emissions, "epochs": epochs}), file)
    assert check_numbers(record) == []
    assert record.samples is not None
    assert check_samples(record, record.samples, file) == []


def test_a_line_that_was_being_written_is_cut_off(tmp_path: Path) -> None:
    draft, whole = left(tmp_path)
    samples = samples_path(record_path(tmp_path, whole.mrv_id))
    data = samples.read_bytes()
    for end in range(len(data) - 12, len(data)):
        samples.write_bytes(data[:end])
        again = draft.read_bytes()
        record, path = recover(draft)
        file = read_samples(samples)
        assert len(file.samples) == 9
        assert record.samples is not None
        assert check_samples(record, record.samples, file) == []
        path.unlink()
        draft.write_bytes(again)


def test_what_cannot_be_recovered_is_left_as_it_is(tmp_path: Path) -> None:
    draft, whole = left(tmp_path)
    path = record_path(tmp_path, whole.mrv_id)
    samples = samples_path(path)
    kept = samples.read_bytes(), draft.read_bytes()

    path.write_bytes(b"there")
    with pytest.raises(RunStateError, match="there is a record"):
        recover(draft)
    path.unlink()
    with samples.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(RunStateError, match="still being written"):
            recover(draft)
    samples.write_bytes(kept[0].replace(b"20000", b"2000x", 1))
    with pytest.raises(FormatError, match="line 2"):
        recover(draft)
    samples.unlink()
    with pytest.raises(StorageError, match="samples"):
        recover(draft)
    samples.write_bytes(kept[0])
    for damaged in (b"", b"{}", kept[1][:-1], kept[1].replace(b"1.0", b"9.9", 1)):
        draft.write_bytes(damaged)
        with pytest.raises(FormatError):
            recover(draft)
    assert not path.exists()
    said = mrv("mrv-recover", draft)
    assert said.returncode == 2
    assert "Traceback" not in said.stderr
    draft.write_bytes(kept[1])
    recover(draft)


def test_a_draft_that_cannot_be_written_harms_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Steady:
        component, method, source, limit_mw = Component.CPU, meters.Method.MEASURED, "a steady meter", 10_000

        def start(self) -> None:
            pass

        def read(self, elapsed_s: float) -> int:
            return 5_000

    monkeypatch.setattr(meters, "detect", lambda scope: Detected(meters=(Steady(),), tool_version="1"))
    tracker = MRVTracker("drafts", storage_dir=tmp_path, blockchain_enabled=False, interval_s=0.01)
    draft_path(tracker.record_path).mkdir()
    with tracker:
        path = samples_path(tracker.record_path)
        while not path.exists() or path.read_bytes().count(b"\n") < 2:
            pass
    assert tracker.record is not None
    assert tracker.record.energy.total_uwh is not None


def test_drafts_are_written_when_something_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = MrvRecord.from_json(record_value(steady(5)), what="it")
    now, state, built = [0.0], ["a"], []

    def build() -> MrvRecord:
        built.append(state[0])
        return record

    monkeypatch.setattr("mrv_core.mrv.drafts.time.monotonic", lambda: now[0])
    draft = Draft(tmp_path / "MRV-1.json", lambda: state[0], build)
    draft.update()
    draft.update()
    now[0] += 2
    draft.update()
    assert built == ["a"], "nothing has changed"
    state[0] = "b"
    draft.update()
    assert built == ["a"], "the last look is not a second ago"
    now[0] += 2
    draft.update()
    assert built == ["a", "b"]
    assert (tmp_path / "MRV-1.draft").read_bytes() == record.to_bytes()
    draft.discard()
    draft.discard()
    assert list(tmp_path.iterdir()) == []
