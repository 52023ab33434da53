# SPDX-License-Identifier: MIT
"""Verification of a run: one function whose comments number its steps, and one report.

Wrong, could not check, not there and not yet stay four different answers. Steps 1 to 4 need no network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal

from mrv_core.batching import BatchProof
from mrv_core.comparison import Comparison, compare_content, compare_model
from mrv_core.config import Config
from mrv_core.driver import Capabilities
from mrv_core.errors import (
    AnchorNotFoundError,
    ConfigurationError,
    FormatError,
    MrvError,
    RootMismatchError,
    StorageError,
    VerificationError,
)
from mrv_core.journal import JournalRow, JournalState
from mrv_core.manager import BlockchainManager
from mrv_core.merkle import tree_root
from mrv_core.models import Receipt, ReceiptState, Verdict, VerifiedAnchor, utc_now
from mrv_core.provenance_tree import (
    SHAPE,
    MerkleNode,
    MLProvenanceMerkleTree,
    branch_node_hash,
    escape_label,
    run_root,
    verify_consistency_proof,
    verify_node_proof,
)
from mrv_core.report.model import (
    AnchorResult,
    ContentCheck,
    EpochRow,
    Finding,
    IntegrityReport,
    NetworkResult,
    Step,
    TreeRow,
)
from mrv_core.run_folder import OUTLINE_PATHS, Anchor, DamagedFile, RunFile, RunFolder, require_all_anchors

MAX_SIBLINGS_SHOWN: Final = 100
"""Children of one branch that a report shows; the tree file has them all."""

SEVERITY: Final = (
    Verdict.TAMPERED,
    Verdict.DISAGREE,
    Verdict.NOT_FOUND,
    Verdict.UNREACHABLE,
    Verdict.PENDING,
    Verdict.VALID,
)
"""Verdicts from the worst to the best; a report's verdict is the worst of its parts."""

