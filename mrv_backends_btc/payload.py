# SPDX-License-Identifier: MIT
"""The 37 bytes that an anchor puts into a transaction (docs/networks/bitcoin.md).

    4D 52 56 31    "MRV1"
    aa             code of the algorithm of the commitment
    32 bytes       the commitment

They stand in an output script OP_RETURN (6A), a push of 37 bytes (25), and the payload: 39 bytes, which every policy
on data carriers accepts that accepts any. No other script is one of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from mrv_backends_btc.transaction import Transaction
from mrv_core.hashing import DIGEST_SIZE, Digest

TAG: Final = b"MRV1"
CODES: Final[Mapping[str, int]] = MappingProxyType(
    {"sha256": 0x12, "sha3-256": 0x16, "blake3": 0x1E, "blake2b-256": 0xB2}
)
"""Multihash codes of the algorithms; blake2b-256, whose code 0xB220 needs two bytes, has the first of them."""
PAYLOAD_SIZE: Final = len(TAG) + 1 + DIGEST_SIZE
_SCRIPT_HEAD: Final = bytes([0x6A, PAYLOAD_SIZE])
COMMITMENT_OFFSET: Final = len(_SCRIPT_HEAD) + len(TAG) + 1
"""Where the commitment begins in the output script."""

_ALGORITHMS: Final = {code: algorithm for algorithm, code in CODES.items()}


def encode_payload(commitment: Digest) -> bytes:
    """Return the 37 bytes for a commitment."""
    return TAG + bytes([CODES[commitment.algorithm]]) + commitment.value


def output_script(commitment: Digest) -> bytes:
    """Return the 39 bytes of the output script for a commitment."""
    return _SCRIPT_HEAD + encode_payload(commitment)


def decode_script(script: bytes) -> Digest | None:
    """Return the commitment in an output script, or None where the script is not exactly one of ours."""
    head = _SCRIPT_HEAD + TAG
    if len(script) != len(_SCRIPT_HEAD) + PAYLOAD_SIZE or not script.startswith(head):
        return None
    algorithm = _ALGORITHMS.get(script[len(head)])
    return None if algorithm is None else Digest(algorithm, script[COMMITMENT_OFFSET:])


def commitments_in(transaction: Transaction) -> list[tuple[int, Digest]]:
    """Return the zero-based output index and the commitment of every output of ours."""
    found = ((index, decode_script(output.script)) for index, output in enumerate(transaction.outputs))
    return [(index, commitment) for index, commitment in found if commitment is not None]
