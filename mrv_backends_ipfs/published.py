# SPDX-License-Identifier: MIT
"""Reading one node of a published tree: every block is hashed, and the way to the root is that of a node proof."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from mrv_backends_ipfs.cbor import encode
from mrv_backends_ipfs.cid import Cid
from mrv_backends_ipfs.evidence import MAX_BLOCK_BYTES, check_block
from mrv_backends_ipfs.keepers import Read
from mrv_backends_ipfs.nodes import Branch, Group, Leaf, Node, Run, parse_group, parse_node, parse_run
from mrv_core.errors import FormatError, RootMismatchError, VerificationError
from mrv_core.hashing import Digest
from mrv_core.merkle import LogTree
from mrv_core.provenance_tree import (
    MAX_PROOF_STEPS,
    NodeProof,
    ProofStep,
    unescape_label,
    verify_node_proof,
)

_T = TypeVar("_T")
_SHOWN_NAMES: Final = 8


@dataclass(frozen=True, slots=True)
class PublishedNode:
    """A node of a published tree, and the proof that it is in the run.

    Attributes:
        cid: CID of its block.
        root: The run's root that the proof leads to.
        proof: The node with its way to the root; run id, phase, kind and digest are in it.
        json: The canonical JSON of a leaf of kind `json`, where it was published; its digest is the leaf's.
    """

    cid: Cid
    root: Digest
    proof: NodeProof
    json: str | None


def read_node(read: Read, cid: Cid, path: str, root: Digest | None) -> PublishedNode:
    """Read a node by its path name.

    1. Each block on the way is read and its CID recomputed, beginning with the root's.
    2. Each node's hash is recomputed and must be among those that its parent holds.
    3. The parents' hashes give the audit paths of a node proof, which must lead to the root.

    Args:
        read: Where blocks come from.
        cid: CID of the published tree.
        path: Path name of the node.
        root: The root that it must lead to; the one that the tree claims where none is given.

    Raises:
        FormatError: no such node.
        VerificationError: a block has another CID or is malformed, or the way leads to another root.
    """
    segments = path.split("/")
    if len(segments) > MAX_PROOF_STEPS:
        raise FormatError(f"a path name of {len(segments)} parts is longer than the {MAX_PROOF_STEPS} allowed")
    run = _parsed(cid, _checked(read, cid), parse_run)
    if root is not None and root != run.root:
        raise RootMismatchError(f"{cid} is the tree of another root", expected=str(root), computed=str(run.root))
    place: Cid = cid
    node: Node = run.top
    steps: list[ProofStep] = []
    for number, segment in enumerate(segments):
        parent = _branch(node, segments[:number], path)
        place, node, step = _descend(read, parent, segment, path)
        steps.append(step)
    proof = _proof(run, path, node, tuple(reversed(steps)))
    verify_node_proof(proof, run.root)
    return PublishedNode(place, run.root, proof, node.json if isinstance(node, Leaf) else None)


def _descend(read: Read, parent: Branch, segment: str, path: str) -> tuple[Cid, Node, ProofStep]:
    """Read the child that a part of a path name stands for, with its place among its siblings."""
    for number, group in _groups_with(read, parent, segment):
        cid = group.links[segment]
        node = _parsed(cid, _checked(read, cid), parse_node)
        index = _index(cid, node, group, segment)
        within = LogTree(group.hashes).inclusion_proof(index)
        audit_path = (*within, *parent.over_groups().inclusion_proof(number))
        return cid, node, ProofStep(parent.label, number * parent.width + index, parent.size, audit_path)
    raise _no_node(path, parent)


def _groups_with(read: Read, branch: Branch, segment: str) -> Iterator[tuple[int, Group]]:
    """Yield the groups of a branch, with their numbers, that link to something under this part of a path name."""
    if isinstance(branch.groups, Group):
        if segment in branch.groups.links:
            yield 0, branch.groups
        return
    key = encode(segment)
    for number, cid in enumerate(branch.groups):
        block = _checked(read, cid)
        if key in block:  # its own bytes; parsing a hundred large blocks to find one takes seconds
            group = _parsed(cid, block, partial(parse_group, branch=branch, number=number))
            if segment in group.links:
                yield number, group


def _index(cid: Cid, node: Node, group: Group, segment: str) -> int:
    """Return the place of a child, whose hash is there once because labels are hashed and differ."""
    node_hash = _well_formed(cid, lambda: node.hash)
    if node.label != unescape_label(segment) or group.hashes.count(node_hash) != 1:
        raise VerificationError(f"block {cid} is not the node {segment[:80]!r} that its parent has hashed")
    return group.hashes.index(node_hash)


def _proof(run: Run, path: str, node: Node, steps: tuple[ProofStep, ...]) -> NodeProof:
    leaf = node if isinstance(node, Leaf) else None
    branch = node if isinstance(node, Branch) else None
    return NodeProof(
        run_id=run.run_id,
        phase=run.phase,
        path=path,
        kind=leaf.kind if leaf else "branch",
        digest=leaf.digest if leaf else None,
        size=branch.size if branch else None,
        children_root=branch.root if branch else None,
        steps=steps,
    )


def _branch(node: Node, segments: list[str], path: str) -> Branch:
    if isinstance(node, Leaf):
        raise FormatError(f"the tree has no node {path[:200]!r}", hint=f"below {'/'.join(segments)[:200]} is nothing")
    return node


def _no_node(path: str, parent: Branch) -> FormatError:
    place = parent.label[:80] or "the root"
    if isinstance(parent.groups, Group):
        names = ", ".join(name[:80] for name in list(parent.groups.links)[:_SHOWN_NAMES]) or "nothing"
    else:
        names = f"{parent.size} others"
    return FormatError(f"the tree has no node {path[:200]!r}", hint=f"below {place} there is: {names}")


def _checked(read: Read, cid: Cid) -> bytes:
    block = read(cid)
    if len(block) > MAX_BLOCK_BYTES:
        raise VerificationError(f"block {cid} has more than {MAX_BLOCK_BYTES} bytes")
    check_block(cid, block)
    return block


def _parsed(cid: Cid, block: bytes, parse: Callable[[Cid, bytes], _T]) -> _T:
    return _well_formed(cid, lambda: parse(cid, block))


def _well_formed(cid: Cid, function: Callable[[], _T]) -> _T:
    try:
        return function()
    except FormatError as error:
        raise VerificationError(f"block {cid} is not one of a published tree: {error.message}") from error
