# SPDX-License-Identifier: MIT
"""The tree of a run as linked DAG-CBOR blocks (docs/networks/ipfs.md, "A published tree", is the byte-exact format).

Every node is a block. A branch links to its children under their labels, so an IPLD path is the node's path name, and
holds their node hashes in order, so one child can be proven without the others. A branch with many children links to
*parts*, each a complete subtree of the RFC 9162 tree over the children, so that no block is larger than 1 MiB.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from mrv_backends_ipfs.cbor import Value, encode
from mrv_backends_ipfs.cid import DAG_CBOR, Cid
from mrv_backends_ipfs.evidence import MAX_BLOCK_BYTES
from mrv_core.canonical import canonical_bytes
from mrv_core.errors import FormatError
from mrv_core.hashing import Digest, HashFactory
from mrv_core.merkle import tree_root
from mrv_core.provenance_tree import JSON_KIND, MerkleNode, MLProvenanceMerkleTree, TreeState, escape_label

FORMAT: Final = "mrv-tree/1"
SELF: Final = "~"
"""Key under which a block with links says what it is itself. No label is written like that: `~` becomes `~0`."""
CHILDREN_PER_BLOCK: Final = 1024
"""Most children that one block links to."""

Child: TypeAlias = "tuple[MerkleNode, Cid]"


@dataclass(frozen=True, slots=True)
class PublishedTree:
    """What was published.

    Attributes:
        cid: CID of the block of the root; with a path name behind it, of any node.
        root: The run's root that it leads to.
        blocks: Number of blocks.
        size: Their bytes together.
    """

    cid: Cid
    root: Digest
    blocks: int
    size: int


def blocks_of_tree(
    tree: MLProvenanceMerkleTree, state: TreeState | str, *, values: bool
) -> tuple[PublishedTree, dict[Cid, bytes]]:
    """Encode the tree of a run.

    Args:
        tree: The run's tree.
        state: Which of its roots, or the name of a phase for its present state.
        values: Whether leaves of kind `json` carry their value.

    Returns:
        What it is, and CID to block, parents before their children.

    Raises:
        FormatError: the tree never was in that state, or something does not fit into a block.
    """
    state = tree.state(state) if isinstance(state, str) else state
    blocks = _Blocks()
    finished: list[Child] = []  # nodes whose parent's turn has not come, the first sibling on top
    for _, node in reversed(list(tree.walk(state))):
        children = [finished.pop() for _ in node.children]
        finished.append((node, _add_node(blocks, node, children, values)))
    root = tree.root(state)
    cid = blocks.add(_run(tree.run_id, state.phase, root, finished[::-1]), "the root")
    found = dict(reversed(blocks.items.items()))
    return PublishedTree(cid, root, len(found), sum(map(len, found.values()))), found


class _Blocks:
    """Blocks in the order in which they were made; equal ones are one."""

    def __init__(self) -> None:
        self.items: dict[Cid, bytes] = {}

    def add(self, value: Value, what: str) -> Cid:
        block = encode(value)
        if len(block) > MAX_BLOCK_BYTES:
            raise FormatError(
                f"{what[:200]}: {len(block)} bytes do not fit into one block of {MAX_BLOCK_BYTES}",
                hint="publish the tree without values",
            )
        cid = Cid.of(block, DAG_CBOR)
        self.items[cid] = block
        return cid


def _add_node(blocks: _Blocks, node: MerkleNode, children: Sequence[Child], values: bool) -> Cid:
    if node.kind != "branch":
        return blocks.add(_leaf(node, values), f"the value of {node.label!r}")
    if len(children) <= CHILDREN_PER_BLOCK and _fits(children):
        own: dict[str, Value] = {"kind": "branch", "label": node.label, "size": len(children)}
        return blocks.add(_linking({**own, "hashes": _hashes(children)}, children), node.label)
    return _add_wide_branch(blocks, node, children)


def _leaf(node: MerkleNode, values: bool) -> Value:
    block: dict[str, Value] = {"kind": node.kind, "label": node.label}
    if node.digest is None:
        return block
    block["digest"] = str(node.digest)
    if values and node.kind == JSON_KIND:
        text = canonical_bytes(node.value)
        if HashFactory.digest(text, node.digest.algorithm) != node.digest:
            raise FormatError(f"the value of {node.label[:200]!r} is not the one that its digest was made of")
        block["json"] = text.decode("utf-8")
    return block


def _run(run_id: str, phase: str, root: Digest, top: Sequence[Child]) -> Value:
    own: dict[str, Value] = {"format": FORMAT, "kind": "run", "run_id": run_id, "phase": phase, "root": str(root)}
    return _linking({**own, "size": len(top), "hashes": _hashes(top)}, top)


def _add_wide_branch(blocks: _Blocks, node: MerkleNode, children: Sequence[Child]) -> Cid:
    width = _width(children)
    parts = [children[start : start + width] for start in range(0, len(children), width)]
    links: dict[str, Value] = {
        str(number): blocks.add(_linking({"kind": "part", "hashes": _hashes(part)}, part), node.label)
        for number, part in enumerate(parts)
    }
    own: dict[str, Value] = {
        "kind": "branch",
        "label": node.label,
        "size": len(children),
        "width": width,
        "parts": b"".join(tree_root(child.hash for child, _ in part) for part in parts),
    }
    return blocks.add({SELF: own, **links}, node.label)


def _linking(own: Mapping[str, Value], children: Iterable[Child]) -> Value:
    return {SELF: dict(own), **{escape_label(node.label): cid for node, cid in children}}


def _hashes(children: Iterable[Child]) -> bytes:
    return b"".join(node.hash for node, _ in children)


def _width(children: Sequence[Child]) -> int:
    """Return the largest power of two of children that fit into each part."""
    width = CHILDREN_PER_BLOCK
    while not all(_fits(children[start : start + width]) for start in range(0, len(children), width)):
        width //= 2
    return width


def _fits(children: Iterable[Child]) -> bool:
    # Key with its head, link, hash; and room for what the block says of itself, a label of at most 4096 bytes included.
    return 8192 + sum(len(escape_label(node.label).encode()) + 96 for node, _ in children) <= MAX_BLOCK_BYTES
