# SPDX-License-Identifier: MIT
"""The curve of Ethereum's keys (SEC 2, section 2.4.1): the address of a key, and of whoever signed something.

For reading, so that a signature can be attributed without any library of this driver. Nothing is signed here:
the time that these functions take depends on what they are given.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from mrv_backends_eth.keccak import keccak256
from mrv_core.errors import VerificationError

ORDER: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
"""Number of points; private keys and both halves of a signature are between zero and it."""
_PRIME: Final = 2**256 - 2**32 - 977
_BASE: Final = (
    0x79BE667E_F9DCBBAC_55A06295_CE870B07_029BFCDB_2DCE28D9_59F2815B_16F81798,
    0x483ADA77_26A3C465_5DA4FBFC_0E1108A8_FD17B448_A6855419_9C47D08F_FB10D4B8,
)

_Jacobian: TypeAlias = tuple[int, int, int]
_NOWHERE: Final[_Jacobian] = (1, 1, 0)


def address_of_key(key: bytes) -> bytes:
    """Return the address, 20 bytes, of a private key, 32 bytes big-endian and in range."""
    return _address(_multiply(_lift(_BASE), int.from_bytes(key, "big")))


def recover(digest: bytes, parity: int, r: int, s: int) -> bytes:
    """Return the address that signed a digest (SEC 1, section 4.1.6; Yellow Paper, appendix F).

    Args:
        digest: What was signed, 32 bytes.
        parity: Whether the y of the signature's point is odd.
        r: First half of the signature.
        s: Second half of the signature.

    Raises:
        VerificationError: no key can have made this signature, or it is the mirrored one that EIP-2 forbids.
    """
    if parity not in (0, 1) or not 0 < r < ORDER or not 0 < s <= ORDER // 2:
        raise VerificationError("the transaction's signature is out of range")
    square = (pow(r, 3, _PRIME) + 7) % _PRIME
    y = pow(square, (_PRIME + 1) // 4, _PRIME)
    if y * y % _PRIME != square:
        raise VerificationError("the transaction's signature is no point of the curve")
    point = (r, y if y % 2 == parity else _PRIME - y)
    inverse = pow(r, -1, ORDER)
    message = int.from_bytes(digest, "big")
    signer = _add(_multiply(_lift(point), s * inverse % ORDER), _multiply(_lift(_BASE), -message * inverse % ORDER))
    if signer[2] == 0:
        raise VerificationError("the transaction's signature belongs to no key")
    return _address(signer)


def _lift(point: tuple[int, int]) -> _Jacobian:
    return (*point, 1)


def _address(point: _Jacobian) -> bytes:
    inverse = pow(point[2], -1, _PRIME)
    square = inverse * inverse % _PRIME
    x, y = point[0] * square % _PRIME, point[1] * square * inverse % _PRIME
    return keccak256(x.to_bytes(32, "big") + y.to_bytes(32, "big"))[12:]


def _multiply(point: _Jacobian, factor: int) -> _Jacobian:
    total = _NOWHERE
    for bit in f"{factor:b}":
        total = _double(total)
        if bit == "1":
            total = _add(total, point)
    return total


def _double(point: _Jacobian) -> _Jacobian:
    x, y, z = point
    if z == 0:
        return point
    square = y * y % _PRIME
    s, m = 4 * x * square % _PRIME, 3 * x * x % _PRIME
    new_x = (m * m - 2 * s) % _PRIME
    return new_x, (m * (s - new_x) - 8 * square * square) % _PRIME, 2 * y * z % _PRIME


def _add(one: _Jacobian, other: _Jacobian) -> _Jacobian:
    if one[2] == 0 or other[2] == 0:
        return other if one[2] == 0 else one
    z1, z2 = one[2] * one[2] % _PRIME, other[2] * other[2] % _PRIME
    u1, u2 = one[0] * z2 % _PRIME, other[0] * z1 % _PRIME
    s1, s2 = one[1] * z2 * other[2] % _PRIME, other[1] * z1 * one[2] % _PRIME
    if u1 == u2:
        return _double(one) if s1 == s2 else _NOWHERE
    h, r = (u2 - u1) % _PRIME, (s2 - s1) % _PRIME
    h2 = h * h % _PRIME
    h3, v = h2 * h % _PRIME, u1 * h2 % _PRIME
    x = (r * r - h3 - 2 * v) % _PRIME
    return x, (r * (v - x) - s1 * h3) % _PRIME, one[2] * other[2] * h % _PRIME
