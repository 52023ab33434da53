# SPDX-License-Identifier: MIT
"""Train a real classifier, record and anchor everything, verify it; with --tamper show what detection looks like.

python scripts/demo_blockchain_provenance.py
python scripts/demo_blockchain_provenance.py --tamper
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from classifiers import Classifier, TrainingSettings, make_classifier
from rich.console import Console
from rich.markup import escape
from safetensors_file import save_safetensors
from tampering import Outcome, tamperings, try_all
from tracked_training import (
    quiet_logging,
    read_settings,
    say_error,
    say_verified,
    train_and_track,
    verify_command,
    wait_until_final,
)
from training_data import ImageData, load_digits

from mrv_cli.exit_codes import OF_VERDICT, ExitCode, exit_code_of
from mrv_core.config import Config, load_config
from mrv_core.errors import MrvError
from mrv_core.files import make_folder
from mrv_core.models import Verdict
from mrv_core.mrv.storage import samples_path
from mrv_core.mrv.tracker import MRVTracker
from mrv_core.mrv.verification import RecordReport, verify_record
from mrv_core.report.text import SYMBOLS
from mrv_core.tracker import ProvenanceTracker
from mrv_core.verification import worst

DEFAULT_CONFIG: Final = Path(__file__).parent.parent / "configs" / "blockchain_config.json"
CONTENT: Final = {"data/training": "content/training", "data/test": "content/test"}
MODEL: Final = "content/model.safetensors"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script; return its exit status, which means the same as that of `mrv verify`."""
    options = _parser().parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True, stderr=options.json)
    try:
        return _demonstrate(options, console)
    except MrvError as error:
        say_error(console, error)
        return exit_code_of(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="configuration (%(default)s)")
    parser.add_argument("--base-dir", type=Path, default=Path("artifacts"), help="artifacts folder (%(default)s)")
    parser.add_argument("--mrv-dir", type=Path, default=Path("mrv_data"), help="folder for MRV records (%(default)s)")
    parser.add_argument("--country", help="whose electricity is used, for instance FRA; without it CO2 is not known")
    parser.add_argument("--epochs", type=int, default=6, help="epochs to train (%(default)s)")
    parser.add_argument("--wait", type=float, default=120, help="most seconds to wait for confirmations (%(default)s)")
    parser.add_argument("--tamper", action="store_true", help="afterwards change copies of the run and verify them")
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout, the story on stderr")
    return parser


def _demonstrate(options: argparse.Namespace, console: Console) -> int:
    config = load_config(options.config)
    quiet_logging(config)
    data = load_digits()
    settings = read_settings({"epochs": options.epochs, "learning_rate": 0.003}, "the command line")
    classifier = make_classifier(settings, data)
    run = ProvenanceTracker(options.base_dir, config)
    try:
        energy = _tracker(run, classifier, data, settings, options)
        _record(run, energy, classifier, data, settings, console)
        wait_until_final(console, run, options.wait)
        wait_until_final(console, energy, options.wait)
        result = _verify(run, console)
        checked = _verify_record(energy, console)
        stored = run.get_blockchain_status()["stored_hashes"]
    finally:
        run.close()
    command = verify_command(run.run_folder, options.config, *_content_options(run.run_folder))
    console.print(f"\n📄 Report: {run.run_folder / 'report.html'}")
    console.print(f"🔎 Anyone can check it again, from the files alone:\n   {escape(command)}")
    outcomes = _tamper(run.run_folder, config, settings.epochs, console) if options.tamper else []
    if options.json:
        print(json.dumps(_summary(run, result, stored, command, outcomes, checked), indent=2))
    if not all(outcome.detected for outcome in outcomes):
        return ExitCode.WRONG
    return OF_VERDICT[worst([Verdict(result["verdict"]), checked.verdict])]


def _tracker(
    run: ProvenanceTracker,
    classifier: Classifier,
    data: ImageData,
    settings: TrainingSettings,
    options: argparse.Namespace,
) -> MRVTracker:
    return MRVTracker(
        "demonstration",
        classifier.name,
        data.name,
        settings.epochs,
        settings.batch_size,
        storage_dir=options.mrv_dir,
        config=run.config,
        country=options.country,
        provenance=run,
        interval_s=0.2,
    )


