# SPDX-License-Identifier: MIT
"""A PyTorch training loop, unchanged but for the four lines that start with `run.`."""

import torch
from torch import nn

from mrv_core import ProvenanceTracker

torch.manual_seed(2026)
inputs = torch.rand(512, 2) * 2 - 1
labels = (inputs.prod(dim=1) > 0).long()
data = torch.utils.data.TensorDataset(inputs, labels)

model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
batches = torch.utils.data.DataLoader(data, batch_size=32, shuffle=True)

with ProvenanceTracker(config={"epochs": 5, "learning_rate": 0.01, "batch_size": 32}) as run:
    run.track_data(data)  # every sample of a map-style dataset
    run.track_model(model)
    for epoch in range(5):
        for batch, target in batches:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), target)
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            accuracy = (model(inputs).argmax(dim=1) == labels).float().mean()
        run.track_epoch(epoch, model, metrics={"loss": loss, "accuracy": accuracy})
    run.results = {"accuracy": accuracy}

report = run.verify(data={"data/training": data}, model=model)
print(report.verdict, report.summary)
for check in report.contents:
    print(f"{check.source} is {check.path}: {check.detail}")
