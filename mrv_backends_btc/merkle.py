# SPDX-License-Identifier: MIT
"""Bitcoin's own Merkle tree over the ids of a block's transactions, and the proofs that nodes give of it.

It is not the tree of this project: a node is SHA-256 twice over both children without any prefix, and an odd last
node is paired with itself. Both let one root stand for several lists of transactions (CVE-2012-2459, CVE-2017-12842),
so what could be such a list is refused. All hashes are in internal byte order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mrv_backends_btc.bytereader import ByteReader, double_sha256
from mrv_backends_btc.header import HEADER_SIZE, Header, parse_header
from mrv_core.errors import FormatError, VerificationError

MAX_TRANSACTIONS: Final = 16_666
"""Most transactions of a block: 4,000,000 units of weight, and a transaction has at least 60 bytes of 4 units."""
MAX_DEPTH: Final = 15
"""Depth of a tree over so many."""


def depth_of(count: int) -> int:
    """Return how many siblings a branch has in the tree over `count` transactions."""
    return (count - 1).bit_length()


def root_from_branch(leaf: bytes, index: int, branch: Sequence[bytes]) -> bytes:
    """Return the root that a branch leads to.

    Args:
        leaf: Transaction id.
        index: Zero-based place in the block.
        branch: Siblings, the leaf's first.

    Raises:
        VerificationError: an index outside the tree, a branch that is too long, or a node paired with itself from
            the right, where the tree has no node.
    """
    if len(branch) > MAX_DEPTH or not 0 <= index < 1 << len(branch):
        raise VerificationError(f"a block has no transaction {index} with a Merkle branch of {len(branch)} hashes")
    node = leaf
    for sibling in branch:
        if index & 1 and sibling == node:
            raise VerificationError("the Merkle branch pairs a transaction with itself")
        node = double_sha256(sibling + node if index & 1 else node + sibling)
        index >>= 1
    return node


def check_place(leaf: bytes, index: int, branch: Sequence[bytes], count: int) -> None:
    """Check that a branch has the form of transaction `index` of `count`.

    Raises:
        VerificationError: no such transaction, another depth, or a node paired with itself that is not the last.
    """
    if not 1 <= count <= MAX_TRANSACTIONS or len(branch) != depth_of(count) or index >= count:
        raise VerificationError(f"the Merkle branch is not of transaction {index} in a block of {count}")
    node, last = leaf, count - 1
    for sibling in branch:
        if (sibling == node) is not (index == last and not index & 1):
            raise VerificationError("the Merkle branch pairs a transaction with itself in the wrong place")
        node = double_sha256(sibling + node if index & 1 else node + sibling)
        index, last = index >> 1, last >> 1


@dataclass(frozen=True, slots=True)
class Match:
    """A transaction that a Merkle block shows.

    Attributes:
        txid: Its id.
        index: Zero-based place in the block.
        branch: Siblings up to the root, the transaction's own first.
    """

    txid: bytes
    index: int
    branch: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class MerkleBlock:
    """What `gettxoutproof` answers: a header, and the part of its tree that leads to some transactions.

    Attributes:
        header: The block's header.
        count: Number of transactions of the block.
        matches: The transactions that were asked for.
    """

    header: Header
    count: int
    matches: tuple[Match, ...]

    def match(self, txid: bytes) -> Match:
        """Return the proof of one transaction.

        Raises:
            VerificationError: it is not among those shown.
        """
        for match in self.matches:
            if match.txid == txid:
                return match
        raise VerificationError("the proof of the block shows another transaction than the one asked for")


def parse_merkle_block(data: bytes) -> MerkleBlock:
    """Read a Merkle block (BIP 37) and check that its partial tree leads to the header's root.

    The header's work is not checked.

    Raises:
        VerificationError: anything malformed or contradictory: another root, hashes or bits left over or missing,
            two equal siblings, padding bits that are set.
    """
    try:
        return _parse(data)
    except FormatError as error:
        raise VerificationError(f"malformed proof of a block: {error.message}") from error


def _parse(data: bytes) -> MerkleBlock:
    reader = ByteReader(data, "Merkle block")
    header = parse_header(reader.take(HEADER_SIZE))
    count = reader.integer(4)
    if not 1 <= count <= MAX_TRANSACTIONS:
        raise FormatError(f"a block of {count} transactions")
    hashes = [reader.take(32) for _ in range(reader.compact_size(count))]
    flags = reader.counted(2 * MAX_TRANSACTIONS)
    reader.end()
    walk = _Walk(hashes, flags, count)
    root, matches = walk.node(depth_of(count), 0)
    walk.end()
    if root != header.merkle_root:
        raise FormatError("the transactions lead to another Merkle root than the header's")
    return MerkleBlock(header, count, tuple(matches))


class _Walk:
    """Goes down a partial tree, depth first, as BIP 37 says: a bit for each node met, a hash for each not opened."""

    def __init__(self, hashes: list[bytes], flags: bytes, count: int) -> None:
        self._hashes = iter(hashes)
        self._bits = iter([byte >> position & 1 for byte in flags for position in range(8)])
        self._left = 8 * len(flags)
        self._count = count

    def node(self, height: int, place: int) -> tuple[bytes, list[Match]]:
        """Return a node's hash and what is shown below it."""
        is_open = self._bit()
        if not is_open or height == 0:
            value = self._hash()
            return value, [Match(value, place, ())] if is_open else []
        left, matches = self.node(height - 1, 2 * place)
        if 2 * place + 1 >= (self._count + (1 << height - 1) - 1) >> height - 1:
            return double_sha256(left + left), [_with_sibling(match, left) for match in matches]
        right, others = self.node(height - 1, 2 * place + 1)
        if left == right:
            raise FormatError("two equal nodes beside each other")
        shown = [_with_sibling(match, right) for match in matches] + [_with_sibling(match, left) for match in others]
        return double_sha256(left + right), shown

    def end(self) -> None:
        """Check that nothing is left over."""
        if self._left >= 8 or any(self._bits):
            raise FormatError("bits that belong to no node")
        if next(self._hashes, None) is not None:
            raise FormatError("hashes that belong to no node")

    def _bit(self) -> bool:
        self._left -= 1
        if self._left < 0:
            raise FormatError("too few bits")
        return next(self._bits) == 1

    def _hash(self) -> bytes:
        value = next(self._hashes, None)
        if value is None:
            raise FormatError("too few hashes")
        return value


def _with_sibling(match: Match, sibling: bytes) -> Match:
    return Match(match.txid, match.index, (*match.branch, sibling))
