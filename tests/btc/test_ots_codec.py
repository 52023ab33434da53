# SPDX-License-Identifier: MIT
"""The OpenTimestamps format: public proofs, the reference implementation beside ours, and hostile files (A05)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentimestamps.core.notary import (
    BitcoinBlockHeaderAttestation,
    LitecoinBlockHeaderAttestation,
    PendingAttestation,
    UnknownAttestation,
)
from opentimestamps.core.op import (
    OpAppend,
    OpHexlify,
    OpKECCAK256,
    OpPrepend,
    OpReverse,
    OpRIPEMD160,
    OpSHA1,
    OpSHA256,
)
from opentimestamps.core.serialize import BytesDeserializationContext, BytesSerializationContext
from opentimestamps.core.timestamp import DetachedTimestampFile, Timestamp

from mrv_backends_btc.header import parse_header
from mrv_backends_btc.ots_codec import (
    MAGIC,
    MAX_OPERATIONS,
    SHA256,
    Operation,
    OtsFile,
    read_ots,
    write_ots,
)
from mrv_backends_btc.ots_evidence import read_proof
from mrv_backends_btc.ripemd160 import ripemd160
from mrv_core.errors import FormatError
from mrv_core.hashing import Digest

SHA256_OF_A_FILE = OpSHA256()
START = MAGIC + b"\x01\x08" + bytes(32)
BITCOIN = b"\x00" + bytes.fromhex("0588960d73d71901")


def reference(data: bytes) -> DetachedTimestampFile:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library warns of one of its own operations
        return DetachedTimestampFile.deserialize(BytesDeserializationContext(data))


def encode(timestamp: Timestamp, file_hash: Any = SHA256_OF_A_FILE) -> bytes:
    context = BytesSerializationContext()
    DetachedTimestampFile(file_hash, timestamp).serialize(context)
    return context.getbytes()


def attested(proof: OtsFile) -> set[tuple[str, bytes | None, object]]:
    return {
        (each.kind, each.message, each.height if each.kind == "bitcoin" else each.uri) for each in proof.attestations
    }


def attested_by_the_reference(proof: DetachedTimestampFile) -> set[tuple[str, bytes, object]]:
    found = set()
    for message, each in proof.timestamp.all_attestations():
        if isinstance(each, BitcoinBlockHeaderAttestation):
            found.add(("bitcoin", message, each.height))
        elif isinstance(each, PendingAttestation):
            found.add(("pending", message, each.uri))
        else:
            found.add(("unknown", message, None))
    return found


class TestPublicProofs:
    """The examples of the OpenTimestamps client, and a calendar's proof of a canonical JSON document."""

    NAMES = (
        "ots/bad-stamp.txt",
        "ots/empty",
        "ots/hello-world.txt",
        "ots/incomplete.txt",
        "ots/merkle1.txt",
        "ots/merkle2.txt",
        "ots/merkle3.txt",
        "ots/two-calendars.txt",
        "ots/unknown-notary.txt",
        "ots-jcs-receipt/decision-receipt/decision_receipt.jcs",
    )

    @pytest.mark.parametrize("name", NAMES)
    def test_are_read_as_the_reference_reads_them(self, vectors: Callable[[str], Path], name: str) -> None:
        data = vectors(f"{name}.ots").read_bytes()
        ours, theirs = read_ots(data), reference(data)
        assert (ours.algorithm, ours.digest) == (theirs.file_hash_op.TAG_NAME, theirs.file_digest)
        assert attested(ours) == attested_by_the_reference(theirs)
        if name != "ots/bad-stamp.txt":
            assert ours.digest == sha256(vectors(name).read_bytes()).digest()

    @pytest.mark.parametrize("name", ["bad-major-version", "exceeds-max-msg-length"])
    def test_invalid_ones_are_refused(self, vectors: Callable[[str], Path], name: str) -> None:
        with pytest.raises(FormatError):
            read_ots(vectors(f"ots/invalid/{name}.ots").read_bytes())

    def test_the_real_block_of_one_of_them(self, vectors: Callable[[str], Path]) -> None:
        """Block 358391 has the Merkle root that one proof leads to, and not the one of the other."""
        header = parse_header(bytes.fromhex(vectors("ots/headers/358391.hex").read_text().strip()))
        header.check_work(easiest_bits=0x1D00FFFF)
        for name, fits in (("hello-world.txt", True), ("bad-stamp.txt", False)):
            _, checked = read_proof(vectors(f"ots/{name}.ots").read_bytes())
            [claim] = checked.claims
            assert claim.height == 358391
            assert (claim.root == header.merkle_root) is fits
            assert claim.weak == ("ripemd160",), "a calendar of 2015 hashed that way"

    def test_what_the_others_attest(self, vectors: Callable[[str], Path]) -> None:
        _, empty = read_proof(vectors("ots/empty.ots").read_bytes())
        assert [(claim.height, claim.root_hex[:8], claim.root_hex[-8:]) for claim in empty.claims] == [
            (129405, "db29fdc2", "367e5b71")
        ]
        digest, receipt = read_proof(vectors("ots-jcs-receipt/decision-receipt/decision_receipt.jcs.ots").read_bytes())
        assert digest.hex == "97e1d74b810a9fea454ac890c0e17f8a401fb4abbf42827a39aea30846de2fb5"
        [claim] = receipt.claims
        assert (claim.height, claim.weak) == (958761, ())
        assert claim.root_hex == "8c4fa23e6aa10839593628294ff2a3e375cd76c208180c24990da5f1ca21e5a8"
        assert len(receipt.calendars) == 3
        _, pending = read_proof(vectors("ots/incomplete.txt.ots").read_bytes())
        assert (pending.claims, len(pending.calendars)) == ((), 1)

    def test_an_unknown_notary_attests_nothing_that_counts(self, vectors: Callable[[str], Path]) -> None:
        with pytest.raises(FormatError, match="1 attestations of unknown kinds"):
            read_proof(vectors("ots/unknown-notary.txt.ots").read_bytes())


