# SPDX-License-Identifier: MIT
"""A scikit-learn pipeline on a table: no epochs, one fitted model, data as it comes out of pandas."""

from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score

from mrv_core import ProvenanceTracker

x, y = load_wine(return_X_y=True)
settings = {"n_estimators": 20, "max_depth": 4, "random_state": 2026}

run = ProvenanceTracker()
run.track_data((x, y))
run.store_merkle_on_blockchain_before_training(settings)  # the data and settings are fixed before anything is fitted

model = RandomForestClassifier(**settings).fit(x, y)
scores = cross_val_score(model, x, y, cv=3)
run.track_epoch(0, model, metrics={"scores": scores.tolist()})  # a fit is one epoch
run.store_merkle_on_blockchain_after_training({"accuracy": scores.mean()})

again = RandomForestClassifier(**settings).fit(x, y)
print("The same data and settings give the same model:", run.verify(model=again).chain_integrity)
run.close()
