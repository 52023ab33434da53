# SPDX-License-Identifier: MIT
"""The log tree of RFC 9162 (section 2.1), and its verifiers as pure functions on plain values.

Leaf hash = SHA-256(0x00 || entry), node hash = SHA-256(0x01 || left || right); an odd last node moves up
unchanged, nothing is duplicated. An inclusion proof alone does not bind leaf index and tree size, so a root
from here is never used by itself: it enters a parent together with its size (docs/spec/merkle.md), or a
signed checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

from mrv_core.errors import FormatError, RootMismatchError, VerificationError

HASH_SIZE: Final = 32
MAX_TREE_SIZE: Final = 2**63 - 1
EMPTY_ROOT: Final = sha256(b"").digest()
"""Root of a tree without leaves (RFC 9162, section 2.1.1)."""


def leaf_hash(entry: bytes) -> bytes:
    """Return SHA-256(0x00 || entry)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """A growing tree that keeps only what the next root needs: one hash for each set bit of the size.

    Appending is O(1) amortised, the root O(log n), the memory O(log n); it makes no proofs.
    """

    __slots__ = ("_peaks", "_size")

    def __init__(self) -> None:
        self._size = 0
        self._peaks: list[bytes] = []  # complete subtrees, widest first

    @property
    def size(self) -> int:
        """Number of leaves."""
        return self._size

    def append(self, entry: bytes) -> int:
        """Add an entry and return its zero-based leaf index."""
        return self.append_leaf(sha256(b"\x00" + entry).digest())

    def append_leaf(self, leaf: bytes) -> int:
        """Add an entry by its 32-byte leaf hash and return its zero-based leaf index."""
        index = self._size
        peaks = self._peaks
        rest = index
        while rest & 1:
            leaf = sha256(b"\x01" + peaks.pop() + leaf).digest()
            rest >>= 1
        peaks.append(leaf)
        self._size = index + 1
        return index

    def root(self) -> bytes:
        """Return the root at the current size."""
        if not self._peaks:
            return EMPTY_ROOT
        result = self._peaks[-1]
        for peak in self._peaks[-2::-1]:
            result = sha256(b"\x01" + peak + result).digest()
        return result


