# SPDX-License-Identifier: MIT
"""Digests of a NumPy array and of a PyTorch tensor on the same memory, in a process of their own."""

from functools import cache
from typing import Any

import numpy as np
from blake3 import blake3
from protocol import serve

from mrv_core.digests import content_node

COLUMNS = 1024
arrays: dict[str, Any] = {}


def make(size: int, seed: int) -> dict[str, int]:
    """Fill the array; rows of 1024 float32, any bits."""
    stream = blake3(str(seed).encode())
    array: Any = np.empty((size // (4 * COLUMNS), COLUMNS), np.float32)
    rows = 16 * 1024
    for start in range(0, len(array), rows):
        part = array[start : start + rows]
        memoryview(part).cast("B")[:] = stream.digest(part.nbytes, seek=4 * COLUMNS * start)
    half = array[: len(array) // 2]
    arrays.update(array=array, sliced=half[:, 1:], transposed=half.T)
    return {name: view.nbytes for name, view in arrays.items()}


@cache
def tensor() -> Any:
    """Return the array as a tensor, without a copy."""
    import torch

    return torch.from_numpy(arrays["array"])


def ours(name: str) -> str:
    """Return the digest of an array or of the tensor."""
    content = tensor() if name == "tensor" else arrays[name]
    return content_node(content, progress=False).hash.hex()


def warm_up(name: str) -> None:
    """Import and allocate what is only needed once."""
    content = tensor() if name == "tensor" else arrays[name]
    content_node(content[:2, :2], progress=False)


def buffer(name: str) -> None:
    """Hash the bare bytes where they lie; without dtype and shape, so the digest is another one."""
    blake3(max_threads=blake3.AUTO).update(memoryview(arrays[name]).cast("B")).digest()


def copied(name: str) -> None:
    """Copy a view into order as a whole, and hash that."""
    in_order: Any = np.ascontiguousarray(arrays[name])
    blake3(max_threads=blake3.AUTO).update(memoryview(in_order).cast("B")).digest()


serve({"make": make, "ours": ours, "warm_up": warm_up, "buffer": buffer, "copied": copied})
