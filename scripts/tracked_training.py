# SPDX-License-Identifier: MIT
"""The part that every tracked training has in common, told step by step on a console."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from classifiers import Classifier, TrainingSettings
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from training_data import ImageData

from mrv_core.canonical import canonical_bytes
from mrv_core.config import Config, find_config
from mrv_core.errors import ConfigurationError, MrvError
from mrv_core.journal import JournalRow
from mrv_core.models import describe_validation_error
from mrv_core.mrv.tracker import MRVTracker
from mrv_core.tracker import ProvenanceTracker


def read_settings(values: Mapping[str, Any], what: str) -> TrainingSettings:
    """Read the training's own keys; those that are left out have their defaults.

    Raises:
        ConfigurationError: a key is unknown or has a wrong value; the message names `what` and the key.
    """
    try:
        return TrainingSettings.model_validate_json(canonical_bytes(dict(values)))
    except ValidationError as error:
        known = ", ".join(TrainingSettings.model_fields)
        raise ConfigurationError(f"{what}: {describe_validation_error(error)}", hint=f"known: {known}") from error


def train_and_track(
    run: ProvenanceTracker, classifier: Classifier, data: ImageData, settings: TrainingSettings, console: Console
) -> None:
    """Train and record every epoch, with an anchor before the first one and one after the last.

    Data and model must have been tracked. Afterwards the run is complete.
    """
    facts = {**settings.to_json(), "data": data.name, "model": classifier.name}
    _say_stored(console, "before training", run, run.store_merkle_on_blockchain_before_training(facts))
    metrics: dict[str, float] = {}
    for epoch in range(1, settings.epochs + 1):
        loss = classifier.train_epoch()
        metrics = {"loss": loss, "accuracy": classifier.accuracy(data.test_images, data.test_labels)}
        privacy = classifier.privacy_metrics()
        root = run.track_epoch(epoch, classifier.model, metrics=metrics, privacy_metrics=privacy)
        budget = f"  ε {privacy['epsilon']:.2f} at δ {privacy['delta']:g}" if privacy else ""
        console.print(
            f"   epoch {epoch:>2}/{settings.epochs}  loss {loss:.4f}  accuracy {metrics['accuracy']:.2%}{budget}"
            f"  [dim]root {root.hex[:16]}…[/dim]"
        )
    results = {"epochs": settings.epochs, **metrics}
    _say_stored(console, "after training", run, run.store_merkle_on_blockchain_after_training(results))


def _say_stored(console: Console, when: str, run: ProvenanceTracker, transactions: Mapping[str, str]) -> None:
    """Tell where a root went, and where it did not go yet."""
    if not run.anchors:
        console.print(f"   nothing is anchored {when}: the configuration says so")
        return
    anchor = run.anchors[-1].file
    missing = [name for name in anchor.networks if name not in transactions]
    console.print(f"   root {anchor.root}")
    for network, reference in transactions.items():
        console.print(f"   {network:<10} {escape(reference)}")
    if missing:
        console.print(f"⚠️ Blockchain storage failed on {', '.join(missing)}; 'mrv flush' sends it again")
    else:
        console.print(f"✅ Blockchain storage successful, {when}")


def wait_until_final(console: Console, run: ProvenanceTracker | MRVTracker, timeout_s: float) -> None:
    """Wait for the confirmations that the networks need, and tell what is still missing then."""
    waiting: list[JournalRow] = []
    with console.status("waiting for confirmations") as status:

        def show(rows: list[JournalRow]) -> None:
            waiting[:] = rows
            names = ", ".join(sorted({row.network for row in rows}))
            status.update(f"waiting for confirmations on {names}" if rows else "everything is final")

        run.wait_until_final(timeout_s, progress=show)
    for row in waiting:
        reason = f": {row.error}" if row.error else ""
        console.print(f"⏳ {row.network} is {row.state}{escape(reason)}; 'mrv flush --wait 600' looks again")


def say_verified(console: Console, result: Mapping[str, Any]) -> None:
    """Tell the outcome of `verify_blockchain_provenance`."""
    for anchor, verdicts in result["verification_results"].items():
        console.print(f"   {anchor:<22} " + "  ".join(f"{network} {verdict}" for network, verdict in verdicts.items()))
    if result["chain_integrity"]:
        console.print("✅ Provenance chain integrity verified!")
    else:
        console.print(f"❌ Provenance chain integrity failed! {escape(result['verdict'])}: {escape(result['summary'])}")


def verify_command(run_folder: Path, config: Path, *options: str) -> str:
    """Return the command that verifies a run in another process, ready to be copied."""
    words = [_program(), "verify", str(run_folder), *options]
    found = find_config()
    if found is None or found.resolve() != config.resolve():
        words += ["--config", str(config)]
    return shlex.join(words)


def _program() -> str:
    """Return the `mrv` that belongs to this Python, as short as it can be written here."""
    path = Path(sys.executable).with_name("mrv")
    if not path.is_file():
        return "mrv"
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def quiet_logging(config: Config) -> None:
    """Keep the log off the console, which tells every outcome itself, unless the configuration says debug."""
    logging.basicConfig(level=logging.DEBUG if config.debug else logging.CRITICAL)


def say_error(console: Console, error: MrvError) -> None:
    """Tell an error in one line, and what to do in another."""
    console.print(f"❌ Error: {escape(error.message)}")
    if error.hint:
        console.print(f"   hint: {escape(error.hint)}")
