# SPDX-License-Identifier: MIT
"""Our log tree and pymerkle's over the same entries, in a process of their own. Timed actions return seconds.

They time themselves, because neither what they prepare nor freeing millions of hashes afterwards is to be counted.
"""

import gc
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from protocol import serve

from mrv_core.merkle import Frontier, LogTree, verify_inclusion

state: dict[str, Any] = {}


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds of a call, garbage collected before, and its result."""
    gc.collect()
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def make(leaves: int, calls: int, seed: int) -> None:
    """Make the entries, and say how many calls are timed together."""
    state.update(entries=[index.to_bytes(8, "big") for index in range(leaves)], calls=calls, leaves=leaves)
    state.update(random=Random(seed), peer_random=Random(seed))  # noqa: S311 - a sample, not a secret
    frontier = state["frontier"] = Frontier()
    for entry in state["entries"]:
        frontier.append(entry)


def build() -> float:
    """Build our tree and take its root."""

    def work() -> Any:
        tree = LogTree(state["entries"])
        return tree, tree.root()

    state.pop("tree", None)
    seconds, (state["tree"], state["root"]) = timed(work)
    return seconds


def peer_build() -> float:
    """Build pymerkle's tree and take its root."""
    from pymerkle import InmemoryTree

    def work() -> Any:
        tree = InmemoryTree()
        tree.append_entries(state["entries"])
        return tree, tree.get_root()

    state.pop("peer", None)
    seconds, (state["peer"], state["peer_root"]) = timed(work)
    return seconds


def roots() -> list[str]:
    """Return the roots of the two trees and the frontier."""
    return [root.hex() for root in (state["root"], state["peer_root"], state["frontier"].root())]


def prove() -> float:
    """Make inclusion proofs of random leaves."""
    indices = state["random"].sample(range(state["leaves"]), state["calls"])
    proof = state["tree"].inclusion_proof
    seconds, proofs = timed(lambda: [proof(index) for index in indices])
    state["proofs"] = [(state["tree"].leaf(index), index, path) for index, path in zip(indices, proofs, strict=True)]
    return seconds


def peer_prove() -> float:
    """Make pymerkle's inclusion proofs of the same leaves; it counts them from one."""
    indices = state["peer_random"].sample(range(state["leaves"]), state["calls"])
    proof = state["peer"].prove_inclusion
    seconds, proofs = timed(lambda: [proof(index + 1) for index in indices])
    state["peer_proofs"] = [(state["peer"].get_leaf(i + 1), path) for i, path in zip(indices, proofs, strict=True)]
    return seconds


def verify() -> float:
    """Verify the proofs made last."""
    size, root = state["leaves"], state["root"]

    def work() -> None:
        for leaf, index, path in state["proofs"]:
            verify_inclusion(leaf, index, size, path, root)

    return timed(work)[0]


def peer_verify() -> float:
    """Verify pymerkle's proofs made last."""
    from pymerkle import verify_inclusion as verify_peers

    root = state["peer_root"]

    def work() -> None:
        for leaf, proof in state["peer_proofs"]:
            verify_peers(leaf, root, proof)

    return timed(work)[0]


def append() -> float:
    """Append to our tree, one entry at a time, taking the root after each."""
    return timed(lambda: _append(state["tree"].append, state["tree"].root))[0]


def frontier_append() -> float:
    """Append to the frontier, one entry at a time, taking the root after each."""
    return timed(lambda: _append(state["frontier"].append, state["frontier"].root))[0]


def peer_append() -> float:
    """Append to pymerkle's tree, one entry at a time, taking the root after each."""
    return timed(lambda: _append(state["peer"].append_entry, state["peer"].get_root))[0]


def _append(add: Callable[[bytes], int], root: Callable[[], bytes]) -> None:
    for entry in state["entries"][: state["calls"]]:
        add(entry)
        root()


def tree_memory(leaves: int) -> int:
    """Return the bytes of anonymous memory that a new tree keeps, its entries not counted."""
    before = _anonymous()
    state["tree"] = LogTree(index.to_bytes(8, "big") for index in range(leaves))
    gc.collect()
    return _anonymous() - before


def frontier_memory(leaves: int) -> int:
    """Return the bytes of the objects that a new frontier keeps."""
    tracemalloc.start()
    frontier = Frontier()
    for index in range(leaves):
        frontier.append(index.to_bytes(8, "big"))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size


def _anonymous() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


TIMED = (build, peer_build, prove, peer_prove, verify, peer_verify, append, frontier_append, peer_append)
serve({action.__name__: action for action in (make, roots, tree_memory, frontier_memory, *TIMED)})
