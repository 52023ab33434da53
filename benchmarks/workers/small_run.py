# SPDX-License-Identifier: MIT
"""A small complete run on the embedded networks, for other programs to verify."""

import numpy as np
from protocol import serve

from mrv_core import ProvenanceTracker


def run(base_dir: str, seed: int) -> str:
    """Track and anchor a run; return its folder."""
    random = np.random.default_rng(seed)
    weights = {"weight": random.standard_normal((64, 10)), "bias": np.zeros(10)}
    with ProvenanceTracker(base_dir, {}, progress=False) as tracker:
        tracker.track_data((random.standard_normal((1000, 64)), random.integers(10, size=1000)))
        tracker.track_model(weights)
        for epoch in range(5):
            weights["weight"] = weights["weight"] * 0.9
            tracker.track_epoch(epoch, weights, metrics={"loss": 1 / (epoch + 1)})
    return str(tracker.run_folder)


serve({"run": run})
