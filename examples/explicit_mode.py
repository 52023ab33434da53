# SPDX-License-Identifier: MIT
"""Explicit mode: every step is a call of its own, and nothing is needed but NumPy and the tracker."""

import numpy as np

from mrv_core import ProvenanceTracker

# A line fitted by gradient descent: the model is a dict of arrays, as a state dict is.
rng = np.random.default_rng(2026)
x = rng.uniform(-1, 1, size=200)
y = 3 * x + 1 + rng.normal(scale=0.1, size=200)
model = {"slope": np.zeros(1), "intercept": np.zeros(1)}

run = ProvenanceTracker(config={"blockchain": {"networks": ["ipfs", "log"]}})
run.track_data({"x": x, "y": y})
run.track_model(model)

before = run.store_merkle_on_blockchain_before_training({"epochs": 20, "learning_rate": 0.3})
print("✅ Blockchain storage successful" if before else "⚠️ Blockchain storage failed", before)

for epoch in range(20):
    error = model["slope"] * x + model["intercept"] - y
    model["slope"] -= 0.3 * np.mean(error * x)
    model["intercept"] -= 0.3 * np.mean(error)
    run.track_epoch(epoch, model, metrics={"loss": np.mean(error**2)})

after = run.store_merkle_on_blockchain_after_training({"slope": model["slope"][0], "intercept": model["intercept"][0]})
print("✅ Blockchain storage successful" if after else "⚠️ Blockchain storage failed", after)

result = run.verify_blockchain_provenance(data={"data/training": {"x": x, "y": y}}, model=model)
if result["chain_integrity"]:
    print("✅ Provenance chain integrity verified!")
else:
    print("❌ Provenance chain integrity failed!", result["summary"])

print(run.save_blockchain_report())
run.close()
