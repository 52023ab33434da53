# SPDX-License-Identifier: MIT
"""Bundles of trees that this project never makes: every hash is right, and the tree is not of its fixed shape."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from bundles.mutations import sealed
from oracles import mth, path


@dataclass(frozen=True)
class Forgery:
    """What to write into the tree, honest where nothing else is said.

    Attributes:
        labels: Labels from the top branch down to the node.
        places: For each of them its index among its siblings, and the number of siblings.
        kind: Kind of the node.
        run_id, phase: What the root binds.
        top: Number of children of the root.
        written: The path name in the proof, where it is not the labels' own.
        own: Fields of the proof besides the steps; by default a digest.
        children: Size and root of the node, where it is a branch.
    """

    labels: tuple[str, ...] = ("training", "epochs", "7", "metrics")
    places: tuple[tuple[int, int], ...] = ((2, 3), (3, 4), (1, 3), (1, 3))
    kind: str = "array"
    run_id: str = "run-1"
    phase: str = "after_training"
    written: str | None = None
    own: dict[str, Any] = field(default_factory=lambda: {"digest": "sha256:" + "11" * 32})
    children: tuple[int, bytes] | None = None


def forge(forgery: Forgery) -> bytes:
    """Return a bundle without receipts that leads to such a tree's root."""
    current = _node(forgery)
    steps = []
    parents = ["", *forgery.labels[:-1]]
    for depth in reversed(range(len(forgery.labels))):
        index, size = forgery.places[depth]
        siblings = [sha256(f"{depth} {place}".encode()).digest() for place in range(size)]
        siblings[index] = current
        hexes = [node.hex() for node in path(index, siblings)]
        steps.append({"label": parents[depth], "index": index, "size": size, "path": hexes})
        if depth:
            head = b"mrv1/branch\x00" + _lp(parents[depth]) + size.to_bytes(8, "big")
            current = sha256(head + mth(siblings)).digest()
    size = steps[-1]["size"]
    head = b"mrv1/run\x00" + _lp(forgery.run_id) + _lp(forgery.phase) + size.to_bytes(8, "big")
    root = f"sha256:{sha256(head + mth(siblings)).hexdigest()}"
    names = {"run_id": forgery.run_id, "phase": forgery.phase, "root": root}
    written = "/".join(forgery.labels) if forgery.written is None else forgery.written
    proof = {"format": "mrv-proof/1", **names, "path": written, "kind": forgery.kind, "steps": steps, **forgery.own}
    top = [*(node.hex() for node in siblings), "00" * 32, "00" * 32]
    branches = dict(zip(("data", "model", "training"), top, strict=False))
    return sealed(
        {"format": "mrv-bundle/1", **names, "branches": branches, "proof": proof, "batch": None, "receipts": {}}
    )


def _node(forgery: Forgery) -> bytes:
    label = _lp(forgery.labels[-1])
    if forgery.children is not None:
        size, root = forgery.children
        return sha256(b"mrv1/branch\x00" + label + size.to_bytes(8, "big") + root).digest()
    if forgery.kind == "absent":
        return sha256(b"mrv1/absent\x00" + label).digest()
    algorithm, _, digits = str(forgery.own["digest"]).partition(":")
    return sha256(b"mrv1/leaf\x00" + label + _lp(forgery.kind) + _lp(algorithm) + bytes.fromhex(digits)).digest()


def _lp(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(8, "big") + data