operations = st.one_of(
    st.just(OpSHA256()),
    st.just(OpSHA1()),
    st.just(OpRIPEMD160()),
    st.just(OpHexlify()),
    st.just(OpReverse()),
    st.builds(OpAppend, st.binary(min_size=1, max_size=40)),
    st.builds(OpPrepend, st.binary(min_size=1, max_size=40)),
)
attestations = st.one_of(
    st.builds(BitcoinBlockHeaderAttestation, st.integers(0, 2**31)),
    st.builds(PendingAttestation, st.text("abc./:-_", max_size=30)),
    st.builds(LitecoinBlockHeaderAttestation, st.integers(0, 2**31)),
    st.builds(UnknownAttestation, st.binary(min_size=8, max_size=8), st.binary(max_size=30)),
)


@st.composite
def timestamps(draw: st.DrawFn, depth: int = 4, message: bytes | None = None) -> Timestamp:
    """A tree as the reference implementation builds it."""
    made = Timestamp(draw(st.binary(min_size=32, max_size=32)) if message is None else message)
    for each in draw(st.lists(attestations, max_size=2)):
        made.attestations.add(each)
    if depth and len(made.msg) < 1000:
        for operation in draw(st.lists(operations, max_size=2)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result = operation(made.msg)
            made.ops[operation] = draw(timestamps(depth - 1, result))
    if not made.attestations and not made.ops:
        made.attestations.add(draw(attestations))
    return made


class TestAgainstTheReference:
    @given(timestamps())
    def test_every_tree_is_read_the_same(self, timestamp: Timestamp) -> None:
        data = encode(timestamp)
        assert attested(read_ots(data)) == attested_by_the_reference(reference(data))

    @given(timestamps(), st.data())
    def test_what_is_accepted_after_a_change_is_read_the_same(self, timestamp: Timestamp, data: st.DataObject) -> None:
        changed = bytearray(encode(timestamp))
        place = data.draw(st.integers(len(MAGIC), len(changed) - 1))
        changed[place] = data.draw(st.integers(0, 255))
        try:
            ours = read_ots(bytes(changed))
        except FormatError:
            return
        theirs = reference(bytes(changed))
        assert (ours.algorithm, ours.digest) == (theirs.file_hash_op.TAG_NAME, theirs.file_digest)
        computed = {each for each in attested(ours) if each[1] is not None}
        assert computed <= attested_by_the_reference(theirs)

    @given(st.binary(max_size=200))
    def test_any_bytes_are_refused_or_read(self, data: bytes) -> None:
        for candidate in (data, START + data):
            try:
                read_ots(candidate)
            except FormatError:
                continue

    @given(
        st.lists(
            st.one_of(
                st.just(SHA256),
                st.builds(Operation, st.sampled_from(["append", "prepend"]), st.binary(min_size=1, max_size=200)),
            ),
            max_size=30,
        ),
        st.integers(0, 2**31 - 1),
    )
    def test_what_is_written_is_read_by_both(self, steps: list[Operation], height: int) -> None:
        digest = sha256(b"a file").digest()
        try:
            data = write_ots(digest, steps, height)
        except FormatError:
            assert sum(len(step.argument) for step in steps) > 4000
            return
        message = digest
        for step in steps:
            message = step.apply(message)
        expected = {("bitcoin", message, height)}
        assert attested(read_ots(data)) == attested_by_the_reference(reference(data)) == expected
        context = BytesSerializationContext()
        reference(data).serialize(context)
        assert context.getbytes() == data

    @pytest.mark.parametrize(
        ("text", "digest"),
        [
            (b"", "9c1185a5c5e9fc54612808977ee8f548b2258d31"),
            (b"abc", "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc"),
            (b"message digest", "5d0689ef49d2fae572b881b123a85ffa21595f36"),
            (b"1234567890" * 8, "9b752e45573d4b39f4dbd3323cab82bf63326bfb"),
        ],
    )
    def test_ripemd160_has_its_authors_values(self, text: bytes, digest: str) -> None:
        assert ripemd160(text).hex() == digest

    @given(st.binary(max_size=300))
    def test_ripemd160_as_another_implementation(self, data: bytes) -> None:
        from Cryptodome.Hash import RIPEMD160

        assert ripemd160(data) == RIPEMD160.new(data).digest()


class TestWeakHashes:
    def test_a_file_known_by_sha1_is_refused(self) -> None:
        """Two files with one SHA-1 digest exist; a proof would be of both."""
        timestamp = Timestamp(bytes(20))
        timestamp.ops.add(OpSHA256()).attestations.add(BitcoinBlockHeaderAttestation(1))
        data = encode(timestamp, OpSHA1())
        assert read_ots(data).algorithm == "sha1"
        with pytest.raises(FormatError, match="knows its file by sha1") as failure:
            read_proof(data)
        assert "stamp the file again" in str(failure.value.hint)

    @pytest.mark.parametrize("operation", [OpSHA1(), OpRIPEMD160()])
    def test_on_the_way_they_are_marked(self, operation: Any) -> None:
        timestamp = Timestamp(bytes(32))
        timestamp.ops.add(operation).ops.add(OpSHA256()).attestations.add(BitcoinBlockHeaderAttestation(7))
        digest, checked = read_proof(encode(timestamp))
        assert digest == Digest("sha256", bytes(32))
        assert [claim.weak for claim in checked.claims] == [(operation.TAG_NAME,)]

    def test_a_way_without_them_comes_first(self) -> None:
        timestamp = Timestamp(bytes(32))
        timestamp.ops.add(OpSHA1()).ops.add(OpSHA256()).attestations.add(BitcoinBlockHeaderAttestation(7))
        timestamp.ops.add(OpSHA256()).attestations.add(BitcoinBlockHeaderAttestation(8))
        _, checked = read_proof(encode(timestamp))
        assert [(claim.height, claim.weak) for claim in checked.claims] == [(8, ()), (7, ("sha1",))]

    def test_keccak_is_read_over(self) -> None:
        timestamp = Timestamp(bytes(32))
        timestamp.ops.add(OpKECCAK256()).attestations.add(BitcoinBlockHeaderAttestation(7))
        with pytest.raises(FormatError, match="1 attestations of unknown kinds"):
            read_proof(encode(timestamp))


class TestHostileFiles:
    def test_every_shorter_and_longer_one(self) -> None:
        data = write_ots(bytes(32), [Operation("append", b"x"), SHA256], 300)
        for length in range(len(data)):
            with pytest.raises(FormatError):
                read_ots(data[:length])
        with pytest.raises(FormatError, match="too many"):
            read_ots(data + b"\x00")

    def test_as_deep_as_the_reference_reads_and_no_deeper(self) -> None:
        data = write_ots(bytes(32), [SHA256] * MAX_OPERATIONS, 1)
        assert read_ots(data).attestations
        assert reference(data)
        with pytest.raises(FormatError, match="reads 255"):
            write_ots(bytes(32), [SHA256] * (MAX_OPERATIONS + 1), 1)
        deeper = data.replace(b"\x08" * 200, b"\x08" * 201)
        with pytest.raises(FormatError, match="in a row"):
            read_ots(deeper)
        with pytest.raises(Exception, match="recursion depth"):
            reference(deeper)

    def test_nested_a_million_deep(self) -> None:
        with pytest.raises(FormatError, match="more than the 65536 bytes"):
            read_ots(START + b"\x08" * 1_000_000)
        with pytest.raises(FormatError, match="in a row"):
            read_ots(START + b"\x08" * 60_000)

    def test_forks_without_end(self) -> None:
        with pytest.raises(FormatError):
            read_ots(START + b"\xff\x08" * 30_000)

    def test_many_slow_hashes_of_a_long_message(self) -> None:
        """Each fork hashes 4 kB again; beyond a budget the file is refused instead of computed."""
        long = b"\xf0" + b"\xa0\x1f" + bytes(4000)
        leaf = BITCOIN + b"\x01\x01"
        with pytest.raises(FormatError, match="too many weak ones"):
            read_ots(START + long + (b"\xff\x03" + leaf) * 3000)

    def test_more_attestations_than_allowed(self) -> None:
        with pytest.raises(FormatError, match="more than 1000 attestations"):
            read_ots(START + (b"\xff" + BITCOIN + b"\x01\x01") * 1001 + BITCOIN + b"\x01\x01")

    @pytest.mark.parametrize(
        ("tail", "message"),
        [
            (BITCOIN + b"\x02\x80\x00", "too large or too long"),
            (BITCOIN + b"\x06\xff\xff\xff\xff\xff\x7f", "too large or too long"),
            (BITCOIN + b"\x02\x01\x01", "too many"),
            (BITCOIN + b"\x80\x80\x01" + bytes(9000), "where 0 to 8192 is allowed"),
            (b"\xf0\x00" + BITCOIN + b"\x01\x01", "where 1 to 4096 is allowed"),
            (b"\xf0\x81\x20" + bytes(4097) + BITCOIN + b"\x01\x01", "where 1 to 4096 is allowed"),
            (b"\xf4" + BITCOIN + b"\x01\x01", "unknown operation 0xf4"),
            (b"\xff\xff" + BITCOIN + b"\x01\x01", "unknown operation 0xff"),
        ],
    )
    def test_what_the_format_does_not_allow(self, tail: bytes, message: str) -> None:
        with pytest.raises(FormatError, match=message):
            read_ots(START + tail)

    def test_a_calendar_address_cannot_hold_more_than_one(self) -> None:
        for uri in (b"https://user@host/", b"https://host/?q", b"https://host/\n", b"\xc3\xbc"):
            pending = b"\x00" + bytes.fromhex("83dfe30d2ef90c8e") + bytes([len(uri) + 1, len(uri)]) + uri
            with pytest.raises(FormatError, match="characters that are not allowed"):
                read_ots(START + pending)

    def test_a_root_that_is_no_hash(self) -> None:
        data = write_ots(bytes(32), [Operation("append", b"x")], 1)
        with pytest.raises(FormatError, match="does not have 32 bytes"):
            read_proof(data)

    @pytest.mark.parametrize(
        "data", [b"", MAGIC, MAGIC + b"\x02\x08" + bytes(32), MAGIC + b"\x01\x09" + bytes(32), b"PK"]
    )
    def test_what_is_no_proof(self, data: bytes) -> None:
        with pytest.raises(FormatError):
            read_ots(data)