_STATE_ORDER: Final = (ReceiptState.PENDING, ReceiptState.INCLUDED, ReceiptState.FINAL)


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the worst of the verdicts; of none at all, NOT_FOUND."""
    return min(verdicts, key=SEVERITY.index, default=Verdict.NOT_FOUND)


@dataclass(slots=True)
class _Evidence:
    """What the steps hand to one another."""

    run: RunFile | None = None
    anchors: list[Anchor] = field(default_factory=list)
    tree: MLProvenanceMerkleTree | None = None
    steps: list[Step] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    contents: list[ContentCheck] = field(default_factory=list)
    results: list[AnchorResult] = field(default_factory=list)
    required: tuple[str, ...] = ()
    tolerances: dict[str, timedelta] = field(default_factory=dict)
    uncovered: list[str] = field(default_factory=list)

    def wrong(self, place: str, message: str, expected: str | None = None, computed: str | None = None) -> None:
        self._add(Finding(verdict=Verdict.TAMPERED, place=place, message=message, expected=expected, computed=computed))

    def unchecked(self, place: str, message: str) -> None:
        self._add(Finding(verdict=Verdict.UNREACHABLE, place=place, message=message))

    def _add(self, finding: Finding) -> None:
        if finding not in self.findings:
            self.findings.append(finding)

    def step(self, number: int, name: str, before: int, done: str, *, performed: bool = True) -> None:
        """Close a step: its verdict is the worst of the findings since `before`."""
        fresh = self.findings[before:]
        verdict = worst([finding.verdict for finding in fresh]) if fresh else Verdict.VALID
        detail = done if not fresh else f"{fresh[0].place}: {fresh[0].message}"
        self.steps.append(Step(number=number, name=name, verdict=verdict if performed else None, detail=detail))


def verify_run(
    run_folder: Path,
    *,
    config: Config,
    data: Mapping[str, Any] | None = None,
    model: Any = None,
    leaves: Sequence[str] = (),
    networks: Sequence[str] | None = None,
    manager: BlockchainManager | None = None,
    progress: bool | None = None,
) -> IntegrityReport:
    """Verify a run folder against its content and its networks.

    Args:
        run_folder: Folder of the run.
        config: The verifier's own settings: which networks, where they are, what suffices. Nothing in the run
            folder decides that.
        data: Content to recompute, by path name (`data/training`): objects, or `pathlib.Path`s.
        model: Model, state dict or path to compare with the last epoch's state and the initial weights.
        leaves: Path names whose inclusion is to be proved.
        networks: Networks that must hold each anchor; by default the configuration's selected ones.
        manager: Manager to ask with; by default one over the folder that holds the run.
        progress: Show progress bars on long work; by default only on a terminal.

    Raises:
        StorageError: there is no such run folder.
        ConfigurationError: a network that is not configured.
        FormatError: `data` or `leaves` name a node that the run does not have, or content of another form.
    """
    run_folder = run_folder.resolve()
    folder, evidence = RunFolder.open(run_folder), _Evidence()

    # (1) Parse every file within limits.
    _parse(folder, evidence)

    # (2) Recompute digests from the data, where it is given.
    _recompute_content(evidence, data or {}, model, progress)

    # (3) Rebuild the root of each anchor; check inclusion and consistency.
    _rebuild_roots(evidence, leaves)

    # (4) Each receipt's commitment is that root.
    _check_commitments(evidence)

    owned = manager is None
    manager = manager or BlockchainManager(config, base_dir=run_folder.parent)
    try:
        # (5) Each network's driver verifies its receipts; no anchor known here is left out.
        _check_withheld(evidence, manager)
        _ask_networks(evidence, manager, networks)
    finally:
        if owned:
            manager.close()

    # (6) The networks agree with one another and with the order of the anchors.
    _cross_check(evidence)

    # (7) The policy decides.
    verdict = _decide(evidence, manager)
    return _report(folder, evidence, config, verdict)


def _parse(folder: RunFolder, evidence: _Evidence) -> None:
    try:
        evidence.run = folder.run()
    except (FormatError, StorageError) as error:
        _unreadable(evidence, "run.json", error)
    run_id = evidence.run.run_id if evidence.run is not None else folder.path.name
    damaged = _parse_tree(folder, evidence, run_id) + _parse_anchors(folder, evidence)
    for item in damaged:
        evidence.wrong(item.place, item.message)
    for anchor in evidence.anchors:
        if anchor.file.run_id != run_id:
            evidence.wrong(f"anchors/{anchor.name}.json", f"belongs to run {anchor.file.run_id}, not {run_id}")
    evidence.step(1, "Parse the run's files within limits", 0, f"{len(evidence.anchors)} anchors, one tree")


def _parse_tree(folder: RunFolder, evidence: _Evidence, run_id: str) -> list[DamagedFile]:
    place = "tree.json"
    try:
        tree, damaged = folder.read_slots(run_id)
        place = "epochs"
        for place in folder.epoch_names():  # where this ends is what is wrong
            folder.read_epoch(place, tree, damaged)
    except (FormatError, StorageError) as error:
        _unreadable(evidence, place, error)
        return []
    evidence.tree = tree
    return damaged


def _parse_anchors(folder: RunFolder, evidence: _Evidence) -> list[DamagedFile]:
    damaged: list[DamagedFile] = []
    names: list[str] = []
    try:
        names = folder.anchor_names()
        require_all_anchors(names)
    except StorageError as error:
        _unreadable(evidence, "anchors", error)
    for name in names:
        try:
            evidence.anchors.append(folder.read_anchor(name, damaged))
        except (FormatError, StorageError) as error:
            _unreadable(evidence, f"anchors/{name}.json", error)
    return damaged


def _unreadable(evidence: _Evidence, place: str, error: MrvError) -> None:
    """A file that is not as it was written is wrong; a file that is not there could not be checked."""
    message = error.message.removeprefix(f"{place}: ")
    if isinstance(error, FormatError):
        evidence.wrong(place, message)
    else:
        evidence.unchecked(place, message)


def _recompute_content(evidence: _Evidence, data: Mapping[str, Any], model: Any, progress: bool | None) -> None:
    before, tree = len(evidence.findings), evidence.tree
    comparisons: list[Comparison] = []
    if tree is not None:
        for path, content in data.items():
            comparisons.append(compare_content(tree, path, content, progress=progress))
        if model is not None:
            comparisons.append(compare_model(tree, model, progress=progress))
    for comparison in comparisons:
        for difference in comparison.differences:
            evidence.wrong(difference.path, difference.message, difference.expected, difference.computed)
        verdict = Verdict.TAMPERED if comparison.differences else Verdict.VALID
        evidence.contents.append(
            ContentCheck(path=comparison.path, source=comparison.source, verdict=verdict, detail=comparison.detail)
        )
    given = "; ".join(f"{item.source} is {item.path}" for item in evidence.contents)
    evidence.step(
        2,
        "Recompute digests from the data",
        before,
        given or "no data was given; the digests stand as recorded (give --data and --model to recompute them)",
        performed=bool(comparisons),
    )


def _rebuild_roots(evidence: _Evidence, leaves: Sequence[str]) -> None:
    before, tree = len(evidence.findings), evidence.tree
    if tree is None:
        detail = "there is no tree to rebuild from"
        evidence.step(3, "Rebuild the roots", before, detail, performed=False)
        return
    older = None
    for anchor in evidence.anchors:
        if _rebuild_root(evidence, tree, anchor) and older is not None:
            _check_consistency(evidence, tree, older, anchor)
        older = anchor
    state = evidence.anchors[-1].file.state if evidence.anchors else tree.state("present")
    for path in leaves:
        if tree.node(path).is_absent:
            raise FormatError(f"nothing was tracked as {path}", hint="see the tree with 'mrv report RUN'")
        try:
            verify_node_proof(tree.prove(path, state), tree.root(state))
        except FormatError:
            evidence.uncovered.append(path)
    proved = f", {len(leaves)} inclusion proofs" if leaves else ""
    done = f"{len(evidence.anchors)} roots recomputed from the leaves, each extends the one before{proved}"
    evidence.step(3, "Rebuild the roots, check inclusion and consistency", before, done)


def _rebuild_root(evidence: _Evidence, tree: MLProvenanceMerkleTree, anchor: Anchor) -> bool:
    """Recompute an anchored root; where it differs, say where the tree was changed."""
    place = f"anchors/{anchor.name}.json"
    try:
        computed = tree.root(anchor.file.state)
    except FormatError as error:
        evidence.wrong(f"anchors/{anchor.name}.json", f"the anchored root covers more than the folder has: {error}")
        return False
    if computed == anchor.file.root and _outline_problem(anchor) is None:
        return True
    problem = _outline_problem(anchor)
    if problem is not None:
        evidence.wrong(place, problem, str(anchor.file.root), str(computed))
        return False
    changed = _changed_paths(tree, anchor)
    for path in changed:
        committed = anchor.file.outline[path]
        present = tree.node(path, anchor.file.state).hash.hex()
        evidence.wrong(path, f"changed since the anchor {anchor.name}", committed, present)
    return False


def _outline_problem(anchor: Anchor) -> str | None:
    """Check that the outline leads to the anchored root, which is what makes it trustworthy."""
    file = anchor.file
    if sorted(file.outline) != sorted(OUTLINE_PATHS):
        return "the outline of the anchored root does not have its fixed paths"
    hashes = {path: bytes.fromhex(text) for path, text in file.outline.items()}
    for branch in SHAPE[""]:
        children = [hashes[f"{branch}/{label}"] for label in SHAPE[branch]]
        if hashes[branch] != branch_node_hash(branch, len(children), tree_root(children)):
            return f"the outline of the anchored root does not agree with itself at {branch}"
    try:
        computed = run_root(file.run_id, file.phase, [hashes[branch] for branch in SHAPE[""]])
    except FormatError as error:
        return error.message
    return None if computed == file.root else "the root in the file is not the root of its outline"


def _changed_paths(tree: MLProvenanceMerkleTree, anchor: Anchor) -> list[str]:
    """Return the deepest paths of the outline whose hash the present tree does not have."""
    state = anchor.file.state
    changed = [path for path in OUTLINE_PATHS if tree.node(path, state).hash.hex() != anchor.file.outline[path]]
    return [path for path in changed if not any(other.startswith(f"{path}/") for other in changed)]


def _check_consistency(evidence: _Evidence, tree: MLProvenanceMerkleTree, older: Anchor, newer: Anchor) -> None:
    try:
        proof = tree.prove_consistency(older.file.state, newer.file.state)
        verify_consistency_proof(proof, older.file.root, newer.file.root)
    except (FormatError, VerificationError) as error:
        expected, computed = (error.expected, error.computed) if isinstance(error, RootMismatchError) else (None, None)
        message = f"does not extend the anchor {older.name}: {error.message}"
        evidence.wrong(f"anchors/{newer.name}.json", message, expected, computed)


def _check_withheld(evidence: _Evidence, manager: BlockchainManager) -> None:
    """Where this machine's journal knows of a root of the run, the folder must have its anchor.

    Only the machine that anchored the run has the journal; elsewhere a newest root can be withheld unnoticed, which
    docs/threat-model.md says. A journal that cannot be read is no evidence for or against anything, and an anchor that
    cannot be read may be the one.
    """
    unread = any(item.place.startswith("anchors") and item.verdict is Verdict.UNREACHABLE for item in evidence.findings)
    if evidence.run is None or unread:
        return
    shown = {anchor.file.root for anchor in evidence.anchors}
    try:
        rows = manager.journal.rows(run_id=evidence.run.run_id)
    except (StorageError, FormatError):
        return
    for row in rows:
        if row.commitment not in shown and row.metadata.get("run_id") == evidence.run.run_id:
            phase = row.metadata.get("phase")
            evidence.wrong("anchors", f"the anchor of the root {phase} is missing in the folder", str(row.commitment))


def _check_commitments(evidence: _Evidence) -> None:
    before = len(evidence.findings)
    for anchor in evidence.anchors:
        _check_batch(evidence, anchor)
        for network, receipt in anchor.file.receipts.items():
            if receipt.commitment != anchor.commitment or receipt.network != network:
                evidence.wrong(
                    f"receipt:{network}",
                    f"the receipt in anchors/{anchor.name}.json is for another {'batch' if anchor.batch else 'root'}",
                    str(anchor.commitment),
                    str(receipt.commitment),
                )
    count = sum(len(anchor.file.receipts) for anchor in evidence.anchors)
    batched = sum(anchor.batch is not None for anchor in evidence.anchors)
    through = f", {batched} roots through a batch" if batched else ""
    evidence.step(4, "Each receipt commits to its root", before, f"{count} receipts{through}")


def _check_batch(evidence: _Evidence, anchor: Anchor) -> None:
    """Check that the root is a member of the batch that stands for it."""
    if anchor.batch is None:
        return
    try:
        anchor.batch.verify(anchor.file.root, anchor.commitment)
    except VerificationError as error:
        expected, computed = (error.expected, error.computed) if isinstance(error, RootMismatchError) else (None, None)
        evidence.wrong(f"batches/{anchor.name}.json", error.message, expected, computed)


def _ask_networks(evidence: _Evidence, manager: BlockchainManager, networks: Sequence[str] | None) -> None:
    """Ask the required networks, and any other that the run has a receipt of unless networks were named."""
    evidence.required = manager.config.require_networks(networks)
    needed = manager.config.policy.require
    if needed != "all" and evidence.required and needed > len(evidence.required):
        raise ConfigurationError(
            f"{needed} networks must hold each anchor, and only {len(evidence.required)} were named",
            hint="name more networks, or lower blockchain.verification.require",
        )
    held = {name for anchor in evidence.anchors for name in anchor.file.receipts} if networks is None else set()
    names = tuple(dict.fromkeys([*evidence.required, *sorted(held)]))
    configured = [name for name in names if name in manager.config.networks]
    receipts = _receipts(evidence, manager, names)

    def ask(network: str) -> list[VerifiedAnchor | MrvError]:
        return [
            _ask(manager, network, receipts.get((index, network)), anchor)
            for index, anchor in enumerate(evidence.anchors)
        ]

    answers = manager.parallel(configured, ask)
    for name in configured:
        if (capabilities := _capabilities(manager, name)) is not None:
            evidence.tolerances[name] = timedelta(seconds=capabilities.time_tolerance_s)
    for index, anchor in enumerate(evidence.anchors):
        results = []
        for network in names:
            answer = answers.get(
                network,
                ConfigurationError(
                    f"the verifier's configuration has no network {network!r}", hint="give one with --config"
                ),
            )
            one = answer[index] if isinstance(answer, list) else answer
            results.append(_network_result(manager, network, receipts.get((index, network)), one, anchor.batch))
        evidence.results.append(
            AnchorResult(
                name=anchor.name,
                phase=anchor.file.phase,
                epochs=anchor.file.epochs,
                root=anchor.file.root,
                verdict=Verdict.VALID,
                networks=tuple(results),
            )
        )
    verdicts = [result.verdict for anchor in evidence.results for result in anchor.networks]
    asked = f"{len(verdicts)} receipts on {len(configured)} networks"
    evidence.steps.append(
        Step(number=5, name="Each network verifies its receipts", verdict=worst(verdicts), detail=asked)
    )


def _receipts(
    evidence: _Evidence, manager: BlockchainManager, names: Sequence[str]
) -> dict[tuple[int, str], Receipt | JournalRow]:
    """Return what is known of each anchor on each network: the folder's receipt, else the journal's row."""
    known: dict[tuple[int, str], Receipt | JournalRow] = {}
    for index, anchor in enumerate(evidence.anchors):
        known.update({(index, network): receipt for network, receipt in anchor.file.receipts.items()})
        if all((index, name) in known for name in names):
            continue  # the folder verifies by itself, whatever state the journal is in
        try:
            rows = manager.journal.rows(commitment=anchor.commitment)
        except StorageError as error:
            rows = []
            evidence.unchecked("journal", error.message)
        for row in rows:
            known.setdefault((index, row.network), row.receipt or row)
    return known


def _ask(
    manager: BlockchainManager, network: str, known: Receipt | JournalRow | None, anchor: Anchor
) -> VerifiedAnchor | MrvError:
    try:
        if isinstance(known, Receipt):
            return manager.verify_receipt(network, known, anchor.commitment)
        if anchor.awaits_batch:
            return _NotYetError("the root waits for the next batch", "run 'mrv batch'")
        if known is None:
            return AnchorNotFoundError(
                "this root was not anchored here",
                hint="name the networks it was anchored on with --network, or their configuration with --config",
            )
        if known.state is JournalState.REJECTED:
            return AnchorNotFoundError(f"the network rejected it: {known.error}", hint="anchor it again")
        return _NotYetError(
            f"{known.state}, not sent yet{f': {known.error}' if known.error else ''}", "run 'mrv flush'"
        )
    except MrvError as error:
        return error


class _NotYetError(MrvError):
    """The journal holds the anchor, the network does not have it yet."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, hint=hint)


