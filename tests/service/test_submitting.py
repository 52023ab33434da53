# SPDX-License-Identifier: MIT
"""Trackers and `mrv submit` hand records to a real registry, which runs as a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from mrv_core import MRVTracker
from mrv_core.errors import BackendError, ConfigurationError, RunStateError
from mrv_core.mrv.record import hash_of
from mrv_core.mrv.registry_client import TOKEN_VARIABLE, RegistryClient
from mrv_core.mrv.storage import RecordReceipts, samples_path, save_mrv, write_receipts

from .conftest import record

MRV = str(Path(sys.executable).with_name("mrv"))
GOLDEN = Path(__file__).parents[1] / "bundles" / "golden" / "bundle-1"
LOG = {"blockchain": {"networks": ["log"], "log": {"driver": "log"}}}


def new_token(folder: Path, name: str) -> str:
    make = [MRV, "token", "create", name, "--scope", "write", "--base-dir", str(folder)]
    return subprocess.run(make, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def registry(folder: Path) -> Iterator[tuple[str, str]]:
    """A registry that runs; its URL, and a token that may write."""
    command = [MRV, "serve", "--port", "0", "--base-dir", str(folder)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = re.search(r"http://127.0.0.1:\d+", process.stderr.readline())
        assert said is not None
        yield said[0], new_token(folder, "test")
        process.kill()


@pytest.fixture
def url(registry: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(TOKEN_VARIABLE, registry[1])
    return registry[0]


def submit(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [MRV, "submit", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **environment})


def get(url: str, path: str) -> Any:
    return httpx.get(f"{url}/api/v1/{path}")


def test_a_tracker_submits_what_it_measured(url: str, tmp_path: Path) -> None:
    with MRVTracker("submitted", storage_dir=tmp_path, config=LOG, interval_s=0.05, registry_url=url) as tracker:
        pass
    assert tracker.receipts, "which waits for both"
    assert tracker.error is None
    assert get(url, f"records/{tracker.mrv_id}/content").content == tracker.record_path.read_bytes()
    summary = get(url, f"records/{tracker.mrv_id}").json()
    assert (summary["hash"], summary["networks"]) == (tracker.mrv_hash, ["log"])
    assert summary["has_samples"] is (tracker.record is not None and tracker.record.samples is not None)
    tracker.submit()


def test_without_networks_it_is_submitted_all_the_same(url: str, tmp_path: Path) -> None:
    given: dict[str, Any] = {"storage_dir": tmp_path, "blockchain_enabled": False, "interval_s": 0.05}
    with MRVTracker("submitted", registry_url=url, **given) as tracker:
        pass
    assert tracker.receipts == {}
    assert get(url, f"records/{tracker.mrv_id}").json()["networks"] == []
    without = MRVTracker("submitted", **given)
    with without:
        pass
    with pytest.raises(ConfigurationError, match="no registry"):
        without.submit()


def test_a_registry_that_does_not_answer_costs_the_training_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "mrv_hunter2")
    tracker = MRVTracker("alone", storage_dir=tmp_path, config=LOG, interval_s=0.05, registry_url="http://127.0.0.1:9")
    with tracker:
        pass
    assert list(tracker.receipts) == ["log"], "it is anchored"
    assert isinstance(tracker.error, BackendError)
    assert tracker.record_path.exists()
    assert "hunter2" not in caplog.text


def test_submitting_from_the_command_line(url: str, tmp_path: Path) -> None:
    path = save_mrv(record(), storage_dir=tmp_path)
    for _ in range(2):
        done = submit(path, GOLDEN / "real.mrv.json", "--registry", url)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count("submitted") == 2
    mrv_id = json.loads(Path(path).read_bytes())["mrv_id"]
    assert get(url, f"records/{mrv_id}/content").content == Path(path).read_bytes()
    run_id = json.loads((GOLDEN / "real.mrv.json").read_bytes())["run_id"]
    assert len(get(url, f"bundles?run_id={run_id}").json()["items"]) == 1

    other = record(mrv_id, training={"epochs": 9, "batch_size": 1, "framework": None})
    done = submit(save_mrv(other, storage_dir=tmp_path / "other"), "--registry", url)
    assert done.returncode == 2
    assert "another record has the id" in done.stderr


@pytest.mark.parametrize(
    ("where", "status", "said"),
    [
        ("http://127.0.0.1:9", 4, "refuses the connection"),
        ("ftp://registry.example", 2, "not an http or https URL"),
    ],
)
def test_a_registry_that_cannot_be_asked(tmp_path: Path, where: str, status: int, said: str) -> None:
    done = submit(save_mrv(record(), storage_dir=tmp_path), "--registry", where, MRV_REGISTRY_TOKEN="mrv_hunter2")
    assert done.returncode == status, done.stderr
    assert said in done.stderr
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_token_that_is_not_valid(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(save_mrv(record(), storage_dir=tmp_path))
    monkeypatch.setenv(TOKEN_VARIABLE, "mrv_0123456789ab_" + "A" * 43)
    with RegistryClient(url) as client, pytest.raises(BackendError, match="refuses our token") as failure:
        client.submit_record(path)
    assert TOKEN_VARIABLE in str(failure.value.hint)
    assert "AAAA" not in str(failure.value)


def test_receipts_of_somebody_elses_record_are_refused(registry: tuple[str, str], folder: Path, tmp_path: Path) -> None:
    url, token = registry
    with MRVTracker("submitted", storage_dir=tmp_path, config=LOG, interval_s=0.05) as tracker:
        pass
    path = tracker.record_path
    httpx.post(
        f"{url}/api/v1/records", content=path.read_bytes(), headers={"Authorization": f"Bearer {token}"}
    ).raise_for_status()
    done = submit(path, "--registry", url, **{TOKEN_VARIABLE: new_token(folder, "another lab")})
    assert done.returncode == 2
    assert "another token submitted this record" in done.stderr
    assert "one of the same name" in done.stderr
    assert submit(path, "--registry", url, **{TOKEN_VARIABLE: new_token(folder, "test")}).returncode == 0
    assert get(url, f"records/{tracker.mrv_id}").json()["networks"] == ["log"]


def test_receipts_of_another_record_are_refused(url: str, tmp_path: Path) -> None:
    with MRVTracker("one", storage_dir=tmp_path, config=LOG, interval_s=0.05) as tracker:
        pass
    assert tracker.receipts
    other = Path(save_mrv(record(), storage_dir=tmp_path))
    receipts_of = tracker.record_path.with_name(f"{tracker.record_path.stem}.receipts.json")
    other.with_name(f"{other.stem}.receipts.json").write_bytes(receipts_of.read_bytes())
    with RegistryClient(url) as client, pytest.raises(RunStateError, match="of another record"):
        client.submit_record(other)


def test_a_record_that_waits_for_its_batch_is_submitted(url: str, tmp_path: Path) -> None:
    path = Path(save_mrv(record(), storage_dir=tmp_path))
    data = path.read_bytes()
    waiting = RecordReceipts(mrv_id=path.stem, commitment=hash_of(data), receipts={})
    write_receipts(path, waiting)
    with RegistryClient(url) as client:
        client.submit_record(path)
    assert get(url, f"records/{path.stem}/content").content == data


def test_samples_that_are_refused_hold_no_receipts_back(url: str, tmp_path: Path) -> None:
    with MRVTracker("long", storage_dir=tmp_path, config=LOG, interval_s=0.05) as tracker:
        pass
    assert tracker.receipts
    samples_path(tracker.record_path).write_bytes(b"0" * (33 * 1024 * 1024))
    with RegistryClient(url) as client, pytest.raises(RunStateError, match="bytes"):
        client.submit_record(tracker.record_path)
    assert get(url, f"records/{tracker.mrv_id}").json()["networks"] == ["log"]
