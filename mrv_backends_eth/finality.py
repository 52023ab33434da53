# SPDX-License-Identifier: MIT
"""When a block counts as final: some blocks deep, or when the chain itself says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from mrv_backends_eth.chains import DEVELOPMENT
from mrv_backends_eth.node import Block, Call, Node
from mrv_core.errors import BackendUnavailableError
from mrv_core.models import ReceiptState
from mrv_core.transport import RpcError

FINALIZED: Final = "finalized"
Rule: TypeAlias = int | Literal["finalized"]


@dataclass(frozen=True, slots=True)
class Tip:
    """The end of a chain at one moment.

    Attributes:
        head: The newest block.
        final: Number of the newest block that counts as final; below zero where none does.
    """

    head: Block
    final: int

    def confirmations(self, number: int) -> int:
        """Count the blocks from one to the newest, both included."""
        return max(0, self.head.header.number - number + 1)

    def state(self, number: int) -> ReceiptState:
        """Return the state of what is in a block."""
        return ReceiptState.FINAL if number <= self.final else ReceiptState.INCLUDED


class Finality:
    """Asks a node for the end of its chain.

    Args:
        rule: Depth in blocks, or `finalized`.
    """

    def __init__(self, rule: Rule) -> None:
        self.rule: Final = rule

    @classmethod
    def of(cls, rule: Rule | None, chain_id: int, *, is_local: bool) -> Finality:
        """Return the configured rule, or the default of a chain: its own finality, but 1 where nobody competes."""
        if rule is None:
            return cls(1 if is_local or chain_id in DEVELOPMENT else FINALIZED)
        return cls(rule)

    @property
    def calls(self) -> list[Call]:
        """The questions that `read` needs the answers of."""
        tags = ["latest"] if self.rule != FINALIZED else ["latest", FINALIZED]
        return [("eth_getBlockByNumber", [tag, False]) for tag in tags]

    def read(self, node: Node, answers: Sequence[Any]) -> Tip:
        """Read the answers to `calls`.

        Raises:
            BackendUnavailableError: the node does not know what is final.
        """
        head = node.block(answers[0])
        if head is None:
            raise BackendUnavailableError(f"{node.name} has no newest block", retryable=True)
        if self.rule != FINALIZED:
            return Tip(head, head.header.number - int(self.rule) + 1)
        if isinstance(answers[1], RpcError):
            raise BackendUnavailableError(
                f"{node.name} does not say which blocks are final: {answers[1].reason}",
                hint="set 'finality' of this network to a number of blocks",
            )
        final = node.block(answers[1])  # absent on a chain that is younger than its first finalized block
        return Tip(head, final.header.number if final is not None else -1)