def _network_result(
    manager: BlockchainManager,
    network: str,
    known: Receipt | JournalRow | None,
    answer: VerifiedAnchor | MrvError,
    batch: BatchProof | None,
) -> NetworkResult:
    section = manager.config.networks.get(network)
    receipt = known if isinstance(known, Receipt) else None
    capabilities = _capabilities(manager, network)
    common: dict[str, Any] = {
        "network": network,
        "driver": section.driver if section is not None else receipt.driver if receipt is not None else "unknown",
        "reference": known.reference if known is not None else None,
        "submitted_at": receipt.submitted_at if receipt is not None else None,
        "embedded": capabilities.embedded if capabilities is not None else receipt is not None and receipt.embedded,
        "attests_time": capabilities is not None and capabilities.attests_time,
    }
    if isinstance(answer, MrvError):
        return NetworkResult(**common, verdict=_verdict_of(answer), detail=answer.message, hint=answer.hint)
    needed = manager.config.policy.state
    reached = _STATE_ORDER.index(answer.state) >= _STATE_ORDER.index(needed)
    return NetworkResult(
        **common,
        verdict=Verdict.VALID if reached else Verdict.PENDING,
        detail=_held(batch) if reached else f"{answer.state}; the policy asks for {needed}",
        hint=None if reached else "run 'mrv flush' later",
        network_id=answer.network_id,
        state=str(answer.state),
        block_time=answer.block_time if common["attests_time"] else None,
        confirmations=answer.confirmations,
        facts=answer.facts,
        trusts=answer.trusts,
    )


