# SPDX-License-Identifier: MIT
"""Which place a process has in a job of many, and what of its host it counts (docs/adr/0011-ranks.md).

What belongs to the whole host is counted by local rank 0 alone; else four processes would count it four times.
"""

from __future__ import annotations

import itertools
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from mrv_core.errors import ConfigurationError
from mrv_core.mrv import meters
from mrv_core.mrv.meters import Detected
from mrv_core.mrv.record import MAX_RANKS, Component, RankPlace
from mrv_core.mrv.storage import record_path

Scope = Literal["machine", "process"]

COUNTED_ELSEWHERE: Final = "local rank 0 of the host counts it"
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,8}")
_NAMESPACE: Final = uuid.UUID("8a4f7c0e-2f9b-4d53-9c3f-6f1d0d1e7b52")
"""Of the ids that are derived here; a random UUID, so that no other program's names make the same ones."""
_HINT: Final = "give every rank the same mrv_id=, another one for each launch; or launch with torchrun --rdzv-id"
_SET_BY_JOB: Final = "whoever launches several processes sets it (docs/mrv.md); job=None takes this one for itself"
_trackers: Final = itertools.count()
"""Trackers of this process whose ids were derived: all ranks make the same ones, one after another."""


@dataclass(frozen=True, slots=True)
class Job:
    """Place of this process in a job.

    Attributes:
        rank: Of this process in the job, from 0.
        world_size: Processes of the job.
        local_rank: Of this process on its host, from 0.
        host: Number of the host in the job, from 0.

    Raises:
        ConfigurationError: numbers that cannot be.
    """

    rank: int
    world_size: int
    local_rank: int
    host: int = 0

    def __post_init__(self) -> None:
        self._require("world_size", 1, MAX_RANKS)
        for name in ("rank", "local_rank", "host"):
            self._require(name, 0, self.world_size - 1)

    def _require(self, name: str, lowest: int, highest: int) -> None:
        value = getattr(self, name)
        if type(value) is not int or not lowest <= value <= highest:
            raise ConfigurationError(f"{name} of a job is a number from {lowest} to {highest}, not {value!r:.40}")

    def place(self, mrv_id: str) -> RankPlace:
        """Return what a rank's record says of it."""
        return RankPlace(
            mrv_id=mrv_id, rank=self.rank, world_size=self.world_size, local_rank=self.local_rank, host=self.host
        )


def job_of(job: Job | Literal["auto"] | None, environment: Mapping[str, str]) -> Job | None:
    """Return the job that a tracker is told of, or finds with `auto`.

    Raises:
        ConfigurationError: it is none, or see `find_job`.
    """
    if job == "auto":
        return find_job(environment)
    if job is not None and not isinstance(job, Job):
        raise ConfigurationError(f'job is "auto", None or a Job, not {job!r:.40}')
    return job


