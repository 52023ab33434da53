# SPDX-License-Identifier: MIT
"""What the database holds, as numbers for Prometheus: verdicts, alarms, and what waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from mrv_core.errors import MrvError
from mrv_core.models import format_time, utc_now
from mrv_service.database import Database
from mrv_service.verifications import Verifications
from mrv_service.worker import waiting

_FRESH_S: Final = 5.0


class Gauges(Collector):
    """Numbers of one database, read when they are asked for.

    Args:
        database: The database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._lock = threading.Lock()
        self._text: bytes | None = None
        self._read_at = 0.0

    def text(self) -> bytes:
        """Return the numbers in Prometheus' text format, at most some seconds old: they count whole tables."""
        with self._lock:
            if self._text is None or time.monotonic() - self._read_at > _FRESH_S:
                self._text = generate_latest(self._registry)
                self._read_at = time.monotonic()
            return self._text

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """See `Collector.collect`."""
        is_up = GaugeMetricFamily(
            "mrv_database_up", "Whether the database answers; without it, these numbers are missing."
        )
        try:
            yield from self._held()
            is_up.add_metric([], 1)
        except MrvError:
            is_up.add_metric([], 0)
        yield is_up

    def _held(self) -> list[GaugeMetricFamily]:
        verifications = Verifications(self._database)
        verdicts = GaugeMetricFamily(
            "mrv_verdicts", "Records and bundles by their newest verdict.", labels=("kind", "verdict")
        )
        for kind, verdict, count in verifications.counts():
            verdicts.add_metric((kind, verdict or "none"), count)
        alone, unfinished = waiting(self._database)
        due, newest = verifications.due(format_time(utc_now()))
        checked = GaugeMetricFamily("mrv_last_verification_timestamp_seconds", "When the newest verification was done.")
        if newest is not None:
            checked.add_metric([], datetime.fromisoformat(newest).timestamp())
        return [
            verdicts,
            checked,
            GaugeMetricFamily("mrv_verifications_due", "Records and bundles whose turn it is.", due),
            GaugeMetricFamily("mrv_alarms", "Records and bundles that stopped verifying.", verifications.alarms()),
            GaugeMetricFamily("mrv_records_waiting", "Records in no batch and without receipts.", alone),
            GaugeMetricFamily("mrv_batches_open", "Batches that are not final.", unfinished),
        ]
