# SPDX-License-Identifier: MIT
"""A thread that reads the meters at an interval and writes each reading down at once.

Whatever fails in it (no CodeCarbon, no sensor, a meter that hangs, a full disk) is remembered as the reason why
something was not measured; the training never learns of it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from mrv_core.errors import MrvError
from mrv_core.mrv.meters import THREAD_NAME, Detected, Meter
from mrv_core.mrv.record import Component
from mrv_core.mrv.samples import Sample, SampleWriter

_logger = logging.getLogger(__name__)

STOP_TIMEOUT_S: Final = 1.0
"""Longest wait for the last reading: a meter that hangs costs its readings, not the training's time."""
_NS_PER_MS: Final = 1_000_000


class Sampler:
    """Measures until it is stopped. Belongs to one tracker.

    Args:
        detect: Finds the hardware; takes its time, in the thread.
        open_file: Makes the writer once it is known what is measured.
        interval_s: Between two readings.
        note: Called in the thread once it is known what is measured, and after each reading; raises nothing.
    """

    def __init__(
        self,
        detect: Callable[[], Detected],
        open_file: Callable[[Iterable[Component]], SampleWriter],
        interval_s: float,
        note: Callable[[], None],
    ) -> None:
        self._detect = detect
        self._open_file = open_file
        self._interval_s = interval_s
        self._note = note
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._start_ns = 0
        self._last_ms = 0
        self._given_up = False
        self.detected = Detected()
        self.reasons: dict[Component, str] = {}
        """Why a component was not read, the first time that it was not."""
        self.problem: str | None = None
        """Why nothing, or nothing more, was measured; None where all went well."""
        self.energies_uj: dict[Component, int] = {}
        """What the readings so far add up to; the same as the integral of the file."""

    def start(self, start_ns: int) -> None:
        """Begin, without waiting for anything.

        Args:
            start_ns: Start of the run, of the monotonic clock.
        """
        self._start_ns = start_ns
        self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # no further thread is allowed
            self._thread, self.problem = None, str(error)

    def stop(self) -> None:
        """Take a last reading and end; return after `STOP_TIMEOUT_S` in any case."""
        self._stopping.set()
        if self._thread is None:
            return
        self._thread.join(STOP_TIMEOUT_S)
        if self._thread.is_alive():
            self._given_up = True  # nothing more is written: the record commits to what is there
            self.problem = "the hardware did not answer in time"

    def _run(self) -> None:
        try:
            self.detected = self._detect()
            if not self.detected.meters:
                self.problem = "; ".join(f"{name}: {why}" for name, why in self.detected.unmeasured.items())
                return
            if self._given_up:
                return
            writer = self._open_file(meter.component for meter in self.detected.meters)
            try:
                self._measure(self.detected.meters, writer)
            finally:
                self._stopping.wait()  # an open file says that the training still runs
                writer.close()
        except MrvError as error:
            self.problem = error.message
        except Exception as error:  # a library's: no failure of a meter may end the training
            self.problem = _reason(error)
            _logger.debug("measuring power", exc_info=True)

    def _measure(self, meters: tuple[Meter, ...], writer: SampleWriter) -> None:
        self._note()
        for meter in meters:
            meter.start()
        self._last_ms = self._now_ms()
        while not self._stopping.wait(self._interval_s):
            self._sample(meters, writer)
        self._sample(meters, writer)

    def _sample(self, meters: tuple[Meter, ...], writer: SampleWriter) -> None:
        now = self._now_ms()
        span = now - self._last_ms
        if span < 1:
            return
        powers = tuple(self._read(meter, span / 1000) for meter in meters)
        if self._given_up:
            return
        writer.append(Sample(now, span, powers))
        self._last_ms = now
        for meter, power in zip(meters, powers, strict=True):
            if power is not None:
                self.energies_uj[meter.component] = self.energies_uj.get(meter.component, 0) + power * span
        self._note()

    def _read(self, meter: Meter, elapsed_s: float) -> int | None:
        try:
            return meter.read(elapsed_s)
        except Exception as error:
            self.reasons.setdefault(meter.component, _reason(error))
            return None

    def _now_ms(self) -> int:
        return (time.monotonic_ns() - self._start_ns) // _NS_PER_MS


def _reason(error: Exception) -> str:
    """Return what went wrong as a record may say it: without the file's name, which is a folder of the machine."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{type(error).__name__}: {said}"[:500].encode("utf-8", "backslashreplace").decode()
