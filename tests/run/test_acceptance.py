# SPDX-License-Identifier: MIT
"""The main job on the three embedded networks, verified by the command line in processes of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mrv_core.tracker import ProvenanceTracker

NETWORKS = ("ethereum", "ipfs", "log")
CONFIG = {"blockchain": {"networks": list(NETWORKS)}}


@pytest.fixture(scope="module")
def anchored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an artifacts folder with one finished run and its training data beside it."""
    base = tmp_path_factory.mktemp("accept") / "artifacts"
    train = np.arange(60, dtype="<f8").reshape(20, 3)
    with ProvenanceTracker(base, CONFIG, run_id="run-1") as run:
        run.track_data(train)
        run.track_model({"w": np.zeros(3, "<f4")})
        for epoch in (1, 2):
            run.track_epoch(epoch, {"w": np.full(3, epoch, "<f4")}, {"loss": 1 / epoch})
    np.save(base / "train.npy", train)
    return base


@pytest.fixture
def artifacts(anchored: Path, tmp_path: Path) -> Path:
    """Return a copy that a test may spoil."""
    copy = tmp_path / "artifacts"
    shutil.copytree(anchored, copy)
    return copy


def mrv(*arguments: object) -> tuple[int, dict[str, Any]]:
    """Run the command line and return its exit code and its JSON."""
    program = [sys.executable, "-c", "from mrv_cli.main import main; main()"]
    done = subprocess.run([*program, *map(str, arguments), "--json"], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_valid_on_each_embedded_network_and_labelled_so(artifacts: Path) -> None:
    code, report = mrv("verify", artifacts / "run-1", "--data", artifacts / "train.npy")
    assert (code, report["verdict"], report["chain_integrity"]) == (0, "VALID", True)
    results = [result for anchor in report["anchors"] for result in anchor["networks"]]
    assert [(result["network"], result["verdict"]) for result in results] == [(name, "VALID") for name in NETWORKS * 2]
    assert all(result["embedded"] and result["trusts"] for result in results)
    assert [result["attests_time"] for result in results[:3]] == [True, False, False]


@pytest.mark.parametrize(
    ("file", "old", "new", "place"),
    [
        ("tree.json", b'"size":1', b'"size":7', "tree.json"),
        ("epochs/00000001.json", b'"loss":0.5', b'"loss":0.4', "training/epochs/2/metrics"),
        ("anchors/001-after_training.json", b'"embedded":true', b'"embedded":tru3', "anchors/001-after_training.json"),
        ("anchors/001-after_training.json", b'"mrv-receipt/1"', b'"mrv-receipt/2"', "anchors/001-after_training.json"),
        ("run.json", b'"blake3"', b'"blake4"', "run.json"),
    ],
)
def test_one_changed_byte_is_tampered_and_named(artifacts: Path, file: str, old: bytes, new: bytes, place: str) -> None:
    path = artifacts / "run-1" / file
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))
    code, report = mrv("verify", artifacts / "run-1")
    assert (code, report["verdict"]) == (1, "TAMPERED")
    assert report["findings"][0]["place"] == place


def test_one_changed_byte_of_the_data_is_tampered_and_named(artifacts: Path) -> None:
    path = artifacts / "train.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    code, report = mrv("verify", artifacts / "run-1", "--data", path)
    assert (code, report["verdict"], report["findings"][0]["place"]) == (1, "TAMPERED", "data/training")


@pytest.mark.parametrize("network", NETWORKS)
def test_without_one_networks_store_it_is_neither_valid_nor_tampered(artifacts: Path, network: str) -> None:
    shutil.rmtree(artifacts / "networks" / network)
    code, report = mrv("verify", artifacts / "run-1")
    assert (code, report["verdict"]) == (4, "UNREACHABLE")
    verdicts = {result["network"]: result["verdict"] for result in report["anchors"][0]["networks"]}
    assert verdicts == {name: "UNREACHABLE" if name == network else "VALID" for name in NETWORKS}
    assert not (artifacts / "networks" / network).exists()


def test_the_run_folder_alone_could_not_be_checked(artifacts: Path, tmp_path: Path) -> None:
    alone = tmp_path / "elsewhere" / "run-1"
    shutil.copytree(artifacts / "run-1", alone)
    assert mrv("verify", alone)[0] == 4


def test_verifying_imports_nothing_heavy(artifacts: Path) -> None:
    script = (
        "import sys; from mrv_cli.main import main\n"
        "sys.argv = ['mrv', 'verify', sys.argv[1], '--json']\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'web3', 'torch', 'codecarbon', 'eth', 'eth_tester', 'numpy', 'pandas'} & set(sys.modules)\n"
        "print(sorted(heavy), file=sys.stderr)"
    )
    command = [sys.executable, "-c", script, str(artifacts / "run-1")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