def _held(batch: BatchProof | None) -> str:
    return "holds exactly this root" if batch is None else f"holds the batch of {batch.size} roots with this one in it"


def _capabilities(manager: BlockchainManager, network: str) -> Capabilities | None:
    """Return what a network's driver can claim, or None where it cannot be built."""
    try:
        return manager.driver(network).capabilities
    except ConfigurationError:
        return None


def _verdict_of(error: MrvError) -> Verdict:
    if isinstance(error, VerificationError):
        return Verdict.TAMPERED
    if isinstance(error, AnchorNotFoundError):
        return Verdict.NOT_FOUND
    return Verdict.PENDING if isinstance(error, _NotYetError) else Verdict.UNREACHABLE


def _cross_check(evidence: _Evidence) -> None:
    """Times attested by one network must not put a later anchor before an earlier one."""
    before, compared = len(evidence.findings), 0
    for older, newer in zip(evidence.results, evidence.results[1:], strict=False):
        times = {result.network: result.block_time for result in older.networks if result.block_time is not None}
        for result in newer.networks:
            earlier = times.get(result.network)
            if earlier is None or result.block_time is None:
                continue
            compared += 1
            if result.block_time + evidence.tolerances.get(result.network, timedelta()) < earlier:
                evidence.findings.append(
                    Finding(
                        verdict=Verdict.DISAGREE,
                        place=f"receipt:{result.network}",
                        message=f"{newer.name} has an earlier block time than {older.name}",
                        expected=f"not before {earlier.isoformat()}",
                        computed=result.block_time.isoformat(),
                    )
                )
    done = f"the networks hold the same roots; {compared} attested times are in order"
    evidence.step(6, "Cross-network agreement and order in time", before, done)


