# SPDX-License-Identifier: MIT
"""Train a classifier of handwritten digits, with every epoch recorded and anchored.

Settings come from a training configuration: epochs, batch size, learning rate, hash algorithm, networks, and
differential privacy where the configuration has a `privacy` section.

    python scripts/train.py
    python scripts/train.py --config configs/training_config_dp.json
    python scripts/train.py --config configs/training_config_default.json --data ~/mnist
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from classifiers import has_torch, make_classifier
from rich.console import Console
from rich.markup import escape
from tracked_training import (
    quiet_logging,
    read_settings,
    say_error,
    say_verified,
    train_and_track,
    verify_command,
    wait_until_final,
)
from training_data import ImageData, load_digits, load_mnist

from mrv_cli.exit_codes import OF_VERDICT, exit_code_of
from mrv_core.config import load_config
from mrv_core.errors import MrvError
from mrv_core.models import Verdict
from mrv_core.tracker import ProvenanceTracker

DEFAULT_CONFIG = Path(__file__).parent.parent / "configs" / "training_config_default.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script; return its exit status, which means the same as that of `mrv verify`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="training configuration (%(default)s)")
    parser.add_argument("--data", type=Path, help="folder with MNIST's IDX files; without it, bundled digits")
    parser.add_argument("--base-dir", type=Path, default=Path("artifacts"), help="artifacts folder (%(default)s)")
    parser.add_argument("--wait", type=float, default=120, help="most seconds to wait for confirmations (%(default)s)")
    options = parser.parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    try:
        return train(options.config, options.data, options.base_dir, options.wait, console)
    except MrvError as error:
        say_error(console, error)
        return exit_code_of(error)


def train(config_path: Path, data_folder: Path | None, base_dir: Path, wait_s: float, console: Console) -> int:
    """Train, record, verify and report; return the exit status."""
    config = load_config(config_path)
    quiet_logging(config)
    settings = read_settings(config.training, config.source)
    data = load_mnist(data_folder) if data_folder is not None else load_digits()
    console.print(f"📊 Data: {data.name}, {len(data.train_labels)} for training, {len(data.test_labels)} for testing")
    if data_folder is None:
        console.print("   no --data was given, so these are the digits that scikit-learn brings along, not MNIST")
    classifier = make_classifier(settings, data)
    console.print(f"🧠 Model: {classifier.name}")
    if settings.privacy is not None:
        console.print("   the noise comes from PyTorch's generator, which is not a cryptographic one")
    if settings.model == "auto" and not has_torch():
        console.print("   PyTorch is not installed; 'pip install torch' trains a convolutional network instead")

    run = ProvenanceTracker(base_dir, config)
    try:
        run.track_data(*_contents(data))
        run.track_model(classifier.model)
        train_and_track(run, classifier, data, settings, console)
        wait_until_final(console, run, wait_s)
        result = run.verify_blockchain_provenance(model=classifier.model)
        say_verified(console, result)
        run.save_blockchain_report()
    finally:
        run.close()
    console.print(f"📄 Report: {run.run_folder / 'report.html'}")
    console.print(f"🔎 Verify it again: {escape(verify_command(run.run_folder, config_path))}")
    return OF_VERDICT[Verdict(result["verdict"])]


def _contents(data: ImageData) -> tuple[dict[str, object], dict[str, object]]:
    """Return what is committed to: training and test set, each with its parts by name."""
    return (
        {"images": data.train_images, "labels": data.train_labels},
        {"images": data.test_images, "labels": data.test_labels},
    )


if __name__ == "__main__":
    sys.exit(main())
