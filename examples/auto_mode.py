# SPDX-License-Identifier: MIT
"""Automatic mode: the whole thing in ten lines. Run it anywhere; no node and no key is needed."""

from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier

from mrv_core import ProvenanceTracker

x, y = load_digits(return_X_y=True)
model = SGDClassifier(loss="log_loss", random_state=0).partial_fit(x[:1000], y[:1000], classes=range(10))

with ProvenanceTracker(config={"epochs": 3, "hash_algorithm": "blake3"}) as run:
    run.track_data((x[:1000], y[:1000]), (x[1000:], y[1000:]))
    run.track_model(model)  # anchored here, before training
    for epoch in range(3):
        model.partial_fit(x[:1000], y[:1000])
        run.track_epoch(epoch, model, metrics={"accuracy": model.score(x[1000:], y[1000:])})
# anchored here, after training

print(f"mrv verify {run.run_folder}")