def _decide(evidence: _Evidence, manager: BlockchainManager) -> Verdict:
    evidence.results = [_with_verdict(result, evidence.required, manager.config) for result in evidence.results]
    evidence.uncovered[:0] = _uncovered(evidence)
    verdicts = [result.verdict for result in evidence.results]
    verdicts += [finding.verdict for finding in evidence.findings]
    if evidence.uncovered:
        verdicts.append(Verdict.PENDING)
    if not evidence.anchors and not evidence.findings:
        verdicts.append(Verdict.NOT_FOUND)
    verdict = worst(verdicts)
    evidence.steps.append(
        Step(number=7, name="The policy decides", verdict=verdict, detail=describe_policy(manager.config))
    )
    return verdict


def _with_verdict(result: AnchorResult, required: tuple[str, ...], config: Config) -> AnchorResult:
    verdicts = {item.network: item.verdict for item in result.networks}
    counted = [verdicts.pop(network) for network in required]
    return result.model_copy(update={"verdict": combine(counted, list(verdicts.values()), config)})


def combine(required: Sequence[Verdict], others: Sequence[Verdict], config: Config) -> Verdict:
    """Combine what the networks say about one anchor.

    One TAMPERED is never outvoted: among others that say VALID it is DISAGREE. Otherwise the policy's number of
    VALID networks among the required ones suffices; where it is not reached, what is missing decides.

    Args:
        required: Verdicts of the networks that the verifier asks for.
        others: Verdicts of further networks that the run has receipts of; they can only contradict.
        config: Whose policy applies.
    """
    return combine_verdicts(required, others, config.policy.require)