class LogTree:
    """A growing tree that keeps every complete subtree, so that any root and any proof can be made.

    Level k holds the hashes of the complete subtrees of 2**k leaves. Memory is about two hashes a leaf;
    appending is O(1) amortised, roots and proofs are O(log n).

    Args:
        entries: Entries to start with.
    """

    __slots__ = ("_edge", "_levels")

    def __init__(self, entries: Iterable[bytes] = ()) -> None:
        self._levels: list[list[bytes]] = [[]]
        self._edge: tuple[int, dict[int, bytes]] = (0, {})
        self.extend(entries)

    @property
    def size(self) -> int:
        """Number of leaves."""
        return len(self._levels[0])

    def append(self, entry: bytes) -> int:
        """Add an entry and return its zero-based leaf index."""
        return self.append_leaf(sha256(b"\x00" + entry).digest())

    def append_leaf(self, leaf: bytes) -> int:
        """Add an entry by its 32-byte leaf hash and return its zero-based leaf index."""
        levels = self._levels
        index = len(levels[0])
        levels[0].append(leaf)
        rest, level = index, 0
        while rest & 1:
            leaf = sha256(b"\x01" + levels[level][-2] + leaf).digest()
            rest >>= 1
            level += 1
            if level == len(levels):
                levels.append([])
            levels[level].append(leaf)
        return index

    def extend(self, entries: Iterable[bytes]) -> None:
        """Add many entries, one level at a time, which is several times faster than appending each."""
        self.extend_leaves([sha256(b"\x00" + entry).digest() for entry in entries])

    def extend_leaves(self, leaves: Iterable[bytes]) -> None:
        """Add many entries by their 32-byte leaf hashes."""
        levels = self._levels
        levels[0].extend(leaves)
        level = 0
        while len(levels[level]) > 1:
            if level + 1 == len(levels):
                levels.append([])
            below, above = levels[level], levels[level + 1]
            start = 2 * len(above)
            fresh = iter(below[start : len(below) & ~1] if start else below)
            above.extend([sha256(b"\x01" + left + right).digest() for left, right in zip(fresh, fresh, strict=False)])
            level += 1

    def leaf(self, index: int) -> bytes:
        """Return the leaf hash at a zero-based index.

        Raises:
            FormatError: no such leaf.
        """
        if not 0 <= index < self.size:
            raise FormatError(f"leaf index {index} is outside a tree of size {self.size}")
        return self._levels[0][index]

    def root(self, size: int | None = None) -> bytes:
        """Return the root at the current or any earlier size.

        Raises:
            FormatError: the tree never had that size.
        """
        size = self._checked_size(size)
        return self._range_root(0, size) if size else EMPTY_ROOT

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """Return the audit path of a leaf, the leaf's sibling first (RFC 9162, section 2.1.3.1).

        Raises:
            FormatError: index or size outside the tree.
        """
        size = self._checked_size(size)
        if not 0 <= index < size:
            raise FormatError(f"leaf index {index} is outside a tree of size {size}")
        return self._siblings(index, size)

    def consistency_proof(self, size1: int, size2: int | None = None) -> list[bytes]:
        """Return the proof that the tree of `size2` extends the tree of `size1` (RFC 9162, section 2.1.4.1).

        Raises:
            FormatError: unless 1 <= size1 <= size2 <= size; nothing needs proving from an empty tree.
        """
        size2 = self._checked_size(size2)
        if not 1 <= size1 <= size2:
            raise FormatError(f"no consistency proof from size {size1} to size {size2}")
        if size1 == size2:
            return []
        # The last leaf of the older tree lies in a complete subtree that both trees share; the proof starts there.
        level = (size1 & -size1).bit_length() - 1
        start = [self._levels[level][(size1 >> level) - 1]] if size1 & (size1 - 1) else []
        return start + self._siblings(size1 - 1, size2, level)

    def _siblings(self, index: int, size: int, level: int = 0) -> list[bytes]:
        """Collect the siblings from the subtree of `level` over leaf `index` up to the root of the first `size` leaves.

        The way up runs through complete subtrees until it meets the way of the last leaf; from there on
        everything on its left is complete and nothing is on its right.
        """
        levels, last = self._levels, size - 1
        meeting = (index ^ last).bit_length()
        path = []
        if meeting:
            position = index >> level
            for nodes in levels[level : meeting - 1]:
                path.append(nodes[position ^ 1])
                position >>= 1
            path.append(self._edge_root(last >> meeting - 1 << meeting - 1, size))
        for height in range(meeting, last.bit_length()):
            if index >> height & 1:
                path.append(levels[height][(index >> height) - 1])
        return path

    def _edge_root(self, start: int, size: int) -> bytes:
        """Return the root over the leaves from `start` on; remembered, as proofs at one size share log n of them."""
        known_size, roots = self._edge
        if known_size != size:
            roots = {}
            self._edge = size, roots
        if start not in roots:
            roots[start] = self._range_root(start, size)
        return roots[start]

    def _range_root(self, start: int, end: int) -> bytes:
        """Return the root over leaves start to end, `start` being on the left edge of a subtree that wide."""
        peaks = []
        while start < end:
            level = (end - start).bit_length() - 1
            peaks.append(self._levels[level][start >> level])
            start += 1 << level
        result = peaks.pop()
        while peaks:
            result = sha256(b"\x01" + peaks.pop() + result).digest()
        return result

    def _checked_size(self, size: int | None) -> int:
        if size is None:
            return self.size
        if not 0 <= size <= self.size:
            raise FormatError(f"size {size} is outside a tree of size {self.size}")
        return size


