# SPDX-License-Identifier: MIT
"""Reading Ethereum's Merkle-Patricia tries (Yellow Paper, appendix D), from a store of nodes or from a proof.

A proof is the list of nodes on the way from the root to the key, the root first, as `eth_getProof` returns it
(EIP-1186). Producing and checking one is the same walk; only where the next node comes from differs. The walk
checks every node against the hash that its parent, or the root, commits to, so it can be fed from anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from mrv_backends_eth import rlp
from mrv_backends_eth.keccak import keccak256
from mrv_core.errors import VerificationError

EMPTY_ROOT: Final = bytes.fromhex("56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421")
"""Root of a trie without entries: keccak256(rlp(''))."""

_BRANCH, _PAIR = 17, 2


def read(root: bytes, key: bytes, fetch: Callable[[bytes], bytes]) -> bytes | None:
    """Look a key up.

    Args:
        root: Root hash, 32 bytes.
        key: The key as the trie has it; state and storage tries are keyed by keccak256 of address and slot.
        fetch: Returns the bytes of the node with a given hash.

    Returns:
        The value, or None where the trie shows that the key is absent.

    Raises:
        VerificationError: a node that is malformed or does not have the hash it was asked for.
    """
    if root == EMPTY_ROOT:
        return None
    child: rlp.Item = root
    nibbles = key.hex()
    while child != b"":
        # A node shorter than a hash stands in its parent in full.
        node = child if isinstance(child, list) else _load(rlp.as_bytes(child, what="trie node", size=32), fetch)
        if len(node) == _BRANCH:
            if not nibbles:
                return _value(node[-1])
            child, nibbles = node[int(nibbles[0], 16)], nibbles[1:]
        elif len(node) == _PAIR:
            path, is_leaf = _path(node[0])
            if is_leaf:
                return _value(node[1]) if nibbles == path else None
            if not nibbles.startswith(path):
                return None
            child, nibbles = node[1], nibbles[len(path) :]
        else:
            raise VerificationError(f"trie node has {len(node)} items")
    return None


def prove(root: bytes, key: bytes, fetch: Callable[[bytes], bytes]) -> tuple[bytes | None, list[bytes]]:
    """Look a key up and return the nodes passed on the way as a proof.

    Raises:
        VerificationError: see `read`.
    """
    nodes: list[bytes] = []

    def recording(digest: bytes) -> bytes:
        nodes.append(fetch(digest))
        return nodes[-1]

    return read(root, key, recording), nodes


def verify(root: bytes, key: bytes, nodes: Sequence[bytes]) -> bytes | None:
    """Check a proof of presence or absence.

    Args:
        root: Root hash that is trusted, 32 bytes.
        key: See `read`.
        nodes: Nodes from the root to the key, in this order, each used exactly once.

    Returns:
        The value, or None where the proof shows that the key is absent.

    Raises:
        VerificationError: anything else, superfluous nodes included.
    """
    remaining = iter(nodes)

    def following(_: bytes) -> bytes:
        try:
            return next(remaining)
        except StopIteration:
            raise VerificationError("trie proof ends before its key") from None

    value = read(root, key, following)
    if next(remaining, None) is not None:
        raise VerificationError("trie proof has nodes that belong to no step")
    return value


def _load(digest: bytes, fetch: Callable[[bytes], bytes]) -> list[rlp.Item]:
    data = fetch(digest)
    if keccak256(data) != digest:
        raise VerificationError("a trie node does not have the hash its parent commits to")
    return rlp.decode_list(data, what="trie node")


def _path(item: rlp.Item) -> tuple[str, bool]:
    """Decode hex-prefix encoding (Yellow Paper, appendix C) into nibbles and the leaf flag."""
    text = rlp.as_bytes(item, what="trie path").hex()
    flag, rest = text[:1], text[1:]
    if flag in ("0", "2"):
        padding, rest = rest[:1], rest[1:]
        if padding != "0":
            raise VerificationError("trie path is not padded with zero")
    elif flag not in ("1", "3"):
        raise VerificationError("trie path has no valid prefix")
    is_leaf = flag in ("2", "3")
    if not rest and not is_leaf:
        raise VerificationError("trie extension has no path")
    return rest, is_leaf


def _value(item: rlp.Item) -> bytes | None:
    return rlp.as_bytes(item, what="trie value") or None
