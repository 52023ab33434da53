# SPDX-License-Identifier: MIT
"""Building a Merkle-Patricia trie (Yellow Paper, appendix D) in memory, to prove what a block contains.

Nodes hand out the transactions of a block, but no proof that they are in it. The trie over them is built anew,
and only believed where its root is the one in the block's header.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mrv_backends_eth import rlp, trie
from mrv_backends_eth.keccak import keccak256

_HASH_SIZE: Final = 32

_Entry = tuple[str, bytes]
"""What is left of a key, in hexadecimal digits, and its value."""


@dataclass(frozen=True, slots=True)
class ListTrie:
    """The trie of a list, keyed by rlp(index), as blocks have them for transactions and receipts.

    Attributes:
        root: Root hash, 32 bytes.
        nodes: Every node that is referred to by its hash.
    """

    root: bytes
    nodes: dict[bytes, bytes]

    @classmethod
    def build(cls, values: Sequence[bytes]) -> ListTrie:
        """Build the trie of some values, none of them empty."""
        if not values:
            return cls(trie.EMPTY_ROOT, {})
        nodes: dict[bytes, bytes] = {}
        entries = sorted((rlp.encode_int(index).hex(), value) for index, value in enumerate(values))
        top = rlp.encode(_node(entries, nodes))
        root = keccak256(top)
        nodes[root] = top
        return cls(root, nodes)

    def prove(self, index: int) -> list[bytes]:
        """Return the nodes from the root to the value at a zero-based index."""
        return trie.prove(self.root, rlp.encode_int(index), self.nodes.__getitem__)[1]


def _node(entries: Sequence[_Entry], nodes: dict[bytes, bytes]) -> rlp.Item:
    """Return the node over sorted entries, none of whose keys is there twice."""
    if len(entries) == 1:
        path, value = entries[0]
        return [_hex_prefix(path, is_leaf=True), value]
    shared = _common(entries[0][0], entries[-1][0])
    if shared:
        rest = [(path[shared:], value) for path, value in entries]
        return [_hex_prefix(entries[0][0][:shared], is_leaf=False), _reference(rest, nodes)]
    branch: list[rlp.Item] = []
    for digit in "0123456789abcdef":
        below = [(path[1:], value) for path, value in entries if path[:1] == digit]
        branch.append(_reference(below, nodes) if below else b"")
    own = entries[0]
    return [*branch, own[1] if own[0] == "" else b""]


def _common(first: str, last: str) -> int:
    """Count the digits with which two keys, and all that are sorted between them, begin."""
    pairs = enumerate(zip(first, last, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(first), len(last)))


def _reference(entries: Sequence[_Entry], nodes: dict[bytes, bytes]) -> rlp.Item:
    node = _node(entries, nodes)
    encoded = rlp.encode(node)
    if len(encoded) < _HASH_SIZE:
        return node
    digest = keccak256(encoded)
    nodes[digest] = encoded
    return digest


def _hex_prefix(path: str, *, is_leaf: bool) -> bytes:
    """Encode a path (Yellow Paper, appendix C)."""
    flag = (2 if is_leaf else 0) + len(path) % 2
    return bytes.fromhex(f"{flag}{path}" if len(path) % 2 else f"{flag}0{path}")
