# SPDX-License-Identifier: MIT
"""Verification of a bundle: offline as far as that goes, then the networks that the verifier can ask.

Steps 1 to 6 need nothing but the file. What they leave open is said, network by network, in one sentence each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from mrv_core.bundle import MAX_BUNDLE_BYTES, Bundle
from mrv_core.bundle_content import compare_with_leaf
from mrv_core.bundle_receipts import NetworkCheck, ask_networks, examine_receipt
from mrv_core.driver import TrustedFacts
from mrv_core.errors import ConfigurationError, FormatError, RootMismatchError, VerificationError
from mrv_core.files import read_limited
from mrv_core.hashing import Digest
from mrv_core.manager import BlockchainManager
from mrv_core.models import DigestField, Json, Model, Receipt, TimeField, Verdict, utc_now
from mrv_core.registry import Registry
from mrv_core.report.model import Step
from mrv_core.verification import combine_verdicts, worst

_EVERY_RECEIPT: Final = "every receipt of the bundle must be valid"


class BundleLeaf(Model):
    """The node that a bundle proves.

    Attributes:
        path: Path name.
        kind: `branch`, `absent` or the kind of content.
        digest: Content digest of a leaf.
        size: Number of children of a branch.
        value: The value of a `json` leaf, where it is shown.
    """

    path: str
    kind: str
    digest: DigestField | None
    size: int | None
    value: Json = None


class BundleReport(Model):
    """Everything one verification of a bundle found out.

    Attributes:
        format: Version of this format.
        source: The file.
        verdict: The overall verdict.
        summary: One sentence for people.
        created_at: When this report was made, by this machine's clock.
        offline: Whether no network was asked because the verifier wanted none to be.
        run_id, phase, root: The run's, None where the file could not be read. Proven where steps 1 and 2 are VALID.
        anchored: What the receipts commit to: the root, or its batch.
        leaf: The proven node, where there is one. Proven where step 3 is VALID too.
        rule: What combined the verdicts, in words.
        steps: The eight steps.
        networks: One result a receipt, sorted by name.
    """

    format: Literal["mrv-bundle-report/1"] = "mrv-bundle-report/1"
    source: str
    verdict: Verdict
    summary: str
    created_at: TimeField
    offline: bool
    run_id: str | None = None
    phase: str | None = None
    root: DigestField | None = None
    anchored: DigestField | None = None
    leaf: BundleLeaf | None = None
    rule: str
    steps: tuple[Step, ...]
    networks: tuple[NetworkCheck, ...]


@dataclass(frozen=True, slots=True)
class Expectations:
    """What a verifier expects of a bundle, from a source of their own.

    Attributes:
        root: The run's root.
        content: File or folder that the proven leaf must be of.
        networks: Networks whose receipts must be valid; None for all that the bundle has.
    """

    root: Digest | None = None
    content: Path | None = None
    networks: tuple[str, ...] | None = None


@dataclass(slots=True)
class _Run:
    """What the steps hand to one another."""

    bundle: Bundle | None = None
    steps: list[Step] = field(default_factory=list)
    checks: list[NetworkCheck] = field(default_factory=list)

    @property
    def wrong(self) -> Step | None:
        return next((step for step in self.steps if step.verdict is Verdict.TAMPERED), None)

    def attempt(self, name: str, check: Callable[[], str | None]) -> None:
        """Perform one step; what it returns is the detail, and None says that there was nothing to do."""
        try:
            detail = check()
        except VerificationError as error:
            self.add(name, Verdict.TAMPERED, _in_full(error))
        else:
            self.add(name, None if detail is None else Verdict.VALID, detail or "nothing to do")

    def add(self, name: str, verdict: Verdict | None, detail: str) -> None:
        self.steps.append(Step(number=len(self.steps) + 1, name=name, verdict=verdict, detail=detail))


def verify_bundle(
    path: Path,
    *,
    registry: Registry,
    trusted: TrustedFacts | None = None,
    blocks: Mapping[str, frozenset[str]] | None = None,
    expect: Expectations | None = None,
    manager: BlockchainManager | None = None,
) -> BundleReport:
    """Verify a bundle file.

    Args:
        path: The file.
        registry: Where each driver's examiner is found.
        trusted: What the verifier knows from sources of their own. A block hash is taken as one of whatever chain a
            receipt names, which is how a person compares it.
        blocks: Network id → hashes of blocks of that chain, which settle nothing about any other.
        expect: What the verifier expects.
        manager: Whom to ask the networks with; None for a verification that asks nobody.

    Raises:
        StorageError: the file, or the content to compare, cannot be read.
        ConfigurationError: the file is no bundle, or one of `expect.networks` is not in it.
        FormatError: the content cannot be compared with what the bundle proves.
    """
    trusted, expect, run = trusted or TrustedFacts(), expect or Expectations(), _Run()

    # (1) Parse within limits: canonical bytes, the seal, nothing unknown.
    run.attempt("Parse the bundle within limits", lambda: _parse(run, path))
    bundle = run.bundle
    if bundle is None:
        return _report(run, path, _EVERY_RECEIPT, Verdict.TAMPERED, offline=manager is None)
    required = _required(bundle, expect)

    # (2) Run id, phase and branches make the root.
    run.attempt("Run id, phase and branches make the root", lambda: _check_root(bundle, expect.root))

    # (3) The leaf is under the root; the given content is the leaf's.
    run.attempt("The leaf is under the root", lambda: _check_leaf(bundle, expect.content))

    # (4) The root is in the batch that was anchored.
    run.attempt("The root is in the batch", lambda: _check_batch(bundle))

    # (5) Each receipt commits to what was anchored.
    run.attempt("Each receipt commits to what was anchored", lambda: _check_receipts(bundle))

    # (6) Each receipt's evidence, by itself and with what the verifier knows.
    for network, receipt in sorted(bundle.receipts.items()):
        known = _known_of(receipt, trusted, blocks or {})
        run.checks.append(examine_receipt(registry, network, receipt, bundle.anchored, known))
    _close(run, "Each receipt's evidence holds by itself", [check.verdict for check in run.checks])

    # (7) The networks that the verifier can ask; nobody needs to be asked about what is wrong.
    if manager is not None and run.wrong is None:
        run.checks = ask_networks(manager, run.checks, bundle.receipts, bundle.anchored)
    asked = [check.verdict for check in run.checks if check.asked]
    _close(run, "The networks are asked", asked, none="no network was asked")

    # (8) The rule decides.
    require = _require(manager, bundle) if expect.networks is None else "all"
    verdict = _decide(run, required, require)
    rule = _rule(require, expect)
    run.add("The rule decides", verdict, rule)
    return _report(run, path, rule, verdict, offline=manager is None)


def _parse(run: _Run, path: Path) -> str:
    try:
        data = read_limited(path, MAX_BUNDLE_BYTES)
        run.bundle = Bundle.from_bytes(data, what=str(path))
    except FormatError as error:  # malformed evidence is wrong evidence
        raise VerificationError(error.message) from error
    return f"{len(data)} bytes, {len(run.bundle.receipts)} receipts"


def _required(bundle: Bundle, expect: Expectations) -> tuple[str, ...]:
    names = tuple(sorted(bundle.receipts)) if expect.networks is None else tuple(dict.fromkeys(expect.networks))
    for name in names:
        if name not in bundle.receipts:
            known = ", ".join(sorted(bundle.receipts)) or "none"
            raise ConfigurationError(f"the bundle has no receipt of {name!r}", hint=f"it has receipts of: {known}")
    return names


def _check_root(bundle: Bundle, expected: Digest | None) -> str:
    bundle.check_root()
    if expected is None:
        return f"{bundle.root}; give --root to compare it with one that you know"
    if expected != bundle.root:
        raise RootMismatchError("it is not the expected root", expected=str(expected), computed=str(bundle.root))
    return f"{bundle.root}, as expected"


def _check_leaf(bundle: Bundle, content: Path | None) -> str | None:
    if bundle.proof is None:
        if content is not None:
            raise ConfigurationError(
                "the bundle proves no leaf to compare the content with", hint="ask for one exported with --leaf"
            )
        return None
    bundle.check_proof()
    found = "" if content is None else f"; {compare_with_leaf(bundle.proof, content)}"
    return f"{bundle.proof.path}, {bundle.proof.kind}{found}"


def _check_batch(bundle: Bundle) -> str | None:
    bundle.check_batch()
    return None if bundle.batch is None else f"member {bundle.batch.index} of {bundle.batch.size} of {bundle.anchored}"


def _check_receipts(bundle: Bundle) -> str:
    for network in bundle.receipts:
        bundle.check_receipt(network)
    return f"{len(bundle.receipts)} receipts for {bundle.anchored}"


def _known_of(receipt: Receipt, trusted: TrustedFacts, blocks: Mapping[str, frozenset[str]]) -> TrustedFacts:
    own = blocks.get(receipt.network_id, frozenset())
    return replace(trusted, block_hashes=trusted.block_hashes | own)


def _close(run: _Run, name: str, verdicts: Sequence[Verdict], none: str = "the bundle has no receipt") -> None:
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in Verdict if verdict in verdicts)
    run.add(name, worst(verdicts) if verdicts else None, counts or none)


def _require(manager: BlockchainManager | None, bundle: Bundle) -> int | Literal["all"]:
    """Return the number of the verifier's policy where their configuration names every network of the bundle."""
    networks = {} if manager is None else manager.config.networks
    known = all(
        name in networks and networks[name].driver == receipt.driver for name, receipt in bundle.receipts.items()
    )
    return manager.config.policy.require if manager is not None and known else "all"


