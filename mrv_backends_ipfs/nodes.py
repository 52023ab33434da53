# SPDX-License-Identifier: MIT
"""The blocks of a published tree, read back strictly (docs/networks/ipfs.md, "A published tree")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

from mrv_backends_ipfs.cbor import Value, decode
from mrv_backends_ipfs.cid import DAG_CBOR, Cid
from mrv_backends_ipfs.dag import CHILDREN_PER_BLOCK, FORMAT, SELF
from mrv_core.errors import FormatError
from mrv_core.hashing import Digest, HashFactory
from mrv_core.merkle import HASH_SIZE, LogTree, tree_root
from mrv_core.provenance_tree import JSON_KIND, absent_node_hash, branch_node_hash, leaf_node_hash

_T = TypeVar("_T")
_MAX_SIZE: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf, or an absent node, which has no digest."""

    label: str
    kind: str
    digest: Digest | None
    json: str | None

    @property
    def hash(self) -> bytes:
        """The node hash."""
        if self.digest is None:
            return absent_node_hash(self.label)
        return leaf_node_hash(self.label, self.kind, self.digest)


@dataclass(frozen=True, slots=True)
class Group:
    """Neighbouring children of a branch: their node hashes in order, and links to them by the parts of a path name."""

    hashes: tuple[bytes, ...]
    links: Mapping[str, Cid]


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch, or the top of a run, whose label is empty.

    Attributes:
        label: Its label.
        size: Number of children.
        width: Number of children in each group but the last; a power of two, or 0 where there is one group.
        roots: RFC 9162 root over the hashes of each group.
        groups: The only group, or a link to each.
    """

    label: str
    size: int
    width: int
    roots: tuple[bytes, ...]
    groups: Group | tuple[Cid, ...]

    @property
    def root(self) -> bytes:
        """RFC 9162 root over the node hashes of all children."""
        return self.over_groups().root()

    @property
    def hash(self) -> bytes:
        """The node hash."""
        return branch_node_hash(self.label, self.size, self.root)

    def over_groups(self) -> LogTree:
        """Return the upper part of the tree over the children: complete subtrees are its leaves."""
        tree = LogTree()
        tree.extend_leaves(self.roots)
        return tree

    def size_of_group(self, number: int) -> int:
        """Return how many children a group must have."""
        return min(self.width, self.size - number * self.width) if self.width else self.size


@dataclass(frozen=True, slots=True)
class Run:
    """The root block.

    Attributes:
        run_id, phase: What the root binds.
        root: The root, as the block claims it.
        top: Its children.
    """

    run_id: str
    phase: str
    root: Digest
    top: Branch


Node: TypeAlias = "Leaf | Branch"


def parse_node(cid: Cid, block: bytes) -> Node:
    """Read the block of a node.

    Raises:
        FormatError: it is none.
    """
    value = _decode(cid, block)
    if SELF not in value:
        return _leaf(value)
    own, links = _split(value)
    if own.get("kind") != "branch":
        raise FormatError("it is no node")
    if "parts" in own:
        return _wide_branch(own, links)
    _only(own, {"kind", "label", "size", "hashes"})
    return _branch(_typed(own, "label", str), _typed(own, "size", int), _group(own, links))


def parse_run(cid: Cid, block: bytes) -> Run:
    """Read the block of a root.

    Raises:
        FormatError: it is none.
    """
    own, links = _split(_decode(cid, block))
    _only(own, {"format", "kind", "run_id", "phase", "root", "size", "hashes"})
    if (own["format"], own["kind"]) != (FORMAT, "run"):
        raise FormatError(f"it is not a tree of the format {FORMAT}")
    top = _branch("", _typed(own, "size", int), _group(own, links))
    root = Digest.parse(_typed(own, "root", str))
    return Run(_typed(own, "run_id", str), _typed(own, "phase", str), root, top)


def parse_group(cid: Cid, block: bytes, branch: Branch, number: int) -> Group:
    """Read one of the parts of a wide branch.

    Raises:
        FormatError: it is none, or not that one.
    """
    own, links = _split(_decode(cid, block))
    _only(own, {"kind", "hashes"})
    group = _group(own, links)
    if own["kind"] != "part" or len(group.hashes) != branch.size_of_group(number):
        raise FormatError(f"it is not part {number} of the branch {branch.label[:80]!r}")
    if tree_root(group.hashes) != branch.roots[number]:
        raise FormatError(f"its hashes are not those of part {number} of the branch {branch.label[:80]!r}")
    return group


def _decode(cid: Cid, block: bytes) -> dict[str, Value]:
    value = decode(block) if cid.codec == DAG_CBOR else None
    if not isinstance(value, dict):
        raise FormatError("it is not a DAG-CBOR map")
    return value


def _split(value: dict[str, Value]) -> tuple[dict[str, Any], dict[str, Cid]]:
    """Separate what a block says of itself from its links."""
    own = value.get(SELF)
    links = {key: link for key, link in value.items() if isinstance(link, Cid)}
    if not isinstance(own, dict) or len(links) != len(value) - 1:
        raise FormatError("it has no links")
    return own, links


def _leaf(value: dict[str, Value]) -> Leaf:
    absent = value.get("kind") == "absent"
    _only(value, {"kind", "label"} if absent else {"kind", "label", "digest"}, optional="json")
    digest = None if absent else Digest.parse(_typed(value, "digest", str))
    text = _typed(value, "json", str) if "json" in value else None
    leaf = Leaf(_typed(value, "label", str), _typed(value, "kind", str), digest, text)
    if text is not None and (leaf.kind != JSON_KIND or not _is_digest_of(digest, text)):
        raise FormatError("its digest is not that of its value")
    return leaf


def _is_digest_of(digest: Digest | None, text: str) -> bool:
    return digest is not None and HashFactory.digest(text.encode("utf-8"), digest.algorithm) == digest


def _branch(label: str, size: int, group: Group) -> Branch:
    if size != len(group.hashes):
        raise FormatError("its size is not the number of its hashes")
    return Branch(label, size, 0, (tree_root(group.hashes),), group)


def _wide_branch(own: dict[str, Any], links: dict[str, Cid]) -> Branch:
    _only(own, {"kind", "label", "size", "width", "parts"})
    size, width = _typed(own, "size", int), _typed(own, "width", int)
    roots = _hashes(own, "parts")
    if not 0 < width <= CHILDREN_PER_BLOCK or width & width - 1 or not 0 < size < _MAX_SIZE:
        raise FormatError("its parts have no possible width")
    if len(roots) != -(-size // width) or links.keys() != {str(number) for number in range(len(roots))}:
        raise FormatError("its parts are not those of its size and width")
    groups = tuple(links[str(number)] for number in range(len(roots)))
    return Branch(_typed(own, "label", str), size, width, roots, groups)


def _group(own: dict[str, Any], links: dict[str, Cid]) -> Group:
    hashes = _hashes(own, "hashes")
    if len(hashes) != len(links) or len(hashes) > CHILDREN_PER_BLOCK:
        raise FormatError("it has not one hash for each link, or too many")
    return Group(hashes, links)


def _hashes(own: dict[str, Any], name: str) -> tuple[bytes, ...]:
    data = _typed(own, name, bytes)
    if len(data) % HASH_SIZE:
        raise FormatError(f"{name} are not whole hashes")
    return tuple(data[start : start + HASH_SIZE] for start in range(0, len(data), HASH_SIZE))


def _typed(value: Mapping[str, Any], name: str, kind: type[_T]) -> _T:
    found = value.get(name)
    if not isinstance(found, kind):
        raise FormatError(f"{name} is missing or of another type")
    return found


def _only(value: Mapping[str, Any], names: set[str], optional: str = "") -> None:
    if set(value) - {optional} != names:
        raise FormatError("it has other keys than a block of its kind")
