# SPDX-License-Identifier: MIT
"""Reports to render: made from a real tree, with what three networks would say about its roots."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mrv_core.canonical import to_json_value
from mrv_core.hashing import Digest, HashFactory
from mrv_core.models import Verdict
from mrv_core.provenance_tree import MerkleNode, MLProvenanceMerkleTree
from mrv_core.report.model import (
    AnchorResult,
    ContentCheck,
    EpochRow,
    Finding,
    IntegrityReport,
    NetworkResult,
    Step,
    TreeRow,
)

START = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)

CONFIG = {
    "dataset": "digits",
    "epochs": 10,
    "batch_size": 64,
    "learning_rate": 0.05,
    "optimizer": {"name": "SGD", "momentum": 0.9},
    "seed": 20260314,
}
ENVIRONMENT = {
    "python": "3.11.9",
    "platform": "Linux-6.8-x86_64",
    "code": {"commit": "5f1c0a9d7e3b42d8a6c90f1e2b7d4835c6a1e0f2", "dirty": False},
    "hardware": {"cpu": "AMD EPYC 7B13", "cores": 8, "memory_gib": 31.3},
    "packages": {"numpy": "2.4.0", "scikit-learn": "1.8.0", "torch": "2.13.0", "mrv-provenance": "0.1.0"},
}
RESULTS = {"test_accuracy": 0.9722222222222222, "test_loss": 0.10384, "train_accuracy": 0.9986, "epochs_run": 10}

STEPS = (
    ("Parse within limits", "9 files, 21 kB; all of the form they must have"),
    ("Recompute digests", "no content was given, so stored values were recomputed only"),
    ("Rebuild the roots", "41 nodes rebuilt; inclusion and consistency checked between 2 anchors"),
    ("Receipts are for these roots", "6 receipts, each for the root of its anchor"),
    ("Networks confirm", "3 networks asked about 2 anchors"),
    ("Networks agree", "same commitment everywhere; before is not later than after"),
    ("Policy", "all networks must hold each anchor, state FINAL"),
)


def _digest(text: str) -> Digest:
    return HashFactory.digest(text.encode(), "blake3")


def _leaf(name: str, kind: str) -> MerkleNode:
    return MerkleNode.leaf(name, kind, _digest(name))


def metrics_of(epoch: int) -> dict[str, float]:
    """Metrics that look like those of a small classifier."""
    decay = math.exp(-0.42 * epoch)
    return {
        "loss": 2.11 * decay + 0.041 + 0.012 * math.sin(3.1 * epoch),
        "val_loss": 2.05 * decay + 0.103 + 0.02 * math.sin(2.3 * epoch + 1),
        "accuracy": 0.9986 - 0.71 * decay - 0.004 * math.cos(2.7 * epoch),
        "val_accuracy": 0.9722 - 0.69 * decay - 0.006 * math.cos(1.9 * epoch),
        "learning_rate": 0.05 * 0.9**epoch,
    }


def sample_tree(metrics: Callable[[int], Any] = metrics_of, epochs: int = 10) -> MLProvenanceMerkleTree:
    """A run's tree as the demonstration would build it."""
    tree = MLProvenanceMerkleTree("digits-20260314-092653")
    pair = [_leaf(name, "array") for name in ("x", "y")]
    tree.set("data/training", MerkleNode.branch("training", pair))
    tree.set("data/test", MerkleNode.branch("test", [_leaf(name, "array") for name in ("x", "y")]))
    tree.set("model/architecture", MerkleNode.json("architecture", {"layers": [64, 128, 10]}, "blake3"))
    weights = [_leaf(f"{layer}.{part}", "tensor") for layer in ("0", "2", "4") for part in ("weight", "bias")]
    tree.set("model/weights", MerkleNode.branch("weights", weights))
    tree.set("training/config", MerkleNode.json("config", CONFIG, "blake3"))
    tree.set("training/environment", MerkleNode.json("environment", ENVIRONMENT, "blake3"))
    for epoch in range(epochs):
        tree.append_epoch(
            epoch,
            model_state=MerkleNode.branch("model_state", weights),
            metrics=MerkleNode.json("metrics", to_json_value(metrics(epoch), non_finite=True), "blake3"),
            privacy_metrics=MerkleNode.json(
                "privacy_metrics", {"epsilon": 0.31 * math.sqrt(epoch + 1), "delta": 1e-5}, "blake3"
            ),
        )
    tree.set("training/results", MerkleNode.json("results", RESULTS, "blake3"))
    return tree


