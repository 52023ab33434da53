# SPDX-License-Identifier: MIT
"""The log tree against pymerkle, which builds the same tree; and the memory it keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from benchmarks.bench import Bench, require_equal
from benchmarks.race import Measure
from benchmarks.rows import Goal, Row, Unavailable
from benchmarks.worker import Worker, anonymous_memory


def rows(bench: Bench) -> Iterator[Row]:
    """Measure a tree of many leaves."""
    leaves, calls = bench.sizes.leaves, bench.sizes.calls
    title = f"{leaves:,} leaves"
    yield bench.measure(f"{title}, kept for a leaf, with proofs", "B", Goal("≤", 200), lambda: _tree_memory(leaves))
    frontier = "frontier without proofs, kept for each doubling"
    yield bench.measure(frontier, "B", Goal("≤", 200), lambda: _frontier_memory(leaves))
    with Worker("trees") as trees:
        trees.call("make", leaves, calls, bench.seed)
        yield _race(bench, trees, f"{title}, build and root", "build", Goal("≥", 10), bench.sizes.few, leaves)
        if find_spec("pymerkle"):
            root, *others = trees.call("roots").value
            require_equal("roots", [root, root], others)
        for what, action, goal in (
            (f"{title}, inclusion proof of a random leaf", "prove", Goal("≥", 15)),
            (f"{title}, verification of such a proof", "verify", Goal("≥", 2)),
            (f"{title}, append one and take the root", "append", Goal(">", 1)),
            ("the same with the frontier", "frontier_append", Goal(">", 1)),
        ):
            yield _race(bench, trees, what, action, goal, bench.sizes.many, calls)


def _race(bench: Bench, trees: Worker, what: str, action: str, goal: Goal, rounds: int, count: int) -> Row:
    peer = _pymerkle(trees, f"peer_{action.removeprefix('frontier_')}")
    ours = _timed(trees, action)
    return bench.compare(f"{what}, against pymerkle", ours, peer, goal, rounds=rounds, count=count)


@contextmanager
def _pymerkle(trees: Worker, action: str) -> Iterator[Measure]:
    if find_spec("pymerkle") is None:
        raise Unavailable("peer not installed: pip install pymerkle")
    yield _timed(trees, action)


def _timed(trees: Worker, action: str) -> Measure:
    return lambda: float(trees.call(action).value)


def _tree_memory(leaves: int) -> tuple[list[float], str]:
    with Worker("trees") as fresh:
        anonymous_memory(fresh.pid)
        return [fresh.call("tree_memory", leaves).value / leaves], "anonymous memory; entries themselves not counted"


def _frontier_memory(leaves: int) -> tuple[list[float], str]:
    depth = leaves.bit_length()
    with Worker("trees") as fresh:
        # One leaf less than a power of two is the worst case: no two subtrees are of one size.
        small, large = (fresh.call("frontier_memory", 2**height - 1).value for height in (depth // 2, depth))
    details = f"{small} B at {2 ** (depth // 2) - 1:,} leaves, {large} B at {2**depth - 1:,}"
    return [large / depth], details
