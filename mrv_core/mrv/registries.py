# SPDX-License-Identifier: MIT
"""What the registries of the verifier's configuration have under the id of a record, and what follows from it.

Everyone can register any id, so that an id alone convicts nobody: a squatter's registration must not make an honest
record look changed. Whose registration counts, the verifier's settings say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from mrv_core.driver import Registered, Registration
from mrv_core.errors import MrvError
from mrv_core.hashing import Digest
from mrv_core.manager import BlockchainManager
from mrv_core.models import Receipt, Verdict, format_time
from mrv_core.report.model import Finding


@dataclass(slots=True)
class LookUp:
    """What was found under one id.

    Attributes:
        receipts: Of the record itself, by network.
        answers: What each registry has.
        failures: Why a registry could not be asked.
    """

    receipts: dict[str, Receipt] = field(default_factory=dict)
    answers: dict[str, Registered] = field(default_factory=dict)
    failures: dict[str, MrvError] = field(default_factory=dict)

    @property
    def notes(self) -> str:
        """What else is registered under the id, for people."""
        lines = [
            f"{network}: " + "; ".join(_who(other) for other in answer.others)
            for network, answer in sorted(self.answers.items())
            if answer.others
        ]
        return "; ".join(lines)

    def findings(self, mrv_id: str, commitment: Digest, *, is_anchored: bool) -> Iterator[Finding]:
        """Yield what contradicts that the id is this record's.

        Args:
            mrv_id: The id.
            commitment: Hash of the record.
            is_anchored: Whether any network has a receipt of the record.
        """
        for network, error in sorted(self.failures.items()):
            message = f"the registry could not be asked for {mrv_id}: {error.message}"
            yield Finding(verdict=Verdict.UNREACHABLE, place=f"registry:{network}", message=message)
        for network, answer in sorted(self.answers.items()):
            for other in answer.others:
                verdict = _verdict(other, commitment, is_registered=network in self.receipts, is_anchored=is_anchored)
                if verdict is not None:
                    yield Finding(
                        verdict=verdict,
                        place=f"registry:{network}",
                        message=f"another record is registered as {mrv_id}: {_who(other)}",
                        expected=str(other.commitment),
                        computed=str(commitment),
                    )


def look_up(manager: BlockchainManager, mrv_id: str, commitment: Digest) -> LookUp:
    """Ask the registries of the selected networks for an id."""
    found = LookUp()
    for network, answer in manager.find_registered(mrv_id, commitment).items():
        if isinstance(answer, MrvError):
            found.failures[network] = answer
            continue
        found.answers[network] = answer
        if answer.receipt is not None:
            found.receipts[network] = answer.receipt
    return found


def _verdict(other: Registration, commitment: Digest, *, is_registered: bool, is_anchored: bool) -> Verdict | None:
    if other.commitment == commitment:
        return None
    if other.is_expected:
        return Verdict.TAMPERED
    if other.is_expected is None and not is_registered:  # nobody was named whose word counts more
        return Verdict.DISAGREE if is_anchored else Verdict.TAMPERED
    return None


def _who(other: Registration) -> str:
    stranger = ", who is not expected to" if other.is_expected is False else ""
    return f"{other.submitter} registered {other.commitment} at {format_time(other.registered_at)}{stranger}"
