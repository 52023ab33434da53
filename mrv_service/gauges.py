# SPDX-License-Identifier: MIT
"""What the database holds, as numbers for Prometheus: verdicts, alarms, and what waits."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from mrv_core.errors import MrvError
from mrv_service.database import Database
from mrv_service.verifications import Verifications
from mrv_service.worker import waiting


class Gauges(Collector):
    """Numbers of one database, read when they are asked for.

    Args:
        database: The database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        """Return the numbers in Prometheus' text format."""
        return generate_latest(self._registry)

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
        return [
            verdicts,
            GaugeMetricFamily("mrv_alarms", "Records and bundles that stopped verifying.", verifications.alarms()),
            GaugeMetricFamily("mrv_records_waiting", "Records in no batch and without receipts.", alone),
            GaugeMetricFamily("mrv_batches_open", "Batches that are not final.", unfinished),
        ]
