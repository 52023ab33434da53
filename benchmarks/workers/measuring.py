# SPDX-License-Identifier: MIT
"""A training that does nothing, measured by ours or by CodeCarbon's tracker, in a process that did not before."""

import logging
import time

from protocol import serve

INTERVAL_S = 1.0


def ours(storage_dir: str, settle_s: float, seconds: float) -> dict[str, float]:
    """Measure a sleep with MRVTracker."""
    from mrv_core import MRVTracker

    tracker = MRVTracker("benchmark", storage_dir=storage_dir, blockchain_enabled=False, interval_s=INTERVAL_S)
    start = time.perf_counter()
    tracker.start()
    started = time.perf_counter()
    time.sleep(settle_s)  # the hardware is looked for meanwhile
    used = _sleep(seconds)
    stopping = time.perf_counter()
    tracker.stop()
    return {"start": started - start, "stop": time.perf_counter() - stopping, "cores": used}


def theirs(settle_s: float, seconds: float) -> dict[str, float]:
    """Measure a sleep with CodeCarbon's offline tracker."""
    from codecarbon import OfflineEmissionsTracker

    logging.getLogger("codecarbon").setLevel(logging.CRITICAL)
    tracker = OfflineEmissionsTracker(
        country_iso_code="FRA", output_methods=[], measure_power_secs=INTERVAL_S, log_level="critical"
    )
    start = time.perf_counter()
    tracker.start()
    started = time.perf_counter()
    time.sleep(settle_s)
    used = _sleep(seconds)
    stopping = time.perf_counter()
    tracker.stop()
    return {"start": started - start, "stop": time.perf_counter() - stopping, "cores": used}


def _sleep(seconds: float) -> float:
    """Sleep, and return how much of a core this process used meanwhile."""
    before = time.process_time()
    time.sleep(seconds)
    return (time.process_time() - before) / seconds


serve({"ours": ours, "theirs": theirs})