def _record(
    run: ProvenanceTracker,
    energy: MRVTracker,
    classifier: Classifier,
    data: ImageData,
    settings: TrainingSettings,
    console: Console,
) -> None:
    console.print(f"\n[bold]1. Data and model[/bold]  {escape(run.run_id)}")
    console.print(f"   {data.name}: {len(data.train_labels)} for training, {len(data.test_labels)} for testing")
    console.print(f"   {classifier.name}")
    content = run.run_folder / "content"
    _save_arrays(content / "training", {"images": data.train_images, "labels": data.train_labels})
    _save_arrays(content / "test", {"images": data.test_images, "labels": data.test_labels})
    run.track_data(content / "training", content / "test")
    run.track_model(classifier.model)
    console.print("\n[bold]2. Anchor, train, anchor[/bold]")
    with energy:
        train_and_track(run, classifier, data, settings, console)
    save_safetensors(run.run_folder / MODEL, classifier.weights())


def _save_arrays(folder: Path, arrays: Mapping[str, Any]) -> None:
    make_folder(folder)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def _verify(run: ProvenanceTracker, console: Console) -> dict[str, Any]:
    console.print("\n[bold]3. Verify: files, content and networks[/bold]")
    content = {path: run.run_folder / name for path, name in CONTENT.items()}
    result = run.verify_blockchain_provenance(data=content, model=run.run_folder / MODEL)
    say_verified(console, result)
    run.save_blockchain_report()
    return result


def _verify_record(energy: MRVTracker, console: Console) -> RecordReport:
    console.print("\n[bold]   and the MRV record of what it cost[/bold]")
    report = verify_record(energy.record_path, manager=energy.manager, samples=samples_path(energy.record_path))
    co2 = "CO2 not known without --country" if report.co2_kg is None else f"{report.co2_kg * 1e6:.0f} mg CO2"
    cost = "not measured" if report.energy_kwh is None else f"{report.energy_kwh * 1e6:.1f} mWh, {co2}"
    console.print(f"   {escape(str(energy.record_path))}  {cost}")
    console.print(f"   sha256 {report.hash.hex}")
    networks = "  ".join(f"{check.network} {check.verdict}" for check in report.networks)
    console.print(f"   {SYMBOLS[report.verdict]} {report.status}  {networks}  {escape(report.summary)}")
    return report


def _content_options(run_folder: Path) -> list[str]:
    options = ["--model", str(run_folder / MODEL)]
    for path, name in CONTENT.items():
        options += ["--data", f"{path.removeprefix('data/')}={run_folder / name}"]
    return options


def _tamper(run_folder: Path, config: Config, last_epoch: int, console: Console) -> list[Outcome]:
    console.print("\n[bold]4. Tampering[/bold]  each time with a fresh copy of the run")
    cases = tamperings(config.selected[0], last_epoch)
    outcomes = []
    for outcome in try_all(run_folder, config, CONTENT, MODEL, cases):
        outcomes.append(outcome)
        console.print(f"\n   {outcome.title}")
        sign = "✅ detected:" if outcome.detected else "❌ not as it should be:"
        place = f"{outcome.place}: " if outcome.place else ""
        console.print(f"   {sign} {outcome.verdict}  {escape(place + outcome.message)}")
    return outcomes


def _summary(
    run: ProvenanceTracker,
    result: Mapping[str, Any],
    stored: Any,
    command: str,
    outcomes: Sequence[Outcome],
    record: RecordReport,
) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "run_folder": str(run.run_folder),
        "verdict": result["verdict"],
        "chain_integrity": result["chain_integrity"],
        "verification_results": result["verification_results"],
        "stored_hashes": stored,
        "report": str(run.run_folder / "report.html"),
        "record": record.to_json(),
        "verify_command": command,
        "tampering": [
            {
                "title": outcome.title,
                "verdict": str(outcome.verdict),
                "place": outcome.place,
                "message": outcome.message,
                "detected": outcome.detected,
            }
            for outcome in outcomes
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
