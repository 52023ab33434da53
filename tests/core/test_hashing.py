# SPDX-License-Identifier: MIT
"""Digests and the algorithms that may be used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrv_core.errors import FormatError
from mrv_core.hashing import Digest, HashFactory, length_prefixed

ALGORITHMS = HashFactory.algorithms()
ABC = {  # FIPS 180-2 B.1; FIPS 202 example; RFC 7693 with 32 bytes (b2sum -l 256); BLAKE3's own tests (b3sum)
    "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    "sha3-256": "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
    "blake2b-256": "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319",
    "blake3": "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
}


def test_allowed_algorithms() -> None:
    assert set(ALGORITHMS) == set(ABC)
    assert HashFactory.DEFAULT == "blake3"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_known_answer(algorithm: str) -> None:
    assert HashFactory.digest(b"abc", algorithm) == Digest(algorithm, bytes.fromhex(ABC[algorithm]))


def test_blake3_public_vectors(vectors: Callable[[str], Path]) -> None:
    cases = json.loads(vectors("blake3/test_vectors.json").read_bytes())["cases"]
    assert cases
    for case in cases:
        data = bytes(i % 251 for i in range(case["input_len"]))
        assert HashFactory.digest(data, "blake3").hex == case["hash"][:64], case["input_len"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(pieces=st.lists(st.binary(max_size=100), max_size=5))
def test_hashing_in_pieces(algorithm: str, pieces: list[bytes]) -> None:
    hasher = HashFactory.create(algorithm)
    for piece in pieces:
        hasher.update(memoryview(piece))
    assert Digest(algorithm, hasher.digest()) == HashFactory.digest(b"".join(pieces), algorithm)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_text_form_round_trips(algorithm: str) -> None:
    digest = HashFactory.digest(b"x", algorithm)
    assert str(digest) == f"{algorithm}:{digest.hex}"
    assert Digest.parse(str(digest)) == digest


def test_equal_bytes_under_two_algorithms_are_two_digests() -> None:
    assert Digest("sha256", bytes(32)) != Digest("blake3", bytes(32))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ab" * 32,
        "sha256",
        "sha256:",
        "sha256:" + "ab" * 31,
        "sha256:" + "ab" * 33,
        "sha256:" + "a" * 63,
        "sha256:" + "AB" * 32,
        "sha256:" + "0x" + "ab" * 31,
        "sha256:" + "ab" * 31 + "+1",
        "sha256:" + " " + "ab" * 31 + "a",
        "sha256:" + "ab" * 32 + "\n",
        "sha256:" + "\u0661" * 64,
        "sha256::" + "ab" * 32,
        " sha256:" + "ab" * 32,
        None,
        7,
        b"sha256:" + b"ab" * 32,
    ],
)
def test_malformed_text_is_refused(text: Any) -> None:
    with pytest.raises(FormatError):
        Digest.parse(text)


@pytest.mark.parametrize("value", [b"", bytes(31), bytes(33), "ab" * 32, bytearray(32), None])
def test_value_must_be_32_bytes(value: Any) -> None:
    with pytest.raises(FormatError, match="32 bytes"):
        Digest("sha256", value)


def test_unknown_algorithm_suggests_the_right_spelling() -> None:
    near = {"SHA-256": "sha256", "sha3_256": "sha3-256", "BLAKE2b": "blake2b-256", "blake": "blake3"}
    for wrong, right in near.items():
        with pytest.raises(FormatError, match=f"unknown hash algorithm '{wrong}'") as caught:
            HashFactory.create(wrong)
        assert caught.value.hint == f"did you mean {right!r}?"
    with pytest.raises(FormatError) as caught:
        HashFactory.create("whirlpool")
    assert caught.value.hint == "use one of blake2b-256, blake3, sha256, sha3-256"


@given(st.lists(st.binary(max_size=20), max_size=4), st.lists(st.binary(max_size=20), max_size=4))
def test_length_prefixed_sequences_are_unambiguous(one: list[bytes], other: list[bytes]) -> None:
    joined = b"".join(map(length_prefixed, one))
    assert (joined == b"".join(map(length_prefixed, other))) == (one == other)
