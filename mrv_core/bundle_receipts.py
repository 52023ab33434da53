# SPDX-License-Identifier: MIT
"""What one receipt of a bundle shows: by itself, and once its network was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import Field

from mrv_core.driver import TrustedFacts
from mrv_core.errors import (
    AnchorNotFoundError,
    ConfigurationError,
    FormatError,
    MrvError,
    VerificationError,
)
from mrv_core.hashing import Digest
from mrv_core.manager import BlockchainManager
from mrv_core.models import (
    DriverStatus,
    ExaminedReceipt,
    Json,
    Model,
    Receipt,
    ReceiptState,
    TimeField,
    Verdict,
    VerifiedAnchor,
)
from mrv_core.registry import Registry

_STATE_ORDER: Final = tuple(ReceiptState)
_HINTS: Final = {
    Verdict.PENDING: "run 'mrv flush' beside the run and export the bundle again",
    Verdict.UNREACHABLE: "ask the network with --config, or compare the value yourself and give it with an option",
}


class NetworkCheck(Model):
    """What is known about one receipt of a bundle.

    Attributes:
        network: The name it has in the bundle: a label.
        driver: Name of the driver that made it.
        verdict: VALID where nothing remains to be asked or trusted but what `trusts` says.
        detail: One line for people.
        hint: What to do next where the verdict is not VALID.
        network_id: Which network it really is.
        embedded: True where the network lives in a folder and proves nothing to others.
        reference: Transaction id, CID or leaf reference.
        asked: Whether the network itself was asked and answered.
        state: PENDING, INCLUDED or FINAL: as the receipt says, or as checked now where the network was asked.
        block_hash: Block that the evidence leads to, 64 hexadecimal digits as explorers show them.
        block_time: Time that this block attests.
        confirmations: Blocks on top, counting the including one, where the network was asked.
        facts: Further recomputed or checked facts.
        remaining: What still has to be asked or trusted, one sentence each with the value to compare.
        trusts: What the verdict rests on besides the evidence, one sentence each.
    """

    network: str
    driver: str
    verdict: Verdict
    detail: str
    hint: str | None = None
    network_id: str
    embedded: bool
    reference: str
    asked: bool = False
    state: str
    block_hash: str | None = None
    block_time: TimeField | None = None
    confirmations: int | None = None
    facts: dict[str, Json] = Field(default={})
    remaining: tuple[str, ...] = ()
    trusts: tuple[str, ...] = ()


def examine_receipt(
    registry: Registry, network: str, receipt: Receipt, commitment: Digest, trusted: TrustedFacts
) -> NetworkCheck:
    """Check that a receipt is for a commitment, and its evidence by its driver's examiner, with nobody asked.

    A driver that is not installed, or has no examiner, leaves everything open; the receipt is never valid then.

    Raises:
        ConfigurationError: what the verifier trusts is not of the form that the driver understands.
    """
    if receipt.commitment != commitment:
        detail = f"the receipt is for {receipt.commitment}, not for {commitment}"
        return _check(network, receipt, Verdict.TAMPERED, detail)
    try:
        examine = registry.examiner(receipt.driver)
    except ConfigurationError as error:
        return _open(network, receipt, f"nothing of it could be checked: {error.message}", hint=error.hint)
    if examine is None:
        return _open(network, receipt, f"the driver {receipt.driver!r} can check it only by asking the network")
    try:
        examined = examine(receipt, commitment, trusted)
        _require_same(examined, receipt, commitment)
    except ConfigurationError:
        raise
    except (VerificationError, FormatError) as error:  # malformed evidence is wrong evidence
        return _check(network, receipt, Verdict.TAMPERED, error.message, hint=error.hint)
    except MrvError as error:
        return _open(network, receipt, f"nothing of it could be checked: {error.message}", hint=error.hint)
    except Exception as error:  # a plugin may raise anything; its text is not repeated
        detail = f"defect in the examiner of the driver {receipt.driver!r}: it raised {type(error).__name__}"
        return _open(network, receipt, detail, hint="report it to the authors of the driver")
    return _examined(network, receipt, examined)


def ask_networks(
    manager: BlockchainManager, checks: Sequence[NetworkCheck], receipts: Mapping[str, Receipt], commitment: Digest
) -> list[NetworkCheck]:
    """Ask the networks that the verifier's configuration has under the same name with the same driver.

    A network that is not there, cannot be asked, or is another one than the receipt names leaves its receipt as it was
    examined.

    Returns:
        The checks in the same order, brought up to date.
    """
    configured = manager.config.networks
    names = [check.network for check in checks if _is_same(configured.get(check.network), check)]

    def ask(network: str) -> VerifiedAnchor:
        return manager.verify_receipt(network, receipts[network], commitment)

    answers = manager.parallel(names, ask)
    # A name is a label: what is "ethereum" to one is another chain to somebody else, who must not call it tampered.
    here = manager.status([name for name, answer in answers.items() if isinstance(answer, VerificationError)])

    def settled(check: NetworkCheck) -> NetworkCheck:
        status = here.get(check.network)
        if isinstance(status, DriverStatus) and _is_another(status, check):
            return _elsewhere(check, status)
        return _answered(manager, check, answers[check.network]) if check.network in answers else _unasked(check)

    return [settled(check) for check in checks]


def _is_same(section: Any, check: NetworkCheck) -> bool:
    return section is not None and section.driver == check.driver


def _is_another(status: DriverStatus, check: NetworkCheck) -> bool:
    return status.network_id is not None and (status.network_id, status.embedded) != (check.network_id, check.embedded)


def _require_same(examined: ExaminedReceipt, receipt: Receipt, commitment: Digest) -> None:
    shown = (examined.commitment, examined.reference, examined.network_id)
    if shown != (commitment, receipt.reference, receipt.network_id):
        raise VerificationError(f"{receipt.driver}: the receipt is about something else than it says")


def _examined(network: str, receipt: Receipt, examined: ExaminedReceipt) -> NetworkCheck:
    remaining = examined.remaining
    if examined.state is ReceiptState.PENDING:
        verdict, detail = Verdict.PENDING, "the network had not included it when the receipt was written"
        remaining = remaining or ("that the network includes it",)
    elif remaining:
        verdict, detail = Verdict.UNREACHABLE, "the evidence holds by itself; something remains to be asked or trusted"
    else:
        verdict, detail = Verdict.VALID, "the evidence holds by itself, and what it rests on is trusted"
    return _check(
        network,
        receipt,
        verdict,
        detail,
        hint=_HINTS.get(verdict),
        state=examined.state,
        block_hash=examined.block_hash,
        block_time=examined.block_time,
        facts=examined.facts,
        remaining=remaining,
        trusts=examined.trusts,
    )


def _answered(manager: BlockchainManager, check: NetworkCheck, answer: VerifiedAnchor | MrvError) -> NetworkCheck:
    if isinstance(answer, VerifiedAnchor):
        return _verified(manager, check, answer)
    if isinstance(answer, VerificationError):
        return check.model_copy(
            update={"asked": True, "verdict": Verdict.TAMPERED, "detail": answer.message, "hint": answer.hint}
        )
    if isinstance(answer, AnchorNotFoundError) and not check.embedded:
        return check.model_copy(
            update={"asked": True, "verdict": Verdict.NOT_FOUND, "detail": answer.message, "hint": answer.hint}
        )
    if isinstance(answer, AnchorNotFoundError):  # every folder has embedded networks of its own
        return _still(check, f"the embedded network here is not the one it was anchored on: {answer.message}")
    return _still(check, f"the network could not be asked: {answer.message}", hint=answer.hint)


def _verified(manager: BlockchainManager, check: NetworkCheck, answer: VerifiedAnchor) -> NetworkCheck:
    needed = manager.config.policy.state
    reached = _STATE_ORDER.index(answer.state) >= _STATE_ORDER.index(needed)
    return check.model_copy(
        update={
            "asked": True,
            "verdict": Verdict.VALID if reached else Verdict.PENDING,
            "detail": "the network holds it" if reached else f"{answer.state}; the policy asks for {needed}",
            "hint": None if reached else "verify again later",
            "state": str(answer.state),
            "block_time": answer.block_time if answer.block_time is not None else check.block_time,
            "confirmations": answer.confirmations,
            "facts": {**check.facts, **answer.facts},
            "remaining": (),
            "trusts": answer.trusts,
        }
    )


def _unasked(check: NetworkCheck) -> NetworkCheck:
    return _still(
        check,
        f"the verifier's configuration has no network {check.network!r} with the driver {check.driver!r}",
        hint="name a configuration that has it with --config",
    )


def _elsewhere(check: NetworkCheck, here: DriverStatus) -> NetworkCheck:
    kind = "the embedded network" if here.embedded else "the network"
    return _still(
        check,
        f"{kind} {check.network!r} of the verifier's configuration is {here.network_id}, another one",
        hint="name a configuration that has the right one with --config",
    )


def _still(check: NetworkCheck, why: str, hint: str | None = None) -> NetworkCheck:
    """Leave a receipt as it was examined, and say why its network did not decide."""
    return check.model_copy(update={"detail": f"{check.detail}; {why}", "hint": hint or check.hint})


def _open(network: str, receipt: Receipt, detail: str, hint: str | None = None) -> NetworkCheck:
    remaining = (f"that {receipt.reference} on {receipt.network_id} is an anchor of {receipt.commitment}",)
    verdict = Verdict.PENDING if receipt.state is ReceiptState.PENDING else Verdict.UNREACHABLE
    return _check(network, receipt, verdict, detail, hint=hint, remaining=remaining)


def _check(network: str, receipt: Receipt, verdict: Verdict, detail: str, **given: Any) -> NetworkCheck:
    known: dict[str, Any] = {
        "network": network,
        "driver": receipt.driver,
        "network_id": receipt.network_id,
        "embedded": receipt.embedded,
        "reference": receipt.reference,
        "state": str(receipt.state),
        **given,
    }
    return NetworkCheck(verdict=verdict, detail=detail, **{**known, "state": str(known["state"])})
