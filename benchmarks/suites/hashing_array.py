# SPDX-License-Identifier: MIT
"""Arrays and tensors against BLAKE3 on their bare bytes; views that are out of order against a copy put in order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from importlib.util import find_spec

from benchmarks.bench import GIB, MIB, Bench, require_equal
from benchmarks.rows import Goal, Row
from benchmarks.worker import Worker, extra_memory


def rows(bench: Bench) -> Iterator[Row]:
    """Measure an array, a tensor on the same memory, and two views that are not contiguous."""
    for name in ("array", "tensor", "sliced", "transposed"):
        if name == "tensor" and find_spec("torch") is None:
            yield Row("tensor", "x", goal=Goal("≥", 0.9), problem="not measured: pip install torch")
            continue
        # A process each, because one that has hashed a large array may still hold the memory for the next.
        with Worker("arrays") as worker:
            yield from _content(bench, worker, name)


def _content(bench: Bench, worker: Worker, name: str) -> Iterator[Row]:
    sizes: dict[str, int] = worker.call("make", bench.sizes.array_bytes, bench.seed).value
    size = sizes.get(name, sizes["array"])
    in_order = name in ("array", "tensor")
    title = f"{name} of {size / GIB:.3g} GiB" if in_order else f"{name} view of {size / GIB:.3g} GiB"

    def memory() -> tuple[list[float], str]:
        worker.call("warm_up", name)
        with extra_memory(worker.pid) as extra:
            first = worker.call("ours", name).value
        require_equal(f"digest of the {name}, the second time", first, worker.call("ours", name).value)
        return [extra[0] / MIB], "anonymous memory, sampled every millisecond"

    yield bench.measure(f"{title}, extra memory", "MiB", Goal("<", 64), memory)
    if in_order:
        what, peer, goal = "against blake3(AUTO) on its buffer", worker.measure("buffer", "array"), Goal("≥", 0.9)
    else:
        what, peer, goal = "against blake3(AUTO) on a copy in order", worker.measure("copied", name), None
    rounds = bench.sizes.many if in_order else bench.sizes.few
    yield bench.compare(
        f"{title}, {what}", worker.measure("ours", name), nullcontext(peer), goal, rounds=rounds, size=size
    )
