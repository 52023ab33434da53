# SPDX-License-Identifier: MIT
"""What proves an anchor on a `MemoryChain`, recomputed from scratch."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from mrv_core.errors import FormatError, RootMismatchError
from mrv_core.merkle import leaf_hash, root_from_inclusion
from mrv_core.models import Model
from mrv_core.testing.blocks import Block, ChainAnchor

_LAST_SECOND: Final = 253_402_300_799  # 9999-12-31, the last day `datetime` knows


class MemoryEvidence(Model):
    """Proof that an anchor is in a block: the block's header, and the path from the payload to its root.

    Attributes:
        payload: The anchor's bytes, hexadecimal.
        block_hash: 32 bytes, hexadecimal, as are `parent` and each element of `path`.
        number, branch, parent, time, size: The header, see `Block`; its root is recomputed from the path.
        position: Zero-based position of the payload in the block.
        path: Siblings, the leaf's first.
    """

    payload: str
    block_hash: str
    number: int = Field(ge=0, lt=2**53)
    branch: int = Field(ge=0, lt=2**53)
    parent: str
    time: int = Field(ge=0, le=_LAST_SECOND)
    size: int = Field(ge=1, lt=2**53)
    position: int = Field(ge=0, lt=2**53)
    path: tuple[str, ...]

    @classmethod
    def of(cls, anchor: ChainAnchor, block: Block, network_id: str) -> MemoryEvidence:
        """Write down the proof that the chain gave."""
        return cls(
            payload=anchor.payload.hex(),
            block_hash=block.hash(network_id).hex(),
            number=block.number,
            branch=block.branch,
            parent=block.parent.hex(),
            time=block.time,
            size=block.size,
            position=anchor.position,
            path=tuple(node.hex() for node in anchor.path),
        )

    def block(self, network_id: str) -> Block:
        """Recompute the header from payload and path.

        Raises:
            FormatError: something in it is not hexadecimal.
            VerificationError: the path does not fit, or leads to another block hash.
        """
        path = [from_hex(node) for node in self.path]
        root = root_from_inclusion(leaf_hash(from_hex(self.payload)), self.position, self.size, path)
        block = Block(self.number, self.branch, from_hex(self.parent), self.time, self.size, root)
        if block.hash(network_id).hex() != self.block_hash:
            computed = block.hash(network_id).hex()
            raise RootMismatchError("evidence leads to another block", expected=self.block_hash, computed=computed)
        return block


def from_hex(text: str) -> bytes:
    """Decode lower-case hexadecimal, and nothing that merely looks like it to `bytes.fromhex`."""
    try:
        data = bytes.fromhex(text)
    except ValueError as error:
        raise FormatError("not hexadecimal") from error
    if data.hex() != text:
        raise FormatError("not lower-case hexadecimal without spaces")
    return data