def _networks(root: Digest, sent: datetime, verdicts: dict[str, Verdict]) -> tuple[NetworkResult, ...]:
    transaction = "0x" + HashFactory.digest(root.value, "sha256").hex
    common: dict[str, Any] = {"state": "FINAL", "submitted_at": sent}
    results = {
        "ethereum": NetworkResult(
            network="ethereum",
            driver="ethereum",
            verdict=Verdict.VALID,
            detail="the contract holds this root since block 3",
            reference=transaction,
            network_id="eip155:131277322940537",
            embedded=True,
            attests_time=True,
            block_time=sent + timedelta(seconds=2),
            confirmations=4,
            facts={"block_number": 3, "contract": "0x5FbDB2315678afecb367f032d93F642f64180aa3", "gas_used": 96412},
            trusts=(
                "This chain lives in the artifacts folder: whoever holds the folder can write a new one.",
                "The library that executes the contract.",
            ),
            **common,
        ),
        "ipfs": NetworkResult(
            network="ipfs",
            driver="ipfs",
            verdict=Verdict.VALID,
            detail="the block with this CID holds this root",
            reference="bafyreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy",
            network_id="ipfs",
            embedded=True,
            trusts=("SHA-256. A CID shows what was stored, and nothing about when.",),
            **common,
        ),
        "log": NetworkResult(
            network="log",
            driver="log",
            verdict=Verdict.VALID,
            detail="entry 7 of 8 in a signed checkpoint",
            reference="7",
            network_id="log.example/digits",
            embedded=True,
            facts={"log_size": 8, "key": "log.example/digits+2f3a1c77+AZ0n"},
            trusts=("The holder of the log's key, who is the author of this run.",),
            **common,
        ),
    }
    changed = (
        result.model_copy(update=_CHANGES.get(verdicts.get(name, Verdict.VALID), {}))
        for name, result in results.items()
    )
    return tuple(changed)


_CHANGES: dict[Verdict, dict[str, Any]] = {
    Verdict.PENDING: {
        "verdict": Verdict.PENDING,
        "detail": "sent, not in a block yet",
        "hint": "run `mrv flush` in a few minutes and verify again",
        "state": "PENDING",
        "block_time": None,
        "confirmations": None,
        "facts": {},
    },
    Verdict.NOT_FOUND: {
        "verdict": Verdict.NOT_FOUND,
        "detail": "the network answered and has no such block",
        "hint": "check that the configuration names the network that was anchored on",
        "state": None,
    },
    Verdict.UNREACHABLE: {
        "verdict": Verdict.UNREACHABLE,
        "detail": "no answer from log within 30 s",
        "hint": "check the connection and verify again",
        "state": None,
    },
    Verdict.DISAGREE: {"verdict": Verdict.TAMPERED, "detail": "the network holds another root under this reference"},
}


