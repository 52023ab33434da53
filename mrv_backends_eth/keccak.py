# SPDX-License-Identifier: MIT
"""Keccak-256, the hash of everything in Ethereum."""

from __future__ import annotations

from Crypto.Hash import keccak


def keccak256(data: bytes) -> bytes:
    """Return the Keccak-256 digest, which is not SHA3-256: FIPS 202 pads differently."""
    return keccak.new(digest_bits=256, data=data).digest()
