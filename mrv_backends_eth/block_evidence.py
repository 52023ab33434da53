# SPDX-License-Identifier: MIT
"""What the forms of evidence have in common: how they are read, and the header that everything is recomputed from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field

from mrv_backends_eth.headers import Header
from mrv_backends_eth.hexadecimal import Hex, Proof, to_hex
from mrv_core.errors import FormatError, VerificationError
from mrv_core.models import Model


class Evidence(Model):
    """Any form of evidence; each has a `format` of its own."""

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> Self:
        """Read a receipt's evidence.

        Raises:
            VerificationError: malformed evidence is wrong evidence.
        """
        try:
            return cls.from_json(dict(value), what="Ethereum evidence")
        except FormatError as error:
            raise VerificationError(error.message) from error


class BlockEvidence(Evidence):
    """Evidence that follows from the header of a block.

    Attributes:
        block_number, block_hash: The block; both are recomputed from `header`.
        header: The block header in RLP.
    """

    block_number: int = Field(ge=0, lt=2**53)
    block_hash: Hex
    header: Hex

    def proven_header(self) -> Header:
        """Return the header, which has the number and the hash that the evidence names.

        Raises:
            VerificationError: it has not.
        """
        header = Header.parse(self.header)
        if self.block_hash != header.hash or self.block_number != header.number:
            raise VerificationError(
                f"the evidence names block {self.block_number} {to_hex(self.block_hash)}, "
                f"its header is that of block {header.number} {to_hex(header.hash)}"
            )
        return header


class ContractEvidence(BlockEvidence):
    """Evidence of what a contract keeps in the state of a block.

    Attributes:
        contract: Its address, 20 bytes.
        submitter: Address that stated what it keeps, 20 bytes.
        account_proof: Nodes from the header's state root to the contract's account (EIP-1186).
    """

    contract: Hex
    submitter: Hex
    account_proof: Proof

    def require_addresses(self) -> None:
        """Check that the addresses have 20 bytes.

        Raises:
            VerificationError: one has not.
        """
        if len(self.contract) != 20 or len(self.submitter) != 20:
            raise VerificationError("an address in the evidence has not 20 bytes")
