# SPDX-License-Identifier: MIT
"""Runs anchored on the embedded networks, their bundles, and both verifiers: ours and the one for Node.js."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles.mutations import sealed

from mrv_cli.bundles import read_known
from mrv_core.bundle import export_bundle
from mrv_core.bundle_verification import BundleReport, Expectations, verify_bundle
from mrv_core.canonical import parse_json
from mrv_core.config import load_config
from mrv_core.errors import ConfigurationError
from mrv_core.hashing import Digest
from mrv_core.manager import BlockchainManager
from mrv_core.registry import Registry
from mrv_core.run_batches import anchor_waiting_roots
from mrv_core.tracker import ProvenanceTracker

ROOT = Path(__file__).parents[2]
NODE_VERIFIER = ROOT / "scripts" / "verify_bundle.mjs"
USAGE = 2
EXIT_CODES = {"VALID": 0, "TAMPERED": 1, "DISAGREE": 1, "PENDING": 3, "UNREACHABLE": 4, "NOT_FOUND": 5}


@dataclass(frozen=True)
class Trust:
    """What a verifier gives on the command line."""

    blocks: tuple[str, ...] = ()
    log_keys: tuple[str, ...] = ()
    min_work: int | None = None
    root: str | None = None
    networks: tuple[str, ...] = ()

    def words(self) -> list[str]:
        """Return it as options, which both verifiers have alike."""
        words = [f"--min-work={self.min_work}"] if self.min_work is not None else []
        words += [f"--root={self.root}"] if self.root is not None else []
        words += [f"--block={block}" for block in self.blocks]
        words += [f"--log-key={key}" for key in self.log_keys]
        return words + [f"--network={name}" for name in self.networks]


@dataclass(frozen=True)
class Outcome:
    """What a verifier said: the exit status and, unless it is one of usage, everything that both say alike."""

    exit_code: int
    verdict: str | None = None
    steps: tuple[str | None, ...] = ()
    networks: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    facts: tuple[Any, ...] = ()


class Ours:
    """The verifier of this package, called as the command line calls it with `--offline`."""

    def __init__(self) -> None:
        self.registry = Registry.load()

    def report(self, path: Path, trust: Trust) -> BundleReport:
        known = read_known(trust.blocks, trust.log_keys, trust.min_work)
        return verify_bundle(
            path,
            registry=self.registry,
            trusted=known.facts,
            blocks=known.blocks,
            expect=Expectations(
                root=Digest.parse(trust.root) if trust.root is not None else None, networks=trust.networks or None
            ),
        )

    def __call__(self, paths: Sequence[Path], trust: Trust) -> list[Outcome]:
        return [self._one(path, trust) for path in paths]

    def _one(self, path: Path, trust: Trust) -> Outcome:
        try:
            report = self.report(path, trust).to_json()
        except ConfigurationError:
            return Outcome(USAGE)
        return outcome_of(report, EXIT_CODES[report["verdict"]])


class Theirs:
    """The verifier for Node.js: one process for any number of files."""

    def __init__(self, program: str) -> None:
        self._program = program

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        command = [self._program, str(NODE_VERIFIER), *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def __call__(self, paths: Sequence[Path], trust: Trust) -> list[Outcome]:
        done = self.run("--json", *trust.words(), *paths)
        results = [json.loads(line) for line in done.stdout.split("\n")[:-1]]
        assert [result["file"] for result in results] == [str(path) for path in paths], done.stderr
        assert "defect" not in done.stdout
        return [
            Outcome(result["exit_code"]) if "error" in result else outcome_of(result, result["exit_code"])
            for result in results
        ]


def outcome_of(report: dict[str, Any], exit_code: int) -> Outcome:
    """Take out of a report what both verifiers say; sentences are each one's own."""
    leaf = report.get("leaf")
    return Outcome(
        exit_code,
        report["verdict"],
        tuple(step["verdict"] for step in report["steps"]),
        {
            one["network"]: (
                *(one[key] for key in ("driver", "network_id", "reference", "verdict", "block_hash", "block_time")),
                len(one["remaining"]) > 0,
            )
            for one in report["networks"]
        },
        (
            *(report.get(key) for key in ("run_id", "phase", "root", "anchored")),
            None if leaf is None else (leaf["path"], leaf["kind"], leaf["digest"]),
        ),
    )


@pytest.fixture(scope="session")
def ours() -> Ours:
    return Ours()


@pytest.fixture(scope="session")
def theirs(node: str) -> Theirs:
    return Theirs(node)


@dataclass(frozen=True)
class Embedded:
    """Three runs anchored on the embedded networks, the last one in a batch with two others."""

    base_dir: Path
    folders: dict[str, Path]
    data: Path
    log_key: str

    def value(self, run: str, **options: Any) -> dict[str, Any]:
        """Return the JSON value of a bundle."""
        data = export_bundle(self.folders[run], **options).to_bytes()
        value: dict[str, Any] = parse_json(data, what="bundle")
        return value


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Embedded:
    return make_embedded(tmp_path_factory.mktemp("embedded"))


