# SPDX-License-Identifier: MIT
"""What the machine is. Asks the libraries that are there, and imports none that the training has not."""

from __future__ import annotations

from typing import Any

from mrv_core.environment import describe_hardware
from mrv_core.mrv.record import Hardware


def get_hardware_info() -> dict[str, Any]:
    """Return the hardware as schema 0.1 names it: cpu_type, cpu_cores, gpu_type, num_gpus, ram_gb."""
    hardware = find_hardware()
    return {
        "cpu_type": hardware.cpu_type or "Unknown",
        "cpu_cores": hardware.cpu_cores,
        "gpu_type": hardware.gpu_types[0] if hardware.gpu_types else "None",
        "num_gpus": len(hardware.gpu_types),
        "ram_gb": round((hardware.ram_bytes or 0) / 2**30, 2),
    }


def find_hardware() -> Hardware:
    """Return the hardware as a record has it; GPUs are asked of NVML, where its library is installed."""
    found = describe_hardware()
    return Hardware(
        cpu_type=found["cpu_type"],
        cpu_cores=found["cpu_cores"],
        gpu_types=_gpu_types() or tuple(found["gpu_types"] or ()),
        ram_bytes=found["ram_bytes"],
    )


def _gpu_types() -> tuple[str, ...]:
    try:
        import pynvml
    except ImportError:
        return ()
    try:
        pynvml.nvmlInit()
        try:
            handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
            return tuple(str(pynvml.nvmlDeviceGetName(handle)) for handle in handles)
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError:  # no NVIDIA driver here
        return ()
