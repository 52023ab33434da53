# SPDX-License-Identifier: MIT
"""The shortest MRV record: measure a block of code, write what it cost, anchor it, check it.

python examples/simple_example.py
"""

import sys

from mrv_core import MRVTracker


def train(steps: int) -> float:
    """Do something that takes time: sum the first terms of a series."""
    return sum((-1) ** k / (2 * k + 1) for k in range(steps)) * 4


with MRVTracker("simple", model_name="series", dataset_name="integers", epochs=3, country="FRA") as tracker:
    for epoch in range(3):
        with tracker.epoch(epoch):
            tracker.log(estimate=train(1_000_000 * (epoch + 1)))

record = tracker.record
if record is None:
    sys.exit(f"no record was written: {tracker.error}")
print(f"record  {tracker.record_path}")
print(f"energy  {record.energy.total_uwh} µWh, {record.emissions.co2e_mg} mg CO2e")
print(f"sha256  {tracker.mrv_hash}")
print(f"anchor  {tracker.tx_hash}")
report = tracker.verify_on_blockchain()
print(f"{report.status}: {report.summary}")
sys.exit(report.status != "VALID")