def tree_root(entries: Iterable[bytes]) -> bytes:
    """Return the root over entries, keeping O(log n) hashes."""
    frontier = Frontier()
    for entry in entries:
        frontier.append_leaf(sha256(b"\x00" + entry).digest())
    return frontier.root()


def root_from_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """Recompute the root that an inclusion path commits to (RFC 9162, section 2.1.3.2).

    Args:
        leaf: Leaf hash (32 bytes), not the entry.
        index: Zero-based; must satisfy 0 <= index < size.
        size: Number of leaves of the tree.
        path: Siblings, the leaf's first.

    Raises:
        VerificationError: index outside the tree, a hash that is not 32 bytes, or path of the wrong length.
    """
    _check_numbers(index, size)
    if not index < size:
        raise VerificationError(f"leaf index {index} is outside a tree of size {size}")
    check_hashes([leaf, *path])
    # Below the height where the way up meets that of the last leaf, siblings lie on either side; above, on the left.
    meeting = (index ^ (size - 1)).bit_length()
    length = meeting + (index >> meeting).bit_count()
    if len(path) != length:
        raise VerificationError(f"inclusion path is too {'long' if len(path) > length else 'short'}")
    node = leaf
    for sibling in path[:meeting]:
        node = sha256(b"\x01" + sibling + node if index & 1 else b"\x01" + node + sibling).digest()
        index >>= 1
    for sibling in path[meeting:]:
        node = sha256(b"\x01" + sibling + node).digest()
    return node


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Check that a leaf is in the tree with this size and root.

    Raises:
        VerificationError: malformed proof.
        RootMismatchError: the path leads to another root.
    """
    check_hashes([root])
    _expect(root, root_from_inclusion(leaf, index, size, path), "inclusion path leads to another root")


def verify_consistency(size1: int, size2: int, root1: bytes, root2: bytes, path: Sequence[bytes]) -> None:
    """Check that the tree (size2, root2) extends the tree (size1, root1) (RFC 9162, section 2.1.4.2).

    Size 0 is refused: every tree extends the empty one, so such a proof would say nothing.

    Raises:
        VerificationError: malformed proof or sizes.
        RootMismatchError: the path leads to another root.
    """
    _check_numbers(size1, size2)
    if not 1 <= size1 <= size2:
        raise VerificationError(f"sizes {size1} and {size2} cannot be consistent")
    if size1 == size2:
        if path:
            raise VerificationError("consistency path between equal sizes must be empty")
        _expect(root1, root2, "two roots at one size")
        return
    check_hashes([root1, root2, *path])
    nodes = list(path) if size1 & (size1 - 1) else [root1, *path]
    if not path:
        raise VerificationError("consistency path is empty")
    position, last = size1 - 1, size2 - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = nodes[0]
    for sibling in nodes[1:]:
        if not last:
            raise VerificationError("consistency path is too long")
        if position & 1 or position == last:
            old = sha256(b"\x01" + sibling + old).digest()
            new = sha256(b"\x01" + sibling + new).digest()
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            new = sha256(b"\x01" + new + sibling).digest()
        position, last = position >> 1, last >> 1
    if last:
        raise VerificationError("consistency path is too short")
    _expect(root1, old, "consistency path leads to another older root")
    _expect(root2, new, "consistency path leads to another newer root")


def _check_numbers(*numbers: int) -> None:
    for number in numbers:
        if type(number) is not int or not 0 <= number <= MAX_TREE_SIZE:
            raise VerificationError("a leaf index or tree size is not an integer from 0 to 2^63-1")


def check_hashes(hashes: Iterable[bytes]) -> None:
    """Refuse anything that is not a 32-byte hash.

    Raises:
        VerificationError: one of them is not.
    """
    for value in hashes:
        if not isinstance(value, bytes) or len(value) != HASH_SIZE:
            raise VerificationError(f"a hash is not {HASH_SIZE} bytes")


def _expect(expected: bytes, computed: bytes, message: str) -> None:
    if expected != computed:
        raise RootMismatchError(message, expected=expected.hex(), computed=computed.hex())
