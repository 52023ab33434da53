# SPDX-License-Identifier: MIT
"""`mrv export --ots` and `mrv import --ots`: checked by the standard OpenTimestamps client against a real node."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nodes import bitcoind  # noqa: F401 - a fixture
from typer.testing import CliRunner

from mrv_cli.main import app
from mrv_core.bundle import export_bundle
from mrv_core.config import load_config
from mrv_core.manager import BlockchainManager
from mrv_core.run_batches import anchor_waiting_roots
from mrv_core.run_folder import RunFolder
from mrv_core.timestamps import TimestampingDriver
from mrv_core.tracker import ProvenanceTracker
from mrv_devnet.nodes import BitcoinNode

OTS = Path(sys.executable).with_name("ots")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, bitcoind: BitcoinNode) -> Path:  # noqa: F811
    """Return a folder with a configuration and two runs on Bitcoin, the second one in a batch."""
    folder = tmp_path_factory.mktemp("timestamps")
    (folder / "dataset.csv").write_text("1,2\n3,4\n")
    (folder / "config.json").write_text(json.dumps(document(bitcoind)))
    _track(folder, "run-1", load_config(document(bitcoind), environment={}))
    batched = load_config(document(bitcoind, storage_options={"store_in_batches": True}), environment={})
    runs = [_track(folder, name, batched) for name in ("member-0", "member-1", "member-2")]
    with BlockchainManager(batched, base_dir=folder / "artifacts") as manager:
        assert anchor_waiting_roots(runs, manager) is not None
        bitcoind.mine(1)
        left = manager.settle(timeout_s=60)
        assert left == [], [(row.network, row.state, row.error) for row in left]
    for run in (folder / "artifacts").glob("*-?"):
        ProvenanceTracker.open(run, batched).close()
    return folder


def document(node: BitcoinNode, **section: Any) -> dict[str, Any]:
    bitcoin = {
        "rpc_url": node.url,
        "rpc_user": node.user,
        "rpc_password_file": str(node.password_file),
        "network": "regtest",
        "wallet": "miner",
    }
    return {"hash_algorithm": "sha256", "blockchain": {"networks": ["bitcoin"], "bitcoin": bitcoin, **section}}


def _track(folder: Path, name: str, config: Any) -> Path:
    tracker = ProvenanceTracker(folder / "artifacts", config, run_id=name)
    tracker.track_data(folder / "dataset.csv", {"x": [1, 2, 3]})
    tracker.track_epoch(0, metrics={"loss": 0.5})
    tracker.store_merkle_on_blockchain_after_training({"accuracy": 0.75})
    tracker.close()
    return tracker.run_folder


@pytest.fixture
def mrv(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[str, str]]:
    """Run commands in an empty folder, with the configuration of the module."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MRV_CONFIG", str(place / "config.json"))

    def run(*words: str | Path, expect: int = 0) -> tuple[str, str]:
        result = CliRunner().invoke(app, [str(word) for word in words], prog_name="mrv")
        assert result.exit_code == expect, f"{result.stdout}\n{result.stderr}\n{result.exception!r}"
        return result.stdout, result.stderr

    return run


