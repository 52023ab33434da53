# SPDX-License-Identifier: MIT
"""The demonstration: a real training, three networks, one verdict, and tampering that is detected."""

from __future__ import annotations

import json
import shlex
import subprocess

from tampering import Tampering, try_all

from mrv_core import ProvenanceTracker, Verdict, load_config

NETWORKS = {"ethereum", "ipfs", "log"}


def test_with_torch_every_tampering_is_detected(python, tmp_path):
    done = python("scripts/demo_blockchain_provenance.py", "--epochs", 3, "--tamper", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)  # stdout is one JSON document, whatever the story on stderr
    assert summary["verdict"] == "VALID"
    assert summary["chain_integrity"] is True
    assert [set(anchor["transactions"]) for anchor in summary["stored_hashes"].values()] == [NETWORKS, NETWORKS]

    found = {case["title"]: (case["verdict"], case["place"]) for case in summary["tampering"]}
    assert len(found) == 6
    assert all(case["detected"] for case in summary["tampering"])
    assert found["one pixel of the training data"] == ("TAMPERED", "data/training/images.npy")
    assert found["one digit of the accuracy in an epoch's file"] == ("TAMPERED", "training/epochs/3/metrics")
    removed = next(verdict for title, (verdict, _) in found.items() if "removed" in title)
    assert removed in ("UNREACHABLE", "NOT_FOUND")

    # The printed command checks the run again in another process, and the run itself was not touched.
    again = subprocess.run(shlex.split(summary["verify_command"]), cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "<html" in (tmp_path / summary["report"]).read_text(encoding="utf-8")


def test_what_is_not_detected_is_not_called_detected(tmp_path):
    config = load_config({"blockchain": {"networks": ["ipfs"]}})
    with ProvenanceTracker(tmp_path, config) as run:
        run.track_data({"x": [1, 2, 3]})
    harmless = Tampering("nothing at all", lambda folder: None, (Verdict.TAMPERED,), "data/training")
    elsewhere = Tampering(
        "the tree file, blamed on the data",
        lambda folder: (folder / "tree.json").write_text("{}"),
        (Verdict.TAMPERED,),
        "data",
    )
    outcomes = list(try_all(run.run_folder, config, {}, None, (harmless, elsewhere)))
    assert [(outcome.verdict, outcome.detected) for outcome in outcomes] == [
        (Verdict.VALID, False),
        (Verdict.TAMPERED, False),
    ]


def test_without_torch_it_trains_a_perceptron_and_says_what_happens(python):
    done = python("scripts/demo_blockchain_provenance.py", "--epochs", 2, without="torch")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "multi-layer perceptron of scikit-learn" in done.stdout
    assert done.stdout.count("✅ Blockchain storage successful") == 2
    assert "✅ Provenance chain integrity verified!" in done.stdout
    assert "report.html" in done.stdout


def test_a_network_that_cannot_take_an_anchor_is_told_and_not_valid(python, tmp_path):
    (tmp_path / "log").write_text("a file where the log's folder should be")
    config = {"blockchain": {"networks": ["ipfs", "log"], "log": {"path": str(tmp_path / "log"), "timeout": 2}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    done = python("scripts/demo_blockchain_provenance.py", "--epochs", 1, "--config", "config.json", without="torch")
    assert done.returncode in (3, 4), done.stdout + done.stderr
    assert "⚠️ Blockchain storage failed on log" in done.stdout
    assert "❌ Provenance chain integrity failed!" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_wrong_configuration_is_one_line(python, tmp_path):
    (tmp_path / "config.json").write_text('{"blockchain": {"networks": ["etherum"]}}')
    done = python("scripts/demo_blockchain_provenance.py", "--config", "config.json")
    assert done.returncode == 2
    assert "❌ Error: config.json: blockchain.networks: unknown network 'etherum'" in done.stdout
    assert "did you mean 'ethereum'?" in done.stdout
    assert not (tmp_path / "artifacts").exists()
