# SPDX-License-Identifier: MIT
"""A small PyTorch training whose every epoch is tracked, in a process of its own."""

import time
from typing import Any

import torch
from protocol import serve
from torch import nn

from mrv_core import ProvenanceTracker

BATCH = 64
BATCHES = 10
state: dict[str, Any] = {}


def prepare(base_dir: str, seed: int, epoch_s: float) -> int:
    """Make data, model and run; every epoch will take at least so many seconds."""
    torch.manual_seed(seed)
    state["images"] = torch.randn(4096, 1, 28, 28)
    state["labels"] = torch.randint(10, (4096,))
    state["model"] = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 7 * 7, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip
    state["optimizer"] = torch.optim.SGD(state["model"].parameters(), lr=0.01)
    state["epoch_s"] = epoch_s
    _train(BATCHES)
    run = state["run"] = ProvenanceTracker(base_dir, {}, progress=False)
    run.track_data((state["images"], state["labels"]))
    run.track_model(state["model"])
    run.store_merkle_on_blockchain_before_training({"epoch_s": epoch_s})
    return sum(part.numel() for part in state["model"].parameters())


def epoch(number: int) -> dict[str, float]:
    """Train and track one epoch; return the seconds of the training and those of `track_epoch`."""
    start = time.perf_counter()
    while (trained := time.perf_counter()) - start < state["epoch_s"]:
        loss = _train(BATCHES)
    state["run"].track_epoch(number, state["model"], metrics={"loss": loss})
    return {"training": trained - start, "tracking": time.perf_counter() - trained}


def _train(batches: int) -> float:
    loss = torch.tensor(0.0)
    for batch in range(batches):
        start = batch * BATCH % len(state["labels"])
        part = slice(start, start + BATCH)
        state["optimizer"].zero_grad()
        loss = nn.functional.cross_entropy(state["model"](state["images"][part]), state["labels"][part])
        loss.backward()
        state["optimizer"].step()
    return float(loss.item())


serve({"prepare": prepare, "epoch": epoch})