def make_report(
    verdict: Verdict = Verdict.VALID,
    *,
    metrics: Callable[[int], Any] = metrics_of,
    epoch_count: int = 10,
    **changes: Any,
) -> IntegrityReport:
    """A whole report with the given verdict; `changes` replace its fields."""
    tree = sample_tree(metrics, epoch_count)
    states = [tree.state("before_training"), tree.state("after_training")]
    states[0] = type(states[0])("before_training", 0, tuple(slot for slot in states[0].slots if "results" not in slot))
    after = {
        Verdict.PENDING: {"ethereum": Verdict.PENDING},
        Verdict.NOT_FOUND: {"ipfs": Verdict.NOT_FOUND},
        Verdict.UNREACHABLE: {"log": Verdict.UNREACHABLE},
        Verdict.DISAGREE: {"log": Verdict.DISAGREE},
    }.get(verdict, {})
    anchors = tuple(
        AnchorResult(
            name=f"{index:03}-{state.phase}",
            phase=state.phase,
            epochs=state.epochs,
            root=tree.root(state),
            verdict=verdict if index and after else Verdict.VALID,
            networks=_networks(tree.root(state), START + timedelta(minutes=4 * index + 1), after if index else {}),
        )
        for index, state in enumerate(states)
    )
    rows = tuple(
        TreeRow(
            path=path,
            kind=node.kind,
            size=len(node.children) if node.kind == "branch" else None,
            digest=str(node.digest) if node.digest else None,
            hash=node.hash.hex(),
        )
        for path, node in tree.walk()
    )
    report = IntegrityReport(
        run_id=tree.run_id,
        run_folder="artifacts/digits-20260314-092653",
        verdict=verdict,
        chain_integrity=verdict is Verdict.VALID,
        summary=_SUMMARIES[verdict],
        created_at=START + timedelta(hours=1, minutes=7),
        root=tree.root("after_training"),
        policy="all networks, state FINAL",
        steps=_steps(verdict),
        findings=_FINDINGS.get(verdict, ()),
        uncovered=("training/results",) if verdict is Verdict.PENDING else (),
        anchors=anchors,
        contents=(
            ContentCheck(path="data/training", source="digits/train.npz", verdict=Verdict.VALID, detail="2 arrays"),
        ),
        started_at=START,
        hash_algorithm="blake3",
        config=CONFIG,
        environment=ENVIRONMENT,
        results=RESULTS,
        epochs=tuple(
            EpochRow(
                epoch=epoch,
                metrics=to_json_value(metrics(epoch), non_finite=True),
                privacy_metrics={"epsilon": 0.31 * math.sqrt(epoch + 1), "delta": 1e-5},
                hash=node.hash.hex(),
            )
            for epoch, node in enumerate(tree.epochs)
        ),
        tree=rows,
    )
    return report.model_copy(update=changes)


_SUMMARIES = {
    Verdict.VALID: "Both roots of this run stand on ethereum, ipfs and log, and everything below them is intact.",
    Verdict.PENDING: "The root after training waits on ethereum; everything else is confirmed.",
    Verdict.NOT_FOUND: "ipfs does not have the root after training.",
    Verdict.UNREACHABLE: "log could not be asked about the root after training.",
    Verdict.TAMPERED: "The metrics of epoch 7 are not the ones that were anchored.",
    Verdict.DISAGREE: "log holds another root than ethereum and ipfs.",
}

_FINDINGS = {
    Verdict.TAMPERED: (
        Finding(
            verdict=Verdict.TAMPERED,
            place="training/epochs/7/metrics",
            message="the stored value does not have the digest that was anchored",
            expected=str(_digest("as anchored")),
            computed=str(_digest("as found")),
        ),
        Finding(
            verdict=Verdict.UNREACHABLE,
            place="data/training",
            message="cannot read digits/train.npz: No such file or directory",
        ),
    ),
    Verdict.DISAGREE: (
        Finding(
            verdict=Verdict.DISAGREE,
            place="receipt:log",
            message="log holds another root than ethereum and ipfs under the same anchor",
            expected=str(_digest("one")),
            computed=str(_digest("other")),
        ),
    ),
}


def _steps(verdict: Verdict) -> tuple[Step, ...]:
    bad = {Verdict.TAMPERED: 3, Verdict.DISAGREE: 6}.get(verdict, 5)
    verdicts = {
        number: None
        if number == 2
        else verdict
        if verdict is not Verdict.VALID and number in (bad, 7)
        else Verdict.VALID
        for number in range(1, 8)
    }
    return tuple(
        Step(number=number, name=name, verdict=verdicts[number], detail=detail)
        for number, (name, detail) in enumerate(STEPS, start=1)
    )


@pytest.fixture
def sample_report() -> Callable[..., IntegrityReport]:
    """Return the function that makes a report with a given verdict."""
    return make_report
