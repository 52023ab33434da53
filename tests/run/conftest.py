# SPDX-License-Identifier: MIT
"""A finished run on two in-memory networks, and a way to verify it as a stranger would."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mrv_core.config import Config, load_config
from mrv_core.registry import Registry
from mrv_core.report.model import IntegrityReport
from mrv_core.testing import plugin
from mrv_core.tracker import ProvenanceTracker
from mrv_core.verification import verify_run

DOCUMENT: dict[str, Any] = {
    "hash_algorithm": "sha256",
    "learning_rate": 0.001,
    "blockchain": {
        "networks": ["alpha", "beta"],
        "alpha": {"driver": "memory"},
        "beta": {"driver": "memory", "attests_time": False},
    },
}


@pytest.fixture(scope="session")
def registry() -> Registry:
    """Return the installed drivers and the in-memory one."""
    found = Registry.load()
    found.add_plugin(plugin, "memory")
    return found


@pytest.fixture
def make_config(registry: Registry) -> Callable[..., Config]:
    """Build a configuration with changes to its blockchain section; None takes a key out."""

    def make(**changes: Any) -> Config:
        document = json.loads(json.dumps(DOCUMENT))
        section = {**document["blockchain"], **changes}
        document["blockchain"] = {key: value for key, value in section.items() if value is not None}
        return load_config(document, registry=registry, environment={})

    return make


@pytest.fixture
def config(make_config: Callable[..., Config]) -> Config:
    """Return the plain configuration."""
    return make_config()


@pytest.fixture
def content() -> dict[str, Any]:
    """Return a small data set and three states of a model."""
    random = np.random.default_rng(1)
    return {
        "train": (random.normal(size=(12, 3)), np.arange(12)),
        "test": (random.normal(size=(4, 3)), np.arange(4)),
        "states": [{"layer.weight": np.full((3, 2), i, "<f4"), "layer.bias": np.full(2, i, "<f4")} for i in range(3)],
    }


@pytest.fixture
def start(
    tmp_path: Path, config: Config, registry: Registry, content: dict[str, Any]
) -> Callable[..., ProvenanceTracker]:
    """Begin a run with data and model tracked."""

    def begin(with_config: Config | None = None, run_id: str = "run-1") -> ProvenanceTracker:
        tracker = ProvenanceTracker(tmp_path / "artifacts", with_config or config, run_id=run_id, registry=registry)
        tracker.track_data(content["train"], content["test"])
        tracker.track_model(content["states"][0])
        return tracker

    return begin


@pytest.fixture
def finished(start: Callable[..., ProvenanceTracker], content: dict[str, Any]) -> Path:
    """Return the folder of a run of two epochs, anchored before and after."""
    tracker = start()
    tracker.store_merkle_on_blockchain_before_training({"epochs": 2, "batch_size": 4})
    for epoch in (1, 2):
        tracker.track_epoch(epoch, content["states"][epoch], {"loss": 1 / epoch}, {"epsilon": 0.5 * epoch})
    tracker.store_merkle_on_blockchain_after_training({"accuracy": 0.97})
    tracker.close()
    return tracker.run_folder


@pytest.fixture
def verify(config: Config, registry: Registry) -> Callable[..., IntegrityReport]:
    """Verify a run folder with a manager of its own."""

    def run(folder: Path, with_config: Config | None = None, **options: Any) -> IntegrityReport:
        from mrv_core.manager import BlockchainManager

        chosen = with_config or config
        with BlockchainManager(chosen, base_dir=folder.parent, registry=registry) as manager:
            return verify_run(folder, config=chosen, manager=manager, **options)

    return run