def combine_verdicts(required: Sequence[Verdict], others: Sequence[Verdict], require: int | Literal["all"]) -> Verdict:
    """Do as `combine` does, for a policy that asks for so many of the required networks, or for all of them."""
    everything = [*required, *others]
    if Verdict.TAMPERED in everything:
        return Verdict.DISAGREE if Verdict.VALID in everything else Verdict.TAMPERED
    needed = len(required) if require == "all" else require
    if not required:
        return Verdict.NOT_FOUND
    have = 0
    for verdict in (Verdict.VALID, Verdict.PENDING, Verdict.UNREACHABLE):
        have += required.count(verdict)
        if have >= needed:
            return verdict
    return Verdict.NOT_FOUND


def describe_policy(config: Config) -> str:
    """Say the policy in words."""
    required = config.policy.require
    count = "every selected network" if required == "all" else f"{required} of the selected networks"
    return f"{count} must hold each anchored root, {config.policy.state}"


def _uncovered(evidence: _Evidence) -> list[str]:
    """Return the path names of what was tracked and is under no anchored root."""
    if evidence.tree is None or not evidence.anchors:
        return []
    present = evidence.tree.state("present")
    covered = max(
        (anchor.file.state for anchor in evidence.anchors), key=lambda state: (state.epochs, len(state.slots))
    )
    slots = [slot for slot in present.slots if slot not in covered.slots]
    epochs = evidence.tree.epochs[covered.epochs :]
    return slots + [f"training/epochs/{node.label}" for node in epochs]


