# SPDX-License-Identifier: MIT
"""Transactions and payloads: real ones read as the reference library reads them, and nothing else read at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from bitcoin.core import CBlock, CTransaction
from hypothesis import given
from hypothesis import strategies as st

from mrv_backends_btc.payload import CODES, commitments_in, decode_script, encode_payload, output_script
from mrv_backends_btc.transaction import Transaction, parse_transaction
from mrv_core.errors import FormatError
from mrv_core.hashing import Digest, HashFactory

COMMITMENT = HashFactory.digest(b"a root", "sha256")


def compact(value: int) -> bytes:
    return bytes([value]) if value < 253 else b"\xfd" + value.to_bytes(2, "little")


def build(scripts: list[bytes], *, witness: bytes = b"", inputs: int = 1) -> bytes:
    """Write a transaction that pays nothing to each script."""
    ins = b"".join(bytes([number]) * 36 + b"\x00" + b"\xfd\xff\xff\xff" for number in range(1, inputs + 1))
    outs = b"".join(bytes(8) + compact(len(script)) + script for script in scripts)
    body = compact(inputs) + ins + compact(len(scripts)) + outs
    marker = b"\x00\x01" if witness else b""
    return b"\x02\x00\x00\x00" + marker + body + witness + bytes(4)


def parse(data: bytes) -> Transaction:
    return parse_transaction(data, what="transaction")


class TestRealTransactions:
    def test_all_of_a_block(self, vectors: Callable[[str], Path]) -> None:
        block = CBlock.deserialize(vectors("bitcoin/block300025.raw").read_bytes())
        assert len(block.vtx) == 461
        for number, expected in enumerate(block.vtx):
            self._compare(parse(expected.serialize()), expected)
            assert parse(expected.serialize()).is_coinbase is (number == 0)

    def test_single_ones(self, vectors: Callable[[str], Path]) -> None:
        for name in ("tx1", "tx2", "tx3"):
            data = vectors(f"bitcoin/{name}.raw").read_bytes()
            self._compare(parse(data), CTransaction.deserialize(data))

    def _compare(self, ours: Transaction, expected: CTransaction) -> None:
        assert ours.txid == expected.GetTxid()
        assert ours.txid_hex == expected.GetTxid()[::-1].hex()
        assert [each.outpoint for each in ours.inputs] == [each.prevout.serialize() for each in expected.vin]
        assert [each.sequence for each in ours.inputs] == [each.nSequence for each in expected.vin]
        assert [(each.value_sat, each.script) for each in ours.outputs] == [
            (each.nValue, bytes(each.scriptPubKey)) for each in expected.vout
        ]
        for output in ours.outputs:
            assert ours.stripped[output.offset : output.offset + len(output.script)] == output.script


class TestWitness:
    DATA = build([output_script(COMMITMENT), b"\x51"], witness=b"\x02\x01\xaa\x20" + bytes(32))

    def test_is_not_part_of_the_id(self) -> None:
        ours, expected = parse(self.DATA), CTransaction.deserialize(self.DATA)
        assert ours.has_witness
        assert ours.txid == expected.GetTxid()
        assert ours.stripped == build([output_script(COMMITMENT), b"\x51"])
        assert ours.size == len(self.DATA)
        # BIP 141: weight is three times the size without witness, and the size with it
        assert ours.vsize == -(-(3 * len(ours.stripped) + len(self.DATA)) // 4)
        script = output_script(COMMITMENT)
        assert ours.stripped[ours.outputs[0].offset :].startswith(script)

    def test_an_empty_one_is_refused(self) -> None:
        with pytest.raises(FormatError, match="without one"):
            parse(build([b"\x51"], witness=b"\x00"))


class TestRefusals:
    DATA = build([output_script(COMMITMENT), b"\x51" * 30], inputs=2)

    def test_every_shorter_or_longer_one(self) -> None:
        assert parse(self.DATA)
        for data in (self.DATA, TestWitness.DATA):
            for length in range(len(data)):
                with pytest.raises(FormatError):
                    parse(data[:length])
            with pytest.raises(FormatError, match="too many"):
                parse(data + b"\x00")

    def test_64_bytes(self) -> None:
        """A transaction of that size can be read as a node of a Merkle tree (CVE-2017-12842)."""
        data = build([b"\x51\x51\x51\x51"])
        assert len(data) == 64
        with pytest.raises(FormatError, match="node of a Merkle tree"):
            parse(data)
        assert parse(build([b"\x51\x51\x51\x51\x51"]))
        witnessed = build([b"\x51\x51\x51\x51"], witness=b"\x01\x01\xaa")
        with pytest.raises(FormatError, match="node of a Merkle tree"):
            parse(witnessed)

    def test_too_large(self) -> None:
        with pytest.raises(FormatError, match="more than a transaction may have"):
            parse(bytes(400_001))

    def test_lengths_in_a_longer_form(self) -> None:
        with pytest.raises(FormatError, match="shortest form"):
            parse(self.DATA[:4] + b"\xfd\x02\x00" + self.DATA[5:])

    @pytest.mark.parametrize("count", [b"\xfe\xff\xff\xff\xff", b"\xff" + b"\xff" * 8])
    def test_absurd_counts(self, count: bytes) -> None:
        with pytest.raises(FormatError, match="is the most"):
            parse(b"\x02\x00\x00\x00" + count + bytes(100))

    def test_no_outputs(self) -> None:
        with pytest.raises(FormatError, match="without inputs or without outputs"):
            parse(build([]))

    @given(st.binary(max_size=200))
    def test_any_bytes_are_refused_or_read_back(self, data: bytes) -> None:
        try:
            transaction = parse(data)
        except FormatError:
            return
        assert transaction.size == len(data)


class TestPayload:
    def test_byte_by_byte(self) -> None:
        value = bytes(range(32))
        assert encode_payload(Digest("sha256", value)) == b"MRV1\x12" + value
        assert output_script(Digest("sha256", value)) == b"\x6a\x25MRV1\x12" + value

    @pytest.mark.parametrize("algorithm", HashFactory.algorithms())
    def test_every_algorithm_has_a_code_of_its_own(self, algorithm: str) -> None:
        digest = HashFactory.digest(b"x", algorithm)
        assert len(encode_payload(digest)) == 37
        assert len(output_script(digest)) == 39
        assert decode_script(output_script(digest)) == digest
        assert len(set(CODES.values())) == len(CODES) == len(HashFactory.algorithms())

    def test_no_other_script_is_ours(self) -> None:
        script = output_script(COMMITMENT)
        for length in range(len(script)):
            assert decode_script(script[:length]) is None
        others = [script + b"\x00", b"\x51" + script[1:], script[:1] + b"\x4c\x25" + script[2:], b"\x00" + script]
        others += [script[:6] + bytes([code]) + script[7:] for code in set(range(256)) - set(CODES.values())]
        others += [script[:i] + bytes([script[i] ^ 1]) + script[i + 1 :] for i in range(6)]
        assert not [other for other in others if decode_script(other) is not None]

    def test_all_of_a_transactions_commitments_are_found(self) -> None:
        other = HashFactory.digest(b"another", "blake3")
        transaction = parse(build([b"\x51", output_script(other), b"\x6a\x04MRV1", output_script(COMMITMENT)]))
        assert commitments_in(transaction) == [(1, other), (3, COMMITMENT)]
