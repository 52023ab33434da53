# SPDX-License-Identifier: MIT
"""Writes arrays in the safetensors format, which needs no package: a header in JSON, then the bytes back to back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from training_data import Array

from mrv_core.files import write_atomic

_NAMES: Final = {"float32": "F32", "float64": "F64"}
"""The dtypes that weights have here; the format has more."""


def save_safetensors(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write named arrays of float32 or float64 to a file.

    Raises:
        StorageError: the file cannot be written.
    """
    header: dict[str, object] = {}
    parts: list[bytes] = []
    end = 0
    for name, array in arrays.items():
        data = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
        start, end = end, end + len(data)
        header[name] = {"dtype": _NAMES[array.dtype.name], "shape": list(array.shape), "data_offsets": [start, end]}
        parts.append(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the format aligns the data to eight bytes
    write_atomic(path, len(text).to_bytes(8, "little") + text + b"".join(parts))
