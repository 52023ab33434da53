# SPDX-License-Identifier: MIT
"""What detection looks like: copies of a run, one thing changed in each, and what a verification says of it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mrv_core.config import Config
from mrv_core.manager import STORES_FOLDER
from mrv_core.models import Verdict
from mrv_core.provenance_tree import SLOTS, MerkleNode, MLProvenanceMerkleTree
from mrv_core.run_folder import RunFolder
from mrv_core.verification import verify_run

DATA_FILE: Final = Path("content/training/images.npy")
TREE_LEAF: Final = "model/architecture"


@dataclass(frozen=True, slots=True)
class Tampering:
    """One change to a copy of a run, and what must be said of it.

    Attributes:
        title: What is done.
        apply: Does it, to the run's folder in a copy of the artifacts folder.
        verdicts: Any of these is right.
        place: What the report has to name, or None where no leaf is wrong.
    """

    title: str
    apply: Callable[[Path], None]
    verdicts: tuple[Verdict, ...]
    place: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the verification said of one tampered copy.

    Attributes:
        title: What was done.
        verdict: The report's verdict.
        place: The expected place where it was found, else the first one named.
        message: What was said of the place, or the report's summary.
        detected: Whether verdict and place are what they must be.
    """

    title: str
    verdict: Verdict
    place: str | None
    message: str
    detected: bool


def tamperings(network: str, last_epoch: int) -> tuple[Tampering, ...]:
    """Return everything that the demonstration does to copies of a run.

    Args:
        network: The embedded network to remove.
        last_epoch: Number of the last epoch.
    """
    wrong = (Verdict.TAMPERED, Verdict.DISAGREE)
    receipt = "anchors/001-after_training.json"
    metrics = f"training/epochs/{last_epoch}/metrics"
    return (
        Tampering("one pixel of the training data", _change_pixel, wrong, "data/training/images.npy"),
        Tampering("one digit of a digest in the tree file", _change_digest, wrong, TREE_LEAF),
        Tampering("one digit of the accuracy in an epoch's file", _change_accuracy, wrong, metrics),
        Tampering("one digit of a transaction id in a receipt", _change_receipt, wrong, receipt),
        Tampering("a better accuracy, with every hash and seal made to fit", _forge, wrong, "training/epochs"),
        Tampering(
            f"the whole network {network!r} removed",
            lambda run: shutil.rmtree(run.parent / STORES_FOLDER / network),
            (Verdict.UNREACHABLE, Verdict.NOT_FOUND),
            None,
        ),
    )


def try_all(
    run: Path, config: Config, content: Mapping[str, str], model: str | None, cases: tuple[Tampering, ...]
) -> Iterator[Outcome]:
    """Apply each tampering to a copy of its own and verify the copy; the run itself is not touched.

    Args:
        run: Folder of a run that verifies as VALID.
        config: The verifier's configuration.
        content: Path name of a node → its content, relative to the run's folder.
        model: File of the model, relative to the run's folder, or None.
        cases: What to do.
    """
    for case in cases:
        with tempfile.TemporaryDirectory(prefix="mrv-tampered-") as folder:
            copy = _copy(run, Path(folder))
            case.apply(copy)
            data = {path: copy / name for path, name in content.items()}
            report = verify_run(copy, config=config, data=data, model=copy / model if model else None, progress=False)
        found = {finding.place: finding.message for finding in report.findings}
        place = case.place if case.place in found else next(iter(found), None)
        yield Outcome(
            title=case.title,
            verdict=report.verdict,
            place=place,
            message=found[place] if place is not None else report.summary,
            detected=report.verdict in case.verdicts and (case.place is None or place == case.place),
        )


def _copy(run: Path, folder: Path) -> Path:
    """Copy a run with the embedded networks beside it."""
    shutil.copytree(run.parent / STORES_FOLDER, folder / STORES_FOLDER)
    return Path(shutil.copytree(run, folder / run.name))


def _change_pixel(run: Path) -> None:
    path = run / DATA_FILE
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def _change_digest(run: Path) -> None:
    path = run / "tree.json"
    rows = {row["path"]: row for row in json.loads(path.read_bytes())["rows"]}
    _change_text(path, rows[TREE_LEAF]["digest"])


def _change_accuracy(run: Path) -> None:
    path = sorted((run / "epochs").iterdir())[-1]
    rows = json.loads(path.read_bytes())["rows"]
    accuracy = next(row["value"]["accuracy"] for row in rows if row["path"].endswith("/metrics"))
    _change_text(path, f'"accuracy":{accuracy}')


def _change_receipt(run: Path) -> None:
    path = run / "anchors" / "001-after_training.json"
    receipts = json.loads(path.read_bytes())["receipts"]
    _change_text(path, next(iter(receipts.values()))["reference"])


def _change_text(path: Path, text: str) -> None:
    """Change the last character of one place in a file, and nothing else."""
    data = path.read_bytes()
    end = data.index(text.encode()) + len(text.encode())
    path.write_bytes(data[: end - 1] + (b"1" if data[end - 1 : end] == b"0" else b"0") + data[end:])


def _forge(run: Path) -> None:
    """Rewrite the last epoch as its author would have: through the same code, so that nothing is out of place."""
    folder = RunFolder.open(run)
    tree, _ = folder.read_tree(run.name)
    forged = MLProvenanceMerkleTree(run.name)
    for slot in SLOTS:
        if not tree.node(slot).is_absent:
            forged.set(slot, tree.node(slot))
    for node in tree.epochs:
        state, metrics, privacy = node.children
        if node is tree.epochs[-1]:
            metrics = MerkleNode.json("metrics", {"loss": 0.001, "accuracy": 0.999}, folder.run().hash_algorithm)
        forged.append_epoch(int(node.label), model_state=state, metrics=metrics, privacy_metrics=privacy)
        folder.write_epoch(forged)
