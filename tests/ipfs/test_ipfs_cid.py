# SPDX-License-Identifier: MIT
"""CIDs: computed, read in every spelling, compared as values; weak hashes and sloppy spellings refused."""

from __future__ import annotations

import base64
import csv
from collections.abc import Callable
from hashlib import md5, sha1, sha256, sha512
from pathlib import Path

import multiformats
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrv_backends_ipfs.cid import DAG_PB, RAW, Cid, read_varint, write_varint
from mrv_core.errors import FormatError

HELLO = b"hello world\n"
HELLO_CID = "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4"
"""What `ipfs add --cid-version=1` prints for a file with these bytes."""

codecs = st.integers(min_value=0, max_value=2**63 - 1)
digests = st.binary(min_size=32, max_size=32)
known_codecs = st.sampled_from(["raw", "dag-pb", "dag-cbor", "dag-json", "libp2p-key", "git-raw"])


def encoded(data: bytes) -> str:
    return "b" + base64.b32encode(data).decode().rstrip("=").lower()


def test_known_cid_of_known_bytes() -> None:
    assert str(Cid.of(HELLO)) == HELLO_CID
    assert Cid.parse(HELLO_CID) == Cid(RAW, sha256(HELLO).digest())


def test_fixture_files_are_named_by_their_cid(vectors: Callable[[str], Path]) -> None:
    files = [path for path in vectors("ipld-cid/fixtures").rglob("*") if path.is_file()]
    assert len(files) > 100
    for path in files:
        cid = Cid.parse(path.stem)
        assert Cid.of(path.read_bytes(), cid.codec) == cid
        assert str(cid) == path.stem


def test_multihash_vectors_are_accepted_only_for_full_sha2_256(vectors: Callable[[str], Path]) -> None:
    with vectors("multihash/test_cases.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    accepted = 0
    for row in rows:
        binary = b"\x01\x55" + bytes.fromhex(row["multihash"])
        if (row["algorithm"], row["bits"]) == ("sha2-256", "256"):
            assert Cid.from_bytes(binary) == Cid.of(row["input"].encode())
            accepted += 1
        else:
            with pytest.raises(FormatError):
                Cid.from_bytes(binary)
    assert accepted > 10
    assert len(rows) > 150


@given(known_codecs, digests)
def test_every_spelling_of_the_oracle_is_the_same_cid(codec: str, digest: bytes) -> None:
    oracle = multiformats.CID("base32", 1, codec, ("sha2-256", digest))
    cid = Cid.parse(str(oracle))
    assert cid == Cid(oracle.codec.code, digest)
    assert cid.to_bytes() == bytes(oracle)
    assert str(cid) == str(oracle)
    for base in ("base16", "base16upper", "base32upper", "base58btc", "base64", "base64url"):
        assert Cid.parse(oracle.encode(base)) == cid


@given(digests)
def test_cid_version_0_means_dag_pb(digest: bytes) -> None:
    oracle = multiformats.CID("base58btc", 0, "dag-pb", ("sha2-256", digest))
    cid = Cid.parse(str(oracle))
    assert str(oracle).startswith("Qm")
    assert cid == Cid(DAG_PB, digest)
    assert str(cid) == str(multiformats.CID("base32", 1, "dag-pb", ("sha2-256", digest)))


@given(st.binary(max_size=2000))
def test_cids_of_blocks_equal_the_oracle(block: bytes) -> None:
    digest = multiformats.multihash.digest(block, "sha2-256")
    assert str(Cid.of(block)) == str(multiformats.CID("base32", 1, "raw", digest))


@given(codecs, digests)
def test_binary_form_round_trips(codec: int, digest: bytes) -> None:
    assert Cid.from_bytes(Cid(codec, digest).to_bytes()) == Cid(codec, digest)


def multihash(code: int, digest: bytes) -> bytes:
    return write_varint(code) + write_varint(len(digest)) + digest


@pytest.mark.parametrize(
    ("name", "binary"),
    [
        ("identity", multihash(0x00, b"contains its own bytes")),
        ("identity of 32 bytes", multihash(0x00, bytes(32))),
        ("md5", multihash(0xD5, md5(HELLO, usedforsecurity=False).digest())),
        ("sha1", multihash(0x11, sha1(HELLO, usedforsecurity=False).digest())),
        ("murmur3-x64-64", multihash(0x22, bytes(8))),
        ("sha2-512", multihash(0x13, sha512(HELLO).digest())),
        ("sha2-512 cut to 32 bytes", multihash(0x13, sha512(HELLO).digest()[:32])),
        ("sha2-256 cut to 20 bytes", multihash(0x12, sha256(HELLO).digest()[:20])),
        ("sha2-256 cut to nothing", multihash(0x12, b"")),
        ("sha2-256 that says 31 bytes", b"\x12\x1f" + sha256(HELLO).digest()),
        ("sha2-256 with a byte missing", b"\x12\x20" + sha256(HELLO).digest()[:31]),
        ("sha2-256 with a byte left over", b"\x12\x20" + sha256(HELLO).digest() + b"\0"),
        ("no multihash", b""),
    ],
)
def test_weak_or_cut_multihashes_are_refused(name: str, binary: bytes) -> None:
    with pytest.raises(FormatError):
        Cid.from_bytes(b"\x01\x55" + binary)
    with pytest.raises(FormatError):
        Cid.parse(encoded(b"\x01\x55" + binary))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b",
        "Qm",
        HELLO_CID[1:],
        HELLO_CID[:-1],
        HELLO_CID + "a",
        HELLO_CID + "=",
        HELLO_CID + "\n",
        " " + HELLO_CID,
        HELLO_CID.upper().replace("B", "b", 1),
        HELLO_CID[:10] + HELLO_CID[10].upper() + HELLO_CID[11:],
        HELLO_CID.replace("4", "1"),
        HELLO_CID.replace("b", "х", 1),
        "k" + HELLO_CID[1:],
        "/ipfs/" + HELLO_CID,
        "QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff50",
        "zQmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o",
        "f01 55" + "12" + "20" + "00" * 32,
        "f00551220" + "00" * 32,
        "f02551220" + "00" * 32,
        "f8100551220" + "00" * 32,
        "f01d5001220" + "00" * 32,
        "f01551220" + "00" * 10_000,
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(FormatError):
        Cid.parse(text)


@given(st.text(max_size=140))
def test_any_text_is_a_cid_or_a_format_error(text: str) -> None:
    try:
        cid = Cid.parse(text)
    except FormatError:
        return
    assert Cid.parse(str(cid)) == cid


@given(st.integers(min_value=0, max_value=2**63 - 1), st.binary(max_size=4))
def test_varints_round_trip_and_equal_the_oracle(value: int, rest: bytes) -> None:
    assert write_varint(value) == multiformats.varint.encode(value)
    assert read_varint(write_varint(value) + rest) == (value, rest)


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x80\x00", b"\xff\x80\x00", b"\xff" * 9 + b"\x01"])
def test_varints_that_are_cut_long_or_padded_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        read_varint(data)