@pytest.fixture
def ots(bitcoind: BitcoinNode, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:  # noqa: F811
    """Run the standard client in the same folder."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        address = bitcoind.url.replace("http://", f"http://{bitcoind.user}:{bitcoind.password}@")
        command = [str(OTS), "--no-cache", "--btc-regtest", "--bitcoin-node", address, *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize("run", ["run-1", "member-1"])
@pytest.mark.parametrize(
    ("leaf", "subject"),
    [
        (None, "RUN.after_training.root"),
        ("data/training", "training"),
        ("training/results", "RUN.after_training.training.results.json"),
        ("data/test", "RUN.after_training.data.test.json"),
        ("training/epochs/0", "RUN.after_training.training.epochs.0.node"),
        ("model", "RUN.after_training.model.node"),
    ],
)
def test_the_standard_client_verifies_what_is_exported(
    run: str, leaf: str | None, subject: str, place: Path, mrv: Any, ots: Any
) -> None:
    name = subject.replace("RUN", run)
    _, err = mrv("export", "--ots", place / "artifacts" / run, *([] if leaf is None else ["--leaf", leaf]))
    assert err.startswith(f"wrote {name}.ots, about ")
    if leaf == "data/training":
        assert not Path(name).exists()  # it is the user's own file, wherever that is
        shutil.copy(place / "dataset.csv", name)
    done = ots("verify", f"{name}.ots")
    assert "Success! Bitcoin block" in done.stderr, done.stderr
    assert done.returncode == 0
    Path(name).write_bytes(Path(name).read_bytes() + b"\n")
    assert ots("verify", f"{name}.ots").returncode == 1


def test_a_value_that_is_exported_is_the_tracked_one(place: Path, mrv: Any) -> None:
    mrv("export", "--ots", place / "artifacts" / "run-1", "--leaf", "training/results", "-o", "results.json.ots")
    assert Path("results.json").read_bytes() == b'{"accuracy":0.75}'


def test_a_proof_is_imported_and_kept_with_its_run(place: Path, tmp_path: Path, mrv: Any) -> None:
    """A run that was anchored elsewhere gets a receipt out of a proof that somebody else made of its root."""
    _, _ = mrv("export", "--ots", place / "artifacts" / "run-1", "-o", "root.ots")
    out, _ = mrv("import", "--ots", "root.ots", "--json")
    receipt = json.loads(out)
    root = export_bundle(place / "artifacts" / "run-1").root
    assert (receipt["state"], receipt["commitment"]) == ("FINAL", str(root))
    assert receipt["evidence"]["format"] == "mrv-evidence-ots/1"
    run = Path(shutil.copytree(place / "artifacts" / "run-1", tmp_path / "artifacts" / "run-1"))
    _, err = mrv("import", "--ots", "root.ots", run, expect=2)
    assert err.splitlines()[0] == "error: 000-after_training has another receipt of bitcoin already"
    folder = RunFolder.open(run)
    anchor = folder.read_anchor("000-after_training")
    folder.write_anchor(type(anchor)(anchor.name, anchor.file.model_copy(update={"receipts": {}})))
    out, err = mrv("import", "--ots", "root.ots", run)
    assert err == "kept as the receipt of bitcoin for 000-after_training\n"
    assert out.startswith(f"FINAL  {root} on bitcoin, in a block of ")
    mrv("import", "--ots", "root.ots", run)  # again: the same receipt, whenever that was
    again = folder.read_anchor("000-after_training").file.receipts["bitcoin"].to_json()
    assert again == receipt | {"submitted_at": again["submitted_at"]}
    mrv("verify", run)
    mrv("export", "--bundle", run, "-o", "run.mrv.json")
    mrv("verify", "run.mrv.json")
    mrv("verify", "run.mrv.json", "--offline", "--block", receipt["evidence"]["block_hash"])


def test_a_proof_of_something_else_is_not_kept(place: Path, tmp_path: Path, mrv: Any) -> None:
    mrv("export", "--ots", place / "artifacts" / "run-1", "--leaf", "model", "-o", "model.ots")
    run = Path(shutil.copytree(place / "artifacts" / "run-1", tmp_path / "artifacts" / "run-1"))
    _, err = mrv("import", "--ots", "model.ots", run, expect=2)
    assert "which is no anchored root of" in err
    Path("junk.ots").write_bytes(b"junk")
    _, err = mrv("import", "--ots", "junk.ots", expect=2)
    assert "not an OpenTimestamps proof" in err


def test_no_file_of_the_user_is_written_over(place: Path, mrv: Any) -> None:
    Path("dataset.csv").write_text("mine\n")
    words = ("export", "--ots", place / "artifacts" / "run-1", "--leaf", "model", "-o", "dataset.csv.ots")
    _, err = mrv(*words, expect=2)
    assert "dataset.csv is there already and is not what the proof is about, which is the node model" in err
    _, err = mrv(*words[:-1], f"{'x' * 300}.ots", expect=4)
    assert err.startswith("error: cannot read xxx")
    assert "File name too long" in err
    assert Path("dataset.csv").read_text() == "mine\n"
    assert not Path("dataset.csv.ots").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--ots", "RUN", "--bundle", "RUN"), "nothing to export, or too much"),
        (("--bundle", "RUN", "--network", "bitcoin"), "--network and --config are for --ots"),
        (("--ots", "RUN", "-o", "proof"), "proof does not end in .ots"),
        (("--ots", "RUN", "--network", "bitcoin", "--network", "x"), "--network is given twice"),
        (("--ots", "RUN", "--network", "ethereum"), "the root is not anchored on 'ethereum'"),
        (("--ots", "RUN", "--leaf", "no/leaf"), "the run has no node 'no/leaf'"),
    ],
)
def test_wrong_arguments_are_told_as_such(place: Path, mrv: Any, words: tuple[str, ...], message: str) -> None:
    run = str(place / "artifacts" / "run-1")
    _, err = mrv("export", *(run if word == "RUN" else word for word in words), expect=2)
    assert message in err.splitlines()[0]


def test_a_configuration_without_such_a_network_says_so(
    place: Path, mrv: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other.json").write_text('{"blockchain": {"networks": ["log"], "log": {}}}')
    monkeypatch.setenv("MRV_CONFIG", str(tmp_path / "other.json"))
    _, err = mrv("export", "--ots", place / "artifacts" / "run-1", expect=2)
    assert "no network of the configuration that matters here" in err
    Path("some.ots").write_bytes(b"x")
    _, err = mrv("import", "--ots", "some.ots", expect=2)
    assert "no network of the configuration that matters here" in err


def test_the_driver_is_what_the_protocol_says(place: Path) -> None:
    config = load_config(place / "config.json", environment={})
    with BlockchainManager(config, base_dir=place / "artifacts") as manager:
        assert isinstance(manager.driver("bitcoin"), TimestampingDriver)
