# SPDX-License-Identifier: MIT
"""What reads the power of the hardware: CodeCarbon's models and meters, one a component.

CodeCarbon knows how to find a meter (RAPL, NVML, AMD SMI, powermetrics, …) or a model for each processor. Its tracker
is not run: it has threads, files and look-ups of its own, and rounds everything into one number. Its hardware is found
by its tracker, and read by our sampler, which keeps every reading.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final, Literal, Protocol

from mrv_core.errors import BackendUnavailableError, ConfigurationError
from mrv_core.mrv.record import Component, Method

TOOL: Final = "CodeCarbon"
_MW_S_PER_KWH: Final = 3_600_000_000
_MEASURED_MODES: Final = {
    "intel_rapl": "Intel RAPL",
    "windows_emi": "Windows Energy Meter Interface",
    "intel_power_gadget": "Intel Power Gadget",
}
_SETTINGS: Final = (
    "force_cpu_power",
    "force_ram_power",
    "force_mode_cpu_load",
    "gpu_ids",
    "rapl_include_dram",
    "rapl_prefer_psys",
)
"""CodeCarbon's settings that change what its hardware reads; a `.codecarbon.config` or the environment may set them."""
THREAD_NAME: Final = "mrv-power"
"""Name of the threads that read meters, whose messages nobody is to see."""
_lock: Final = threading.Lock()
_silencing = 0
_before: tuple[bool, int, list[logging.Handler], bool] = (False, 0, [], True)


class Meter(Protocol):
    """One component's power.

    Attributes:
        component, method, source, limit_mw: See `mrv_core.mrv.record.ComponentEnergy`.
    """

    component: Component
    method: Method
    source: str
    limit_mw: int | None

    def start(self) -> None:
        """Begin: the first reading is about the time from here on."""

    def read(self, elapsed_s: float) -> int:
        """Return the mean power in mW since the last reading, which was `elapsed_s` seconds ago.

        Raises:
            BackendUnavailableError: it gave no power.
        """


@dataclass(frozen=True, slots=True)
class Detected:
    """The hardware that was found.

    Attributes:
        meters: At most one a component.
        tool_version: CodeCarbon's.
        settings: Its settings that change what is read, where somebody set them.
        unmeasured: Components without a meter, and why.
    """

    meters: tuple[Meter, ...] = ()
    tool_version: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    unmeasured: Mapping[Component, str] = field(default_factory=dict)


class CodeCarbonMeter:
    """A part of the hardware as CodeCarbon knows it.

    Args:
        part: Its object.
        component, method, source, limit_mw: See `Meter`.
    """

    def __init__(self, part: Any, component: Component, method: Method, source: str, limit_mw: int | None) -> None:
        self._part = part
        self.component = component
        self.method = method
        self.source = source
        self.limit_mw = limit_mw

    def start(self) -> None:
        """Begin; see `Meter`."""
        self._part.start()

    def read(self, elapsed_s: float) -> int:
        """Read; see `Meter`."""
        _power, energy = self._part.measure_power_and_energy(elapsed_s)
        power_mw = float(energy.kWh) * _MW_S_PER_KWH / elapsed_s
        if not math.isfinite(power_mw) or power_mw < 0:
            raise BackendUnavailableError(f"{self.source} gave {power_mw} mW")
        return round(power_mw)


def detect(scope: Literal["machine", "process"]) -> Detected:
    """Find the hardware. Takes a second or two the first time in a process, and asks no network.

    Raises:
        ConfigurationError: CodeCarbon is not installed.
    """
    try:
        with _silenced():
            from codecarbon import EmissionsTracker
            from codecarbon.core.config import get_hierarchical_config

            found = EmissionsTracker(
                tracking_mode=scope,
                output_methods=[],
                allow_multiple_runs=True,
                log_level="critical",
            )
            hardware = found.get_detected_hardware()
            configured = get_hierarchical_config()
            parts = tuple(found._hardware)
    except ImportError as error:
        raise ConfigurationError(
            f"energy is measured with CodeCarbon, which cannot be imported: {type(error).__name__} of {error.name}",
            hint="install the extra: pip install 'mrv-provenance[carbon]'",
        ) from error
    meters: dict[Component, Meter] = {}
    for part in parts:
        meter = _meter_of(part, hardware, scope)
        meters.setdefault(meter.component, meter)
    unmeasured = {component: "none was found" for component in Component if component not in meters}
    return Detected(
        meters=tuple(meters[component] for component in Component if component in meters),
        tool_version=_version(),
        settings={name: str(configured[name]) for name in _SETTINGS if name in configured} | _visible(meters),
        unmeasured=unmeasured,
    )


def _meter_of(part: Any, hardware: Mapping[str, Any], scope: str) -> Meter:
    kind = type(part).__name__
    if kind == "RAM":
        forced = getattr(part, "_force_ram_power", None) is not None
        method = Method.CONSTANT if forced or scope == "machine" else Method.MODELLED
        return CodeCarbonMeter(part, Component.RAM, method, "power by size of the memory", None)
    if kind == "GPU":
        limits = [device.get("power_limit") for device in part.devices.get_gpu_static_info()]
        limit = round(sum(limits)) if limits and all(isinstance(each, int | float) for each in limits) else None
        return CodeCarbonMeter(part, Component.GPU, Method.MEASURED, str(hardware.get("gpu_model") or "GPU"), limit)
    if kind == "CPU":
        mode = part._mode
        if mode in _MEASURED_MODES:
            return CodeCarbonMeter(part, Component.CPU, Method.MEASURED, _MEASURED_MODES[mode], None)
        generic = " (a generic one)" if getattr(part, "_is_generic_tdp", False) else ""
        limit_mw = round(float(part._tdp) * 1000)
        source = f"thermal design power {part._tdp} W{generic} of {part.get_model()}"
        if mode == "cpu_load":
            return CodeCarbonMeter(part, Component.CPU, Method.MODELLED, f"{source} and load", limit_mw)
        return CodeCarbonMeter(part, Component.CPU, Method.CONSTANT, source, limit_mw)
    component = Component(str(part.chip_part).lower())
    return CodeCarbonMeter(part, component, Method.MEASURED, kind, None)


@contextmanager
def _silenced() -> Iterator[None]:
    """Keep CodeCarbon's messages out of the user's terminal while it looks, and its logger as it was afterwards.

    Its constructor sets the level and the handlers of a logger that others may use. No lock is held meanwhile: what
    hangs here must not hold up another tracker.
    """
    global _silencing, _before
    logger = logging.getLogger("codecarbon")
    with _lock:
        if _silencing == 0:
            _before = logger.disabled, logger.level, logger.handlers[:], logger.propagate
        _silencing += 1
        logger.disabled = True
    try:
        yield
    finally:
        with _lock:
            _silencing -= 1
            if _silencing == 0:
                logger.disabled, logger.level, logger.handlers[:], logger.propagate = _before
        if _is_not_of_a_reading not in logger.filters:
            logger.addFilter(_is_not_of_a_reading)


def _is_not_of_a_reading(record: logging.LogRecord) -> bool:
    return record.threadName != THREAD_NAME


def _visible(meters: Mapping[Component, Meter]) -> dict[str, str]:
    """Return which GPUs this process sees, where not all: CodeCarbon reads no others."""
    names = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES") if Component.GPU in meters else ()
    return {name: os.environ[name] for name in names if os.environ.get(name)}


def _version() -> str | None:
    try:
        return version("codecarbon")
    except PackageNotFoundError:
        return None
