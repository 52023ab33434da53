# SPDX-License-Identifier: MIT
"""Bitcoin's Merkle tree: proofs of real and of made blocks, and everything that must not pass for one (A02, A06)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

import pytest
from bitcoin.core import CBlock
from hypothesis import given
from hypothesis import strategies as st

from mrv_backends_btc.merkle import (
    MAX_TRANSACTIONS,
    MerkleBlock,
    check_place,
    depth_of,
    parse_merkle_block,
    root_from_branch,
)
from mrv_core.errors import VerificationError

HEADER_HEAD, HEADER_TAIL = bytes(36), bytes(12)


def h(data: bytes) -> bytes:
    return sha256(sha256(data).digest()).digest()


def ids(count: int) -> list[bytes]:
    return [h(b"transaction %d" % number) for number in range(count)]


def levels_of(txids: Sequence[bytes]) -> list[list[bytes]]:
    """The whole tree, level by level, as the Bitcoin wiki describes it: an odd last node is paired with itself."""
    levels = [list(txids)]
    while len(levels[-1]) > 1:
        level = levels[-1] + levels[-1][-1:] * (len(levels[-1]) % 2)
        levels.append([h(level[i] + level[i + 1]) for i in range(0, len(level), 2)])
    return levels


def compact(value: int) -> bytes:
    return bytes([value]) if value < 253 else b"\xfd" + value.to_bytes(2, "little")


def encode(txids: Sequence[bytes], shown: set[int]) -> bytes:
    """Write a Merkle block with the partial tree for some of its transactions (BIP 37)."""
    levels, bits, hashes = levels_of(txids), list[int](), list[bytes]()

    def walk(height: int, place: int) -> None:
        below = range(place << height, min((place + 1) << height, len(txids)))
        is_open = any(index in shown for index in below)
        bits.append(int(is_open))
        if not is_open or height == 0:
            hashes.append(levels[height][place])
            return
        walk(height - 1, 2 * place)
        if 2 * place + 1 < len(levels[height - 1]):
            walk(height - 1, 2 * place + 1)

    walk(len(levels) - 1, 0)
    flags = bytes(sum(bit << i for i, bit in enumerate(bits[start : start + 8])) for start in range(0, len(bits), 8))
    header = HEADER_HEAD + levels[-1][0] + HEADER_TAIL
    body = compact(len(hashes)) + b"".join(hashes) + compact(len(flags)) + flags
    return header + len(txids).to_bytes(4, "little") + body


class TestProofsOfEveryTransaction:
    @pytest.mark.parametrize("count", [*range(1, 34), 461])
    def test_every_transaction_has_a_proof(self, count: int) -> None:
        txids = ids(count)
        root = levels_of(txids)[-1][0]
        for index in {0, 1, count // 2, count - 2, count - 1} & set(range(count)):
            block = parse_merkle_block(encode(txids, {0, index}))
            assert block.count == count
            for shown in {0, index}:
                match = block.match(txids[shown])
                assert match.index == shown
                assert len(match.branch) == depth_of(count)
                assert root_from_branch(match.txid, match.index, match.branch) == root
                check_place(match.txid, match.index, match.branch, count)

    @given(st.integers(1, 80), st.data())
    def test_any_set_of_transactions(self, count: int, data: st.DataObject) -> None:
        shown = data.draw(st.sets(st.integers(0, count - 1), min_size=1))
        txids = ids(count)
        block = parse_merkle_block(encode(txids, shown))
        assert {(match.index, match.txid) for match in block.matches} == {(index, txids[index]) for index in shown}

    def test_a_transaction_that_is_not_shown_has_none(self) -> None:
        txids = ids(5)
        with pytest.raises(VerificationError, match="another transaction"):
            parse_merkle_block(encode(txids, {3})).match(txids[2])


class TestRealBlock:
    """Block 300025 of the main chain, 461 transactions."""

    @pytest.fixture
    def proof(self, vectors: Callable[[str], Path]) -> bytes:
        return vectors("bitcoin/merkle300025.raw").read_bytes()

    @pytest.fixture
    def block(self, vectors: Callable[[str], Path]) -> CBlock:
        return CBlock.deserialize(vectors("bitcoin/block300025.raw").read_bytes())

    def test_proof_agrees_with_the_block(self, proof: bytes, block: CBlock) -> None:
        parsed = parse_merkle_block(proof)
        parsed.header.check_work(easiest_bits=0x1D00FFFF)
        txids = [transaction.GetTxid() for transaction in block.vtx]
        assert parsed.count == len(txids) == 461
        assert parsed.header.hash == block.GetHash()
        assert parsed.matches
        for match in parsed.matches:
            assert txids[match.index] == match.txid
            check_place(match.txid, match.index, match.branch, 461)

    def test_no_flipped_bit_shows_what_is_not_in_the_block(self, proof: bytes, block: CBlock) -> None:
        """Only the number of transactions and the marks at the leaves are not hashed; nothing false comes of them."""
        txids = [transaction.GetTxid() for transaction in block.vtx]
        shown = {match.txid for match in parse_merkle_block(proof).matches}
        same = 0
        for bit in range(8 * len(proof)):
            forged = bytearray(proof)
            forged[bit // 8] ^= 1 << bit % 8
            accepted = _accepted(bytes(forged))
            if accepted is None:
                continue
            assert all(txids[match.index] == match.txid for match in accepted.matches), f"bit {bit}"
            same += {match.txid for match in accepted.matches} == shown
            assert accepted.count != 461 or {match.txid for match in accepted.matches} != shown, f"bit {bit}"
        assert same < 16

    def test_every_shorter_and_longer_proof_is_refused(self, proof: bytes) -> None:
        for length in range(len(proof)):
            assert _accepted(proof[:length]) is None
        for tail in (b"\x00", b"\xff", bytes(32)):
            assert _accepted(proof + tail) is None

    def test_duplicated_last_transaction_has_the_same_root(self, block: CBlock) -> None:
        """CVE-2012-2459 is real for this block, and the proof of a transaction that is not there is refused."""
        txids = [transaction.GetTxid() for transaction in block.vtx]
        assert levels_of([*txids, txids[-1]])[-1] == levels_of(txids)[-1]
        for shown in ({460}, {461}, {460, 461}):
            assert _accepted(encode([*txids, txids[-1]], shown)) is None


def _accepted(data: bytes) -> MerkleBlock | None:
    try:
        block = parse_merkle_block(data)
        block.header.check_work(easiest_bits=0x1D00FFFF)
    except VerificationError:
        return None
    return block


class TestForgedTrees:
    @pytest.mark.parametrize("count", [3, 5, 6, 7, 11, 13])
    def test_two_equal_nodes_are_refused(self, count: int) -> None:
        txids = ids(count)
        longer = list(txids)
        while len(levels_of(longer)[0]) & (len(longer) - 1):
            longer += longer[len(longer) - (len(longer) & -len(longer)) :]  # repeat what would be paired with itself
        assert levels_of(longer)[-1] == levels_of(txids)[-1]
        for index in range(count, len(longer)):
            with pytest.raises(VerificationError):
                parse_merkle_block(encode(longer, {index}))

    def test_branch_of_a_transaction_that_is_not_there_is_refused(self) -> None:
        txids = ids(3)
        branch = parse_merkle_block(encode(txids, {2})).match(txids[2]).branch
        assert branch[0] == txids[2]
        assert root_from_branch(txids[2], 2, branch) == levels_of(txids)[-1][0]
        with pytest.raises(VerificationError, match="with itself"):
            root_from_branch(txids[2], 3, branch)

    def test_a_node_paired_with_itself_in_the_middle_is_refused(self) -> None:
        """The branch leads to a root, but no block of that many transactions has the pair there."""
        node = h(b"twice")
        branch = (node, h(b"right"))
        root_from_branch(node, 0, branch)
        check_place(node, 2, (node, h(b"left")), 3)
        for index, count in ((0, 3), (0, 4), (2, 4)):
            with pytest.raises(VerificationError, match="wrong place"):
                check_place(node, index, branch, count)

    @pytest.mark.parametrize(
        ("index", "length", "count"), [(4, 2, 4), (3, 2, 3), (0, 1, 3), (0, 3, 4), (0, 0, 0), (0, 2, 70_000)]
    )
    def test_wrong_depth_or_place_is_refused(self, index: int, length: int, count: int) -> None:
        with pytest.raises(VerificationError):
            check_place(h(b"x"), index, ids(length), count)

    def test_an_inner_node_does_not_pass_for_a_transaction(self) -> None:
        """CVE-2017-12842: 64 bytes of two hashes, and a branch that is too short for the block."""
        txids = ids(4)
        inner = h(txids[0] + txids[1])
        assert root_from_branch(inner, 0, [h(txids[2] + txids[3])]) == levels_of(txids)[-1][0]
        with pytest.raises(VerificationError, match="not of transaction"):
            check_place(inner, 0, [h(txids[2] + txids[3])], 4)

    @pytest.mark.parametrize("index", [-1, 1, 2**40])
    def test_an_index_outside_the_tree_is_refused(self, index: int) -> None:
        with pytest.raises(VerificationError):
            root_from_branch(h(b"x"), index, [])

    def test_a_branch_deeper_than_any_block_is_refused(self) -> None:
        assert depth_of(MAX_TRANSACTIONS) == 15
        with pytest.raises(VerificationError):
            root_from_branch(h(b"x"), 0, ids(16))

    def test_padding_bits_and_further_flags_are_refused(self) -> None:
        data = encode(ids(4), {1})
        assert parse_merkle_block(data)
        assert data[-2] == 1
        assert data[-1] < 0x80
        with pytest.raises(VerificationError, match="bits that belong to no node"):
            parse_merkle_block(data[:-1] + bytes([data[-1] | 0x80]))
        with pytest.raises(VerificationError, match="bits that belong to no node"):
            parse_merkle_block(data[:-2] + b"\x02" + data[-1:] + b"\x00")

    def test_too_many_hashes_are_refused(self) -> None:
        txids = ids(4)
        data = encode(txids, {1})
        more = data[:84] + bytes([data[84] + 1]) + data[85:-2] + h(b"more") + data[-2:]
        with pytest.raises(VerificationError, match=r"hashes that belong to no node|bits"):
            parse_merkle_block(more)

    @pytest.mark.parametrize("count", [0, MAX_TRANSACTIONS + 1, 2**32 - 1])
    def test_impossible_numbers_of_transactions_are_refused(self, count: int) -> None:
        data = bytearray(encode(ids(1), {0}))
        data[80:84] = count.to_bytes(4, "little")
        with pytest.raises(VerificationError):
            parse_merkle_block(bytes(data))

    def test_a_length_in_a_longer_form_is_refused(self) -> None:
        data = encode(ids(4), {1})
        with pytest.raises(VerificationError, match="shortest form"):
            parse_merkle_block(data[:84] + b"\xfd" + bytes([data[84], 0]) + data[85:])

    @given(st.binary(max_size=300))
    def test_any_bytes_are_refused_or_read(self, data: bytes) -> None:
        try:
            parse_merkle_block(bytes(80) + data)
        except VerificationError:
            return
