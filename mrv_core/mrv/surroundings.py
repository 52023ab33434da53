# SPDX-License-Identifier: MIT
"""Code, packages and hardware of a training, found out beside it: asking git and the packages takes its time."""

from __future__ import annotations

import logging
import threading
from typing import Final

from mrv_core.canonical import JsonValue
from mrv_core.environment import describe_environment
from mrv_core.mrv.hardware import find_hardware
from mrv_core.mrv.record import Hardware

_logger = logging.getLogger(__name__)

_TIMEOUT_S: Final = 1.0
"""Longest wait at the end for what should have been found out at the beginning."""


class Surroundings:
    """Finds them out in a thread of its own."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._environment: dict[str, JsonValue] = {}
        self._hardware = Hardware(cpu_type=None, cpu_cores=None, gpu_types=(), ram_bytes=None)

    def start(self) -> None:
        """Begin, without waiting."""
        self._thread = threading.Thread(target=self._run, name="mrv-environment", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no further thread is allowed
            self._thread = None

    def result(self) -> tuple[dict[str, JsonValue], Hardware]:
        """Return environment and hardware: what is known by then, after a second at most."""
        if self._thread is not None:
            self._thread.join(_TIMEOUT_S)
        return self.so_far()

    def so_far(self) -> tuple[dict[str, JsonValue], Hardware]:
        """Return what is known now."""
        return self._environment, self._hardware

    def _run(self) -> None:
        try:
            self._hardware = find_hardware()
            self._environment = describe_environment()
        except Exception:  # whatever it is: the record is without it, and the training never learns of it
            _logger.debug("describing the surroundings", exc_info=True)
