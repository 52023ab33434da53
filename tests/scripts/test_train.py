# SPDX-License-Identifier: MIT
"""The training script: settings from a file, a CNN or an MLP, bundled digits or MNIST's files, differential privacy."""

from __future__ import annotations

import gzip
import json
import struct
from importlib.util import find_spec

import numpy as np
import pytest

from mrv_core import load_config, verify_run

LOCAL = {"networks": ["ipfs", "log"]}


def the_run(folder):
    return next(path.parent for path in (folder / "artifacts").glob("*/run.json"))


def write_config(folder, **settings):
    (folder / "config.json").write_text(json.dumps({"epochs": 1, "blockchain": LOCAL, **settings}))
    return folder / "config.json"


def test_the_quick_configuration_trains_verifies_and_says_which_data(python, tmp_path):
    config = "configs/training_config_quick.json"
    done = python("scripts/train.py", "--config", python.root / config)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no --data was given" in done.stdout
    assert "✅ Provenance chain integrity verified!" in done.stdout

    report = verify_run(the_run(tmp_path), config=load_config(python.root / config))
    assert report.chain_integrity
    assert report.hash_algorithm == "sha256"
    assert report.config["epochs"] == 2
    assert report.config["learning_rate"] == 0.003
    assert [row.epoch for row in report.epochs] == [1, 2]
    assert report.results["accuracy"] == report.epochs[-1].metrics["accuracy"]


def test_every_shipped_configuration_is_valid(python):
    from tracked_training import read_settings

    paths = sorted((python.root / "configs").glob("training_config_*.json"))
    assert [path.stem.rpartition("_")[2] for path in paths] == ["default", "dp", "quick"]
    for path in paths:
        config = load_config(path)
        assert read_settings(config.training, config.source).epochs >= 1


def test_mnist_files_train_a_cnn(python, tmp_path):
    rng = np.random.default_rng(3)
    data = tmp_path / "mnist"
    data.mkdir()
    for name, count in (("train", 64), ("t10k", 16)):
        images, labels = rng.integers(0, 256, (count, 28, 28), np.uint8), np.arange(count, dtype=np.uint8) % 10
        head = b"\0\0\x08\x03" + struct.pack(">III", *images.shape)
        (data / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + images.tobytes()))
        (data / f"{name}-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + struct.pack(">I", count) + labels.tobytes())
    done = python("scripts/train.py", "--config", write_config(tmp_path, model="cnn"), "--data", data)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "convolutional network of PyTorch" in done.stdout
    assert "IDX files in mnist, 64 for training, 16 for testing" in done.stdout


@pytest.mark.skipif(find_spec("opacus") is None, reason="opacus is not installed")
def test_the_privacy_budget_grows_and_is_committed(python, tmp_path):
    privacy = {"noise_multiplier": 1.1, "max_grad_norm": 1.0, "delta": 1e-5}
    config = write_config(tmp_path, epochs=2, batch_size=720, model="cnn", privacy=privacy)
    done = python("scripts/train.py", "--config", config)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""  # no warnings of the libraries either

    report = verify_run(the_run(tmp_path), config=load_config(config))
    budgets = [row.privacy_metrics for row in report.epochs]
    assert report.chain_integrity
    assert 0 < budgets[0]["epsilon"] < budgets[1]["epsilon"] < 10
    assert all(budget["delta"] == 1e-5 and budget["noise_multiplier"] == 1.1 for budget in budgets)


@pytest.mark.parametrize(
    ("settings", "without", "message", "hint"),
    [
        ({"model": "cnn"}, "torch", "the model 'cnn' needs PyTorch", "pip install torch"),
        ({"privacy": {"noise_multiplier": 1.0}}, "opacus", "differential privacy needs Opacus", "pip install opacus"),
        (
            {"model": "mlp", "privacy": {"noise_multiplier": 1.0}},
            "",
            "needs the model 'cnn'",
            "pip install torch opacus",
        ),
        ({"epochs": 0}, "", "epochs", "known: epochs"),
        ({"learningrate": 0.1}, "", "learningrate", "known: epochs"),
        ({"hash_algorithm": "md5"}, "", "hash_algorithm: unknown hash algorithm 'md5'", "use one of"),
    ],
)
def test_what_cannot_work_is_said_in_two_lines(python, tmp_path, settings, without, message, hint):
    done = python("scripts/train.py", "--config", write_config(tmp_path, **settings), without=without)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stdout
    assert hint in done.stdout
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "artifacts").exists()