def find_job(environment: Mapping[str, str]) -> Job | None:
    """Return the job that torchrun, or somebody who sets its variables, has put this process into, if any.

    Raises:
        ConfigurationError: WORLD_SIZE says that there are several processes, and another variable is missing or wrong.
    """
    if _number(environment, "WORLD_SIZE", default=1) <= 1:
        return None
    size, rank, local_rank = (_number(environment, name) for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"))
    host = _number(environment, "GROUP_RANK", default=0)
    for name, value in (("RANK", rank), ("LOCAL_RANK", local_rank), ("GROUP_RANK", host)):
        if value >= size:
            raise ConfigurationError(f"{name} is {value}, but WORLD_SIZE is {size}", hint=_SET_BY_JOB)
    return Job(rank, size, local_rank, host)


def job_mrv_id(job: Job, environment: Mapping[str, str], mrv_id: str | None, folder: Path) -> str:
    """Return the id of a job's record: the same in every rank, and another for each launch and each attempt of it.

    A shell may launch one job after another. The record of one that is done is there before any rank of the next
    begins, so all of these pass over its id, and no rank ever sees the record of its own job.

    Args:
        job: The place of this process.
        environment: Its environment.
        mrv_id: The id that the user gave.
        folder: Where records are written.

    Raises:
        ConfigurationError: nothing is known that all ranks share, and no other launch has.
    """
    attempt = _number(environment, "TORCHELASTIC_RESTART_COUNT", default=0)
    suffix = f".attempt-{attempt}" if attempt else ""
    if mrv_id is not None:
        return f"{mrv_id}{suffix}"
    launch = _launch(job, environment)
    while True:
        name = "\n".join((*launch, str(next(_trackers))))
        derived = f"MRV-{uuid.uuid5(_NAMESPACE, name)}{suffix}"
        if not record_path(folder, derived).exists():
            return derived


def rank_mrv_id(mrv_id: str, rank: int) -> str:
    """Return the id of a rank's record."""
    return f"{mrv_id}.rank-{rank}"


def counts(local_rank: int, scope: Scope, component: Component) -> bool:
    """Tell whether a rank counts a component: a GPU's meter, and everything in scope `machine`, is the whole host's."""
    return local_rank == 0 or (scope == "process" and component is not Component.GPU)


def now_ms() -> datetime:
    """Return the local clock's time in UTC to the millisecond, which tells one rank's start from another's."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def detect_share(job: Job | None, scope: Scope) -> Detected:
    """Find the hardware that this process counts; see `mrv_core.mrv.meters.detect`."""
    local_rank = 0 if job is None else job.local_rank
    if not any(counts(local_rank, scope, component) for component in Component):
        return Detected(unmeasured=dict.fromkeys(Component, COUNTED_ELSEWHERE))
    found = meters.detect(scope)
    others = {component: COUNTED_ELSEWHERE for component in Component if not counts(local_rank, scope, component)}
    return Detected(
        meters=tuple(meter for meter in found.meters if meter.component not in others),
        tool_version=found.tool_version,
        settings=found.settings,
        unmeasured={**found.unmeasured, **others},
    )


def _launch(job: Job, environment: Mapping[str, str]) -> list[str]:
    """Name this launch."""
    known = [environment.get(name, "") for name in ("MASTER_ADDR", "MASTER_PORT")]
    run_id = environment.get("TORCHELASTIC_RUN_ID", "none")
    if _is_on_one_host(job, environment):
        known += _launcher(is_torchrun="TORCHELASTIC_RUN_ID" in environment)
    elif run_id != "none":
        known.append(run_id)
    else:
        raise ConfigurationError("the ranks of a job on several hosts do not know a common id", hint=_HINT)
    return known


def _is_on_one_host(job: Job, environment: Mapping[str, str]) -> bool:
    here = _number(environment, "LOCAL_WORLD_SIZE", default=0)
    return here == job.world_size if here else (job.host == 0 and job.rank == job.local_rank)


def _launcher(*, is_torchrun: bool) -> list[str]:
    """Name the parent process, whose children the ranks of a job on one host are, as no other process is ever named.

    Numbers of processes come again; together with when it started, in ticks since the machine did, they do not.
    Process 1 adopts whoever lost his own parent, so it is a launcher only where torchrun says so, in a container.
    """
    parent = os.getppid()
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        stat = Path(f"/proc/{parent}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        parent = 0
    if parent < 1 or (parent == 1 and not is_torchrun):
        raise ConfigurationError("nobody can tell which process launched this job", hint=_HINT)
    started = stat.rpartition(")")[2].split()[19]  # field 22 of proc_pid_stat(5); the name in field 2 may have anything
    return [boot, str(parent), started]


def _number(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    """Read a number from 0 on.

    Raises:
        ConfigurationError: it is none, or is not there and has no default.
    """
    text = environment.get(name)
    if text is None and default is not None:
        return default
    if text is None or not _NUMBER.fullmatch(text):
        said = "is not set" if text is None else f"is {text!r:.40}, not a number from 0 on"
        raise ConfigurationError(f"{name} {said}", hint=_SET_BY_JOB)
    return int(text)
