# SPDX-License-Identifier: MIT
"""Every example runs as it stands, in an empty folder, and what it made verifies."""

from __future__ import annotations


def test_automatic_mode_and_somebody_else_verifies_it(python, tmp_path):
    made = python("examples/auto_mode.py")
    assert made.returncode == 0, made.stderr
    run = tmp_path / made.stdout.split()[-1]
    checked = python("examples/verify_somebody_elses_run.py", run)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.startswith("VALID: ")
    assert "to be trusted:" in checked.stdout

    epoch = sorted((run / "epochs").iterdir())[0]
    epoch.write_bytes(epoch.read_bytes().replace(b'"accuracy":0.', b'"accuracy":1.'))
    checked = python("examples/verify_somebody_elses_run.py", run)
    assert checked.returncode == 1
    assert "training/epochs/0/metrics" in checked.stdout


def test_explicit_mode(python):
    done = python("examples/explicit_mode.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("✅ Blockchain storage successful") == 2
    assert "✅ Provenance chain integrity verified!" in done.stdout


def test_pytorch(python):
    done = python("examples/pytorch_training.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("VALID ")
    assert "every leaf is as committed" in done.stdout


def test_scikit_learn(python):
    done = python("examples/scikit_learn.py")
    assert done.returncode == 0, done.stderr
    assert "give the same model: True" in done.stdout


def test_an_mrv_record(python, tmp_path):
    done = python("examples/simple_example.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().splitlines()[-1].startswith("VALID: ")
    record = done.stdout.split()[1]
    checked = python("examples/verify_mrv.py", record.rpartition("/")[2].removesuffix(".json"), record)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.startswith("✅ VALID - Hashes match!")


def test_resnet_on_generated_images(python):
    done = python("examples/train_resnet.py", "--epochs", "1", "--images", "16", "--batch-size", "8")
    assert done.returncode == 0, done.stderr
    assert "CIFAR-10 is not here" in done.stdout
    assert done.stdout.rstrip().splitlines()[-1].startswith("VALID: ")


def test_resnet_on_cifar(python, tmp_path):
    """A file laid out as CIFAR-10's binary version is."""
    (tmp_path / "cifar").mkdir()
    (tmp_path / "cifar" / "data_batch_1.bin").write_bytes(
        bytes([3, *bytes(3072)]) * 4 + bytes([5, *b"\xff" * 3072]) * 4
    )
    done = python("examples/train_resnet.py", "--data", "cifar", "--epochs", "1", "--batch-size", "4")
    assert done.returncode == 0, done.stderr
    (record,) = (path for path in (tmp_path / "mrv_data").glob("MRV-*.json") if "receipts" not in path.name)
    assert b'"dataset_name":"CIFAR-10"' in record.read_bytes()