def make_embedded(place: Path) -> Embedded:
    """Anchor the runs in a folder."""
    data = place / "dataset"
    data.mkdir(parents=True)
    for name, content in (("a.csv", "1,2\n"), ("b~c.csv", "3,4\n")):
        (data / name).write_text(content)
    base_dir = place / "artifacts"
    folders = {name: _run(base_dir, data, name) for name in ("run-1", "run-2")}
    batched = load_config({"blockchain": {"storage_options": {"store_in_batches": True}}}, environment={})
    members = [_run(base_dir, data, f"member-{index}", batched) for index in range(3)]
    with BlockchainManager(batched, base_dir=base_dir) as manager:
        assert anchor_waiting_roots(members, manager) is not None
    for member in members:
        ProvenanceTracker.open(member, batched).close()
    folders["member"] = members[1]
    return Embedded(base_dir, folders, data, (base_dir / "networks" / "log" / "log.vkey").read_text().strip())


def _run(base_dir: Path, data: Path, name: str, config: Any = None) -> Path:
    config = config or load_config({"blockchain": {}}, environment={})
    tracker = ProvenanceTracker(base_dir, config, run_id=name)
    tracker.track_data(data, (np.arange(6.0).reshape(3, 2), np.arange(3)))
    tracker.track_model({"layer.weight": np.full((3, 2), len(name), "<f4")})
    tracker.store_merkle_on_blockchain_before_training({"epochs": 3})
    for epoch in range(3):
        tracker.track_epoch(epoch, metrics={"loss": 1 / (epoch + 1), "note": 'é \u2028 "\\'})
    tracker.store_merkle_on_blockchain_after_training({"accuracy": 0.5})
    tracker.close()
    return tracker.run_folder


SETTLED = ("ethereum", "log")
"""Networks of which a verifier can know beforehand all that matters; of IPFS, availability always remains."""


@pytest.fixture(scope="session")
def bundle_values(embedded: Embedded) -> dict[str, dict[str, Any]]:
    """Return bundles by name: each has another leaf or none, and receipts of the networks that can be settled."""
    made = {
        "plain": embedded.value("run-1"),
        "leaf": embedded.value("run-1", leaf="training/epochs/1/metrics"),
        "before": embedded.value("run-1", leaf="data/training/b~0c.csv", anchor="000-before_training"),
        "branch": embedded.value("run-2", leaf="data/test"),
        "absent": embedded.value("run-1", leaf="training/epochs/2/privacy_metrics"),
        "batched": embedded.value("member", leaf="training/config"),
    }
    return {
        name: value | {"receipts": {key: value["receipts"][key] for key in SETTLED}} for name, value in made.items()
    }


@pytest.fixture(scope="session")
def with_ipfs(embedded: Embedded) -> dict[str, Any]:
    """Return a bundle with the receipts of all embedded networks."""
    return embedded.value("run-1", leaf="training/epochs/1/metrics")


@pytest.fixture(scope="session")
def all_trusted(embedded: Embedded, bundle_values: dict[str, Any], ours: Ours, tmp_path_factory: Any) -> Trust:
    """Return all that makes these bundles valid: the log's key, and the blocks of their evidence."""
    blocks = set()
    folder = tmp_path_factory.mktemp("blocks")
    for name, value in bundle_values.items():
        (folder / name).write_bytes(sealed(value))
        report = ours.report(folder / name, Trust())
        blocks |= {f"{one.network_id}:0x{one.block_hash}" for one in report.networks if one.block_hash is not None}
    return Trust(blocks=tuple(sorted(blocks)), log_keys=(embedded.log_key,))


@pytest.fixture
def compare(
    tmp_path: Path, ours: Ours, theirs: Theirs
) -> Callable[[Iterable[tuple[str, bytes]], Trust], dict[str, str | None]]:
    """Verify files by both verifiers, which must agree on everything, and return each one's verdict by name."""

    def run(files: Iterable[tuple[str, bytes]], trust: Trust) -> dict[str, str | None]:
        names, paths = [], []
        for number, (name, data) in enumerate(files):
            names.append(name)
            paths.append(tmp_path / f"{number}.mrv.json")
            paths[-1].write_bytes(data)
        first, second = ours(paths, trust), theirs(paths, trust)
        different = {name: (a, b) for name, a, b in zip(names, first, second, strict=True) if a != b}
        assert not different, f"{len(different)} of {len(names)}: {next(iter(different.items()))}"
        assert len(set(names)) == len(names)
        return {name: outcome.verdict for name, outcome in zip(names, first, strict=True)}

    return run


@pytest.fixture
def write(tmp_path: Path) -> Callable[[bytes], Path]:
    """Write a bundle file and return its path."""

    def run(data: bytes, name: str = "bundle.mrv.json") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return run
