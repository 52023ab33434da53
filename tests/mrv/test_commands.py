# SPDX-License-Identifier: MIT
"""`mrv verify RECORD` and the first version's script: exit statuses, one line for each error, nothing lost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mrv_cli.main import app
from mrv_core.mrv.record import parse_record
from mrv_core.mrv.storage import read_receipts, receipts_path, samples_path

from .making import record_of, steady
from .test_verification import anchored, manager  # noqa: F401 - a fixture

ROOT = Path(__file__).parents[2]


@pytest.fixture
def mrv():
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"blockchain": {"networks": ["log"], "log": {"driver": "log"}}}))
    return path


@pytest.fixture
def record(manager) -> Path:  # noqa: F811
    file = steady(60)
    return anchored(manager, record_of(file), file)


def test_a_record_is_verified(mrv, record, config):
    done = mrv("verify", record, "--samples", "--config", config)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("✅ VALID  The record is unchanged since it was anchored on log.")
    assert "3. Its samples make the numbers: ✅ VALID  60 samples of cpu, ram" in done.stdout
    told = json.loads(mrv("verify", record, "--json", "--config", config).stdout)
    assert (told["format"], told["verdict"]) == ("mrv-record-report/1", "VALID")
    assert mrv("verify", record, "--offline", "--config", config).exit_code == 4


def test_one_digit_is_enough(mrv, record, config):
    record.write_bytes(record.read_bytes().replace(b'"loss":0.5', b'"loss":0.6', 1))
    done = mrv("verify", record, "--config", config)
    assert done.exit_code == 1
    assert "TAMPERED" in done.stdout
    receipts_path(record).unlink()
    Path(record.parent, "journal.sqlite3").unlink()
    assert mrv("verify", record, "--config", config).exit_code == 5


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"mrv_id":"a","schema_version":"1.0","schema_version":"1.0"}', "appears twice"),
        (b'{"mrv_id":"' + b"a" * 10_000_000 + b'","schema_version":"1.0"}', "more than the 8388608 bytes"),
        (b'{"mrv_id":"a","schema_version":"9.0"}', "schema version '9.0'"),
        (b'{"mrv_id":"a","schema_version":"1.0"', "error"),
    ],
)
def test_a_record_that_cannot_be_read_is_one_line(mrv, tmp_path, config, data, said):
    path = tmp_path / "record.json"
    path.write_bytes(data)
    done = mrv("verify", path, "--config", config)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert said in done.stderr.splitlines()[0]


def test_a_changed_sample_is_located(mrv, record, config):
    place = samples_path(record)
    place.write_bytes(place.read_bytes().replace(b"4500,1000,7002", b"4500,1000,1002"))
    done = mrv("verify", record, "--samples", "--config", config)
    assert done.exit_code == 1
    assert "samples line 4: not what the record commits to" in done.stdout
    assert mrv("verify", record, "--samples-file", record.with_name("none.csv"), "--config", config).exit_code == 2


@pytest.mark.parametrize("options", [("--leaf", "x"), ("--root", "sha256:" + "0" * 64), ("--network", "log")])
def test_options_of_other_things_are_refused(mrv, record, options):
    done = mrv("verify", record, *options)
    assert done.exit_code == 2
    assert f"{options[0]} is for" in done.stderr


def test_what_is_no_record_is_an_error_of_one_line(mrv, record, config):
    receipts_path(record).unlink()
    value = json.loads(record.read_bytes())
    for change in ({"schema_version": "9"}, {"energy": None}):
        record.write_text(json.dumps({**value, **change}))
        done = mrv("verify", record, "--config", config)
        assert done.exit_code == 2
        assert done.stderr.count("\n") <= 2
        assert str(record) in done.stderr


def test_one_sample_is_disclosed_and_checked(mrv, record, config, tmp_path):
    proof = tmp_path / "sample.json"
    made = mrv("prove", record, "--at", 3.2, "-o", proof)
    assert made.exit_code == 0, made.output
    assert f"mrv prove --check {proof} --record {record}" in made.stderr.replace("\n", "")
    shown = mrv("prove", "--check", proof, "--record", record)
    assert (shown.exit_code, shown.stdout.split("  ", 1)[0]) == (0, "✅ VALID")
    assert "2.5 s to 3.5 s of MRV-fc25ba52" in shown.stdout
    assert "cpu 7.001 W, ram 20 W" in shown.stdout
    proof.write_bytes(proof.read_bytes().replace(b"7001", b"1001"))
    assert mrv("prove", "--check", proof, "--record", record).exit_code == 1
    assert mrv("prove", record, "--at", 0.5).exit_code == 2
    assert mrv("prove", record).exit_code == 2
    assert mrv("prove", record, "--at", 3, "--root", "sha256:00").exit_code == 2


@pytest.mark.parametrize("at", ["nan", "inf", "-inf"])
def test_a_moment_is_a_number(mrv, record, at):
    done = mrv("prove", record, f"--at={at}")
    assert (done.exit_code, done.stderr) == (2, f"error: --at is a number of seconds, not {at}\n")


def test_flush_keeps_the_receipts_beside_the_record(mrv, record, config):
    receipts_path(record).unlink()
    assert mrv("flush", "--base-dir", record.parent, "--config", config).exit_code == 0
    held = read_receipts(record)
    assert held.commitment == parse_record(record.read_bytes(), what="").hash
    assert set(held.receipts) == {"log"}


@pytest.mark.parametrize("script", ["scripts/verify_mrv.py", "examples/verify_mrv.py"])
def test_the_script_of_the_first_version(record, config, script):
    def run(mrv_id: str) -> tuple[int, list[str], str]:
        command = [sys.executable, str(ROOT / script), mrv_id, str(record), "--config", str(config)]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.returncode, done.stdout.splitlines(), done.stderr

    mrv_id = parse_record(record.read_bytes(), what="").mrv_id
    code, lines, errors = run(mrv_id)
    assert (code, lines[0], errors) == (0, "✅ VALID - Hashes match!", "")
    assert [line.partition(":")[0] for line in lines[1:]] == ["CO2", "Energy", "Timestamp"]
    assert lines[2].endswith(" kWh")
    code, lines, errors = run("MRV-unknown")
    assert (code, lines[0], errors) == (5, "❓ NOT FOUND - MRV ID not registered", "")
    record.write_bytes(record.read_bytes().replace(b'"loss":0.5', b'"loss":0.6', 1))
    code, lines, errors = run(mrv_id)
    assert (code, lines[0], errors) == (1, "❌ TAMPERED - Hash mismatch (data modified)", "")
    record.unlink()
    code, lines, errors = run(mrv_id)
    assert (code, lines) == (2, [])
    assert errors.startswith("error: there is no record")


def test_a_record_is_exported(mrv, record, tmp_path):
    shown = mrv("export", record, "--format", "latex")
    assert (shown.exit_code, shown.stdout.startswith("We trained ResNet18 on CIFAR-10")) == (0, True)
    target = tmp_path / "sci.json"
    words = ("--functional-unit", "epoch", "--units", 2, "--embodied-g", 0)
    assert mrv("export", record, "--format", "sci", *words, "-o", target).exit_code == 0
    assert json.loads(target.read_bytes())["SCI_g_per_unit"] > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "no format is named"),
        (("--format", "xml"), "there is no format 'xml'"),
        (("--format", "csv", "--units", 2), "are for --format sci"),
        (("--format", "csv", "--leaf", "x"), "--leaf is for a run"),
        (("--format", "csv", "--bundle", "run"), "nothing to export, or too much"),
    ],
)
def test_an_export_that_cannot_be_says_why(mrv, record, words, message):
    done = mrv("export", record, *words)
    assert done.exit_code == 2
    assert message in done.stderr


def test_a_damaged_record_is_not_exported(mrv, record):
    record.write_bytes(record.read_bytes().replace(b'"status":"completed"', b'"status":"complete"'))
    assert mrv("export", record, "--format", "csv").exit_code == 2