def _report(folder: RunFolder, evidence: _Evidence, config: Config, verdict: Verdict) -> IntegrityReport:
    run, tree = evidence.run, evidence.tree
    rows = list(tree.walk()) if tree is not None else []
    shown = _tree_rows(rows)
    value = {path: node.value for path, node in rows if node.kind == "json"}
    return IntegrityReport(
        run_id=run.run_id if run is not None else folder.path.name,
        run_folder=str(folder.path),
        verdict=verdict,
        chain_integrity=verdict is Verdict.VALID,
        summary=_summary(evidence, verdict),
        created_at=utc_now(),
        root=tree.root(evidence.anchors[-1].file.phase if evidence.anchors else "present")
        if tree is not None
        else None,
        policy=describe_policy(config),
        steps=tuple(evidence.steps),
        findings=tuple(evidence.findings),
        uncovered=tuple(evidence.uncovered),
        anchors=tuple(evidence.results),
        contents=tuple(evidence.contents),
        started_at=run.started_at if run is not None else None,
        hash_algorithm=run.hash_algorithm if run is not None else None,
        config=value.get("training/config"),
        environment=value.get("training/environment"),
        results=value.get("training/results"),
        epochs=tuple(
            EpochRow(
                epoch=int(node.label),
                metrics=node.child("metrics").value,
                privacy_metrics=node.child("privacy_metrics").value,
                hash=node.hash.hex(),
            )
            for node in (tree.epochs if tree is not None else ())
        ),
        tree=tuple(shown),
        tree_omitted=len(rows) - len(shown),
    )


def _tree_rows(rows: Sequence[tuple[str, MerkleNode]]) -> list[TreeRow]:
    """Return the nodes a report shows: of every branch the first children, and nothing below those left out."""
    hidden: set[str] = set()
    shown = []
    for path, node in rows:
        if path in hidden or path.rpartition("/")[0] in hidden:
            hidden.add(path)
            continue
        hidden.update(f"{path}/{escape_label(child.label)}" for child in node.children[MAX_SIBLINGS_SHOWN:])
        shown.append(
            TreeRow(
                path=path,
                kind=node.kind,
                size=len(node.children) if node.kind == "branch" else None,
                digest=str(node.digest) if node.digest is not None else None,
                hash=node.hash.hex(),
            )
        )
    return shown


def _summary(evidence: _Evidence, verdict: Verdict) -> str:
    if verdict is Verdict.VALID:
        results = (result for anchor in evidence.results for result in anchor.networks)
        networks = sorted({result.network for result in results if result.verdict is Verdict.VALID})
        newest = evidence.results[-1]
        whole = "" if newest.phase in ("after_training", "snapshot") else f" The newest anchor shown is {newest.name}."
        return f"Every committed fact is unchanged since its root was anchored on {', '.join(networks)}.{whole}"
    first = next((finding for finding in evidence.findings if finding.verdict is verdict), None)
    if first is not None:
        return f"{first.place}: {first.message}."
    for anchor in evidence.results:
        for result in anchor.networks:
            if result.verdict is verdict:
                return f"{anchor.name} on {result.network}: {result.detail}."
    for anchor in evidence.results:
        if anchor.verdict is verdict:
            return f"{anchor.name}: the networks do not agree."
    if verdict is Verdict.PENDING:
        return f"Not under any anchored root yet: {', '.join(evidence.uncovered[:5])}."
    return "Nothing of this run has been anchored."
