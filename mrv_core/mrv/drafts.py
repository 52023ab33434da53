# SPDX-License-Identifier: MIT
"""Drafts of records: what a training that was killed leaves, and the record that can still be made of it.

While a training runs, its record as far as it is known lies beside its samples. A process that ends without a word
(out of memory, SIGKILL, SIGTERM, a power cut) leaves both, and `recover` sums the samples up.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Callable, Hashable
from datetime import timedelta
from pathlib import Path
from typing import Final

from mrv_core.errors import RunStateError
from mrv_core.files import storage_error, write_atomic, write_new
from mrv_core.mrv import units
from mrv_core.mrv.record import (
    MAX_RECORD_BYTES,
    ComponentEnergy,
    Energy,
    MrvRecord,
    Status,
    parse_record,
    value_of,
)
from mrv_core.mrv.samples import SampleFile, energy_uwh, read_samples
from mrv_core.mrv.storage import read_record_file, samples_path

_logger = logging.getLogger(__name__)

KILLED: Final = "the process ended without a word"
_PAUSE_S: Final = 1.0
"""Shortest time between two drafts."""
_SHARE: Final = 1000
"""A draft that takes a while waits so many times as long for the next one, for 0.1 % of a core."""
_END: Final = ".draft"


def draft_path(record: Path) -> Path:
    """Return where the draft of a record is: not a `.json`, so that nobody takes it for the record."""
    return record.with_name(f"{record.name.removesuffix('.json')}{_END}")


def drafts_in(folder: Path) -> list[Path]:
    """Return the drafts in a folder, sorted."""
    return sorted(folder.glob(f"*{_END}"))


class Draft:
    """Keeps the draft of one record up to date. Never fails: a training does not end for it.

    Args:
        record: Where the record will be.
        state: Something that changes whenever the draft would.
        build: Makes the record as far as it is known.
    """

    def __init__(self, record: Path, state: Callable[[], Hashable], build: Callable[[], MrvRecord]) -> None:
        self._path = draft_path(record)
        self._state = state
        self._build = build
        self._written: Hashable = None
        self._due_s = 0.0

    def update(self) -> None:
        """Write it where it has changed, and the last one is some time ago."""
        begun = time.monotonic()
        if begun < self._due_s:
            return
        try:
            state = self._state()
            if state != self._written:
                data = self._build().to_bytes()
                if len(data) <= MAX_RECORD_BYTES:
                    write_atomic(self._path, data)
                self._written = state
        except Exception as error:  # of whatever kind: the samples matter more
            _logger.debug("writing %s: %s", self._path, error)
        ended = time.monotonic()
        self._due_s = ended + max(_PAUSE_S, _SHARE * (ended - begun))

    def discard(self) -> None:
        """Remove it: the record is there."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            _logger.debug("removing %s: %s", self._path, error)


def recover(draft: Path) -> tuple[MrvRecord, Path]:
    """Make the record of a training that was killed, out of its draft and its samples.

    Returns:
        The record, and where it is now.

    Raises:
        RunStateError: its process still runs, or the record is there.
        FormatError: the draft or the samples are damaged.
        StorageError: something cannot be read or written.
    """
    path = draft.with_name(f"{draft.name.removesuffix(_END)}.json")
    if path.exists():
        raise RunStateError(f"there is a record {path}", hint=f"remove {draft}")
    samples = samples_path(path)
    _finish(samples)
    record = sum_up(parse_record(read_record_file(draft), what=str(draft)), read_samples(samples))
    if not write_new(path, record.to_bytes()):
        raise RunStateError(f"there is a record {path}", hint=f"remove {draft}")
    draft.unlink(missing_ok=True)
    return record, path


def sum_up(draft: MrvRecord, file: SampleFile) -> MrvRecord:
    """Return the record that a draft and the samples make: what is known of the training until its last sign of life.

    Args:
        draft: The draft.
        file: All samples that were taken.
    """
    ends = [sample.end_ms for sample in file.samples[-1:]] + [epoch.end_ms for epoch in draft.epochs[-1:]]
    duration_ms = max(ends, default=0)
    components = tuple(_component(part, file) for part in draft.energy.components)
    total = units.total(part.energy_uwh for part in components)
    mass = units.co2e_mg(total, value_of(draft.emissions.factor), draft.emissions.pue_permille)
    start = draft.timestamps.start_time
    times = {"end_time": start + timedelta(seconds=duration_ms // 1000), "duration_ms": duration_ms}
    return draft.model_copy(
        update={
            "status": Status.INTERRUPTED,
            "interruption": KILLED,
            "timestamps": draft.timestamps.model_copy(update=times),
            "measurement": draft.measurement.model_copy(update={"gaps": file.gaps(duration_ms, {})}),
            "energy": Energy(total_uwh=total, components=components),
            "emissions": draft.emissions.model_copy(update={"co2e_mg": mass}),
            "epochs": tuple(
                epoch.model_copy(update={"energy_uwh": file.total_uwh(epoch.start_ms, epoch.end_ms)})
                for epoch in draft.epochs
            ),
            "samples": file.summary(),
        }
    )


def _component(part: ComponentEnergy, file: SampleFile) -> ComponentEnergy:
    if part.component not in file.components:
        return part
    energy = energy_uwh(file, part.component)
    if energy is None:
        return part.model_copy(
            update={"energy_uwh": None, "method": None, "source": "not measured: it could not be read"}
        )
    return part.model_copy(update={"energy_uwh": energy})


def _finish(samples: Path) -> None:
    """Cut off the line that was being written when the process ended.

    Raises:
        RunStateError: the process still runs.
        StorageError: the file is missing, or cannot be changed.
    """
    try:
        with samples.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            data = file.read()
            if not data.endswith(b"\n"):
                file.truncate(data.rfind(b"\n") + 1)
                os.fsync(file.fileno())
    except BlockingIOError:
        raise RunStateError(
            f"{samples} is still being written", hint="wait until the training and its workers have ended"
        ) from None
    except OSError as error:
        raise storage_error("finish", samples, error) from error