def _decide(run: _Run, required: tuple[str, ...], require: int | Literal["all"]) -> Verdict:
    verdicts = {check.network: check.verdict for check in run.checks}
    counted = [verdicts.pop(name) for name in required]
    if any(step.verdict is Verdict.TAMPERED for step in run.steps[:5]):
        return Verdict.TAMPERED
    return combine_verdicts(counted, list(verdicts.values()), require)


def _rule(require: int | Literal["all"], expect: Expectations) -> str:
    if expect.networks is not None:
        return f"the receipts of {', '.join(expect.networks)} must be valid"
    return _EVERY_RECEIPT if require == "all" else f"at least {require} of the bundle's receipts must be valid"


def _report(run: _Run, path: Path, rule: str, verdict: Verdict, *, offline: bool) -> BundleReport:
    bundle = run.bundle
    facts: dict[str, Any] = {}
    if bundle is not None:
        facts = {name: getattr(bundle, name) for name in ("run_id", "phase", "root", "anchored")}
        facts["leaf"] = _leaf(bundle)
    return BundleReport(
        source=str(path),
        verdict=verdict,
        summary=_summary(run, verdict),
        created_at=utc_now(),
        offline=offline,
        rule=rule,
        steps=tuple(run.steps),
        networks=tuple(run.checks),
        **facts,
    )


def _leaf(bundle: Bundle) -> BundleLeaf | None:
    proof = bundle.proof
    if proof is None:
        return None
    return BundleLeaf(path=proof.path, kind=proof.kind, digest=proof.digest, size=proof.size, value=proof.value)


def _summary(run: _Run, verdict: Verdict) -> str:
    wrong = run.wrong
    if wrong is not None and wrong.number <= 5:
        return f"{wrong.name}: {wrong.detail}."
    if verdict is Verdict.VALID:
        names = ", ".join(check.network for check in run.checks if check.verdict is Verdict.VALID)
        return f"What the bundle shows is unchanged since it was anchored on {names}."
    for check in run.checks:
        if check.verdict is verdict or (check.verdict, verdict) == (Verdict.TAMPERED, Verdict.DISAGREE):
            return f"{check.network}: {check.detail}."
    return "The bundle has no receipt." if not run.checks else "Too few receipts are valid."


def _in_full(error: VerificationError) -> str:
    if isinstance(error, RootMismatchError):
        return f"{error.message}: expected {error.expected}, found {error.computed}"
    return error.message
