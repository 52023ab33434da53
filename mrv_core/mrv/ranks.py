# SPDX-License-Identifier: MIT
"""What the list of a job's ranks says by itself: sums, who is missing, the root over their hashes, uncounted times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from mrv_core.hashing import Digest
from mrv_core.merkle import tree_root
from mrv_core.mrv import units
from mrv_core.mrv.job import Scope
from mrv_core.mrv.record import Component, Gap, RankEntry, Status

_MOST_NAMED: Final = 20
"""Ranks that a text names."""


def root_of(entries: Sequence[RankEntry]) -> Digest:
    """Return the root of the RFC 9162 log over the hashes of the ranks' records, in their order."""
    return Digest("sha256", tree_root([entry.hash.value for entry in entries]))


def missing_of(entries: Sequence[RankEntry], world_size: int) -> tuple[int, ...]:
    """Return the ranks without a record."""
    known = {entry.rank for entry in entries}
    return tuple(rank for rank in range(world_size) if rank not in known)


def status_of(entries: Sequence[RankEntry], missing: Sequence[int]) -> Status:
    """Return how a job ended: completed where every rank was."""
    completed = not missing and all(entry.status is Status.COMPLETED for entry in entries)
    return Status.COMPLETED if completed else Status.INTERRUPTED


def duration_ms_of(entries: Sequence[RankEntry]) -> int:
    """Return the time until the last rank ended, since the start of the job."""
    return max(map(_end, entries))


def energy_uwh_of(entries: Sequence[RankEntry]) -> int | None:
    """Return the energy of all ranks in µWh; None where none measured any."""
    return units.total(entry.energy_uwh for entry in entries)


def co2e_mg_of(entries: Sequence[RankEntry]) -> int | None:
    """Return the emissions of all ranks in mg CO2e; None where those of any energy are not known."""
    counting = [entry for entry in entries if entry.energy_uwh is not None]
    known = [entry.co2e_mg for entry in counting if entry.co2e_mg is not None]
    return sum(known) if known and len(known) == len(counting) else None


def gaps_of(entries: Sequence[RankEntry], scope: Scope, *, gpu: bool) -> tuple[Gap, ...]:
    """Return the times in which a rank ran and what it used was counted by nobody, since the start of the job.

    Args:
        entries: The ranks.
        scope: Of their measurement.
        gpu: Whether GPUs were measured at all.
    """
    found: list[Gap] = []
    if scope == "process":
        found += (_gap(entry, f"rank {entry.rank} measured nothing") for entry in entries if entry.energy_uwh is None)
    if scope == "machine" or gpu:
        component = None if scope == "machine" else Component.GPU
        for host, ranks in sorted(_by_host(entries).items()):
            found += _uncounted(host, ranks, component)
    return tuple(gap for gap in found if gap.start_ms < gap.end_ms)


def name_ranks(ranks: Sequence[int]) -> str:
    """Name ranks in a text: `rank 3`, `ranks 0, 4`."""
    more = f" and {len(ranks) - _MOST_NAMED} more" if len(ranks) > _MOST_NAMED else ""
    return f"rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks[:_MOST_NAMED]))}{more}"


def _by_host(entries: Sequence[RankEntry]) -> dict[int, list[RankEntry]]:
    hosts: dict[int, list[RankEntry]] = {}
    for entry in entries:
        hosts.setdefault(entry.host, []).append(entry)
    return hosts


def _uncounted(host: int, ranks: Sequence[RankEntry], component: Component | None) -> Iterator[Gap]:
    """Yield when a rank of a host ran, and its local rank 0 did not measure."""
    start, end = min(rank.start_ms for rank in ranks), max(map(_end, ranks))
    first = next((rank for rank in ranks if rank.local_rank == 0), None)
    if first is None or first.energy_uwh is None:
        why = "there is no record of its local rank 0" if first is None else "its local rank 0 measured nothing"
        yield Gap(component=component, start_ms=start, end_ms=end, reason=f"host {host}: {why}")
        return
    began, ended = f"host {host}: its local rank 0 had not started", f"host {host}: its local rank 0 had ended"
    yield Gap(component=component, start_ms=start, end_ms=first.start_ms, reason=began)
    yield Gap(component=component, start_ms=_end(first), end_ms=end, reason=ended)


def _gap(entry: RankEntry, reason: str) -> Gap:
    return Gap(component=None, start_ms=entry.start_ms, end_ms=_end(entry), reason=reason)


def _end(entry: RankEntry) -> int:
    return entry.start_ms + entry.duration_ms
