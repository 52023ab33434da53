# SPDX-License-Identifier: MIT
"""Verification of a record: its hash, its numbers, its samples, and the networks that hold it.

Wrong, could not check, not there and not yet stay different answers, as everywhere (docs/verification.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from mrv_core.bundle_receipts import NetworkCheck, ask_networks, examine_receipt
from mrv_core.canonical import parse_json
from mrv_core.driver import TrustedFacts
from mrv_core.errors import FormatError, VerificationError
from mrv_core.hashing import Digest
from mrv_core.journal_rows import JournalRow
from mrv_core.manager import BlockchainManager
from mrv_core.models import DigestField, Model, Receipt, TimeField, Verdict, utc_now
from mrv_core.mrv import units
from mrv_core.mrv.rank_files import check_rank_files
from mrv_core.mrv.recompute import check_numbers, check_samples
from mrv_core.mrv.record import MAX_RECORD_BYTES, MrvRecord, Ranks, hash_of, parse_record, schema_version_of
from mrv_core.mrv.registries import LookUp, look_up
from mrv_core.mrv.samples import read_samples
from mrv_core.mrv.schema_0_1 import MrvRecord01, parse_record_0_1
from mrv_core.mrv.storage import RecordReceipts, read_receipts, read_record_file
from mrv_core.registry import Registry
from mrv_core.report.model import Finding, Step
from mrv_core.verification import SEVERITY, combine_verdicts, worst

STATUS_OF: Final[Mapping[Verdict, str]] = {verdict: verdict.replace("_", " ") for verdict in Verdict}
"""How people write a verdict: `NOT FOUND`."""


class RecordReport(Model):
    """Everything one verification of a record found out.

    Attributes:
        format: Version of this format.
        source: The file.
        verdict: The overall verdict.
        summary: One sentence for people.
        created_at: When this report was made, by this machine's clock.
        mrv_id: Id under which it should be anchored.
        hash: Of what was read now.
        schema_version: The record's; null, as all that follows, where it could not be read as a record any more.
        experiment_name: What was trained.
        energy_kwh, co2_kg: What it says it cost; null where it says that this is not known.
        end_time: When it says it ended.
        job: Id of the job that it is one rank's record of; null for every other record.
        concurrent: Records that it says counted the same machine in the same time.
        rule: What combined the verdicts, in words.
        steps: The numbered steps.
        findings: Everything that is wrong, as exact as the evidence allows.
        networks: One result a receipt, sorted by name.
    """

    format: Literal["mrv-record-report/1"] = "mrv-record-report/1"
    source: str
    verdict: Verdict
    summary: str
    created_at: TimeField
    mrv_id: str
    hash: DigestField
    schema_version: str | None = None
    experiment_name: str | None = None
    energy_kwh: float | None = None
    co2_kg: float | None = None
    end_time: TimeField | None = None
    job: str | None = None
    concurrent: tuple[str, ...] = ()
    rule: str
    steps: tuple[Step, ...]
    findings: tuple[Finding, ...]
    networks: tuple[NetworkCheck, ...]

    @property
    def status(self) -> str:
        """VALID, TAMPERED, NOT FOUND, and the other verdicts as people write them."""
        return STATUS_OF[self.verdict]


@dataclass(slots=True)
class _Run:
    """What the steps hand to one another."""

    steps: list[Step] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    checks: list[NetworkCheck] = field(default_factory=list)

    def add(self, name: str, verdict: Verdict | None, detail: str) -> None:
        self.steps.append(Step(number=len(self.steps) + 1, name=name, verdict=verdict, detail=detail))

    def find(self, name: str, findings: Sequence[Finding], done: str) -> None:
        """Close a step with what it found."""
        self.findings.extend(findings)
        verdict = worst([each.verdict for each in findings]) if findings else Verdict.VALID
        detail = done if not findings else f"{findings[0].place}: {findings[0].message}"
        self.add(name, verdict, detail)


def read_record(data: bytes, *, what: str) -> tuple[MrvRecord | MrvRecord01, Digest]:
    """Read a record of any known schema, and return it with the hash that is anchored of it.

    Raises:
        FormatError: no record, of an unknown schema, or not as its schema says.
    """
    version = schema_version_of(parse_json(data, what=what, max_bytes=MAX_RECORD_BYTES), what=what)
    if version == "1.0":
        return parse_record(data, what=what), hash_of(data)
    if version == "0.1":
        first = parse_record_0_1(data, what=what)
        return first, first.hash
    raise FormatError(
        f"{what}: schema version {version!r:.40} is not one that this program knows (0.1, 1.0)",
        hint="upgrade mrv-provenance",
    )


def verify_record(
    path: Path,
    *,
    manager: BlockchainManager,
    registry: Registry | None = None,
    mrv_id: str | None = None,
    samples: Path | None = None,
    offline: bool = False,
    use_journal: bool = True,
) -> RecordReport:
    """Verify the file of a record.

    Args:
        path: The file; receipts are looked for beside it, and in the manager's journal.
        manager: Whom to ask the networks with.
        registry: Where each driver's examiner is found; by default those installed.
        mrv_id: Id under which it should be anchored; by default that of the receipts beside it, or the one in it.
        samples: File of its samples, to compute everything again; of a job's record the folder of its ranks' records.
        offline: Whether to ask no network.
        use_journal: Whether the receipts in the manager's journal count, before those beside the file; without them the
            files are judged as somebody elsewhere has them.

    Raises:
        StorageError: a file cannot be read.
        FormatError: it is no record, and nothing here says that it ever was one.
    """
    run = _Run()
    # (1) Read within limits: nothing unknown, nothing written in two ways; the hash is over these bytes.
    data = read_record_file(path)
    beside = read_receipts(path)
    record, commitment = _read(run, data, path, is_known=lambda: _is_known(data, beside, manager, mrv_id, offline))
    named = [mrv_id, beside.mrv_id if beside is not None else None, record.mrv_id if record is not None else None]
    wanted = next(name for name in named if name is not None)

    # (2) Its numbers agree with one another.
    if isinstance(record, MrvRecord):
        run.find("Its numbers agree with one another", check_numbers(record), "total, emissions, times")
    else:
        run.add("Its numbers agree with one another", None, "nothing to compute them from")

    # (3) Its samples make the numbers.
    _check_samples(run, record, samples)

    # (4) What is anchored under its id is this record.
    beside = beside if beside is not None and beside.mrv_id == wanted else None
    anchored = commitment if beside is None or beside.commitment != commitment else beside.anchored
    rows = [row for row in manager.journal.rows() if row.receipt is not None] if use_journal else []
    receipts, others = _receipts(beside, rows, wanted, commitment, anchored)
    found = LookUp() if offline else look_up(manager, wanted, commitment)
    if anchored == commitment or not receipts:
        anchored, receipts = commitment, {**found.receipts, **receipts}
    registered = found.findings(wanted, commitment, is_anchored=bool(receipts))
    wrong = [*_check_id(record, wanted, receipts), *_check_batch(beside, commitment), *registered]
    _check_commitments(run, wanted, commitment, receipts, others, wrong, found.notes)

    # (5) Each receipt's evidence, by itself.
    known = registry or Registry.load()
    for network, receipt in sorted(receipts.items()):
        run.checks.append(examine_receipt(known, network, receipt, anchored, TrustedFacts()))
    _close(run, "Each receipt's evidence holds by itself", [check.verdict for check in run.checks], "no receipt")

    # (6) The networks that the verifier can ask.
    if not offline and not others:
        run.checks = ask_networks(manager, run.checks, receipts, anchored)
        if anchored == commitment:
            run.checks = _replace_gone(known, manager, run.checks, found.receipts, commitment)
    run.checks = [_of_this_id(check, wanted) for check in run.checks]
    asked = [check.verdict for check in run.checks if check.asked]
    _close(run, "The networks are asked", asked, "no network was asked")

    # (7) The rule decides.
    require = manager.config.policy.require
    rule = "every receipt must be valid" if require == "all" else f"at least {require} receipts must be valid"
    verdict = _decide(run, others, require, is_open=bool(found.failures))
    run.add("The rule decides", verdict, rule)
    return _report(run, path, record, commitment, wanted, rule, verdict)


def _is_known(
    data: bytes, beside: RecordReceipts | None, manager: BlockchainManager, mrv_id: str | None, offline: bool
) -> bool:
    """Tell whether anything says that there was a record: receipts beside the file, or a registry that has its id."""
    if beside is not None:
        return True
    if mrv_id is None or offline:
        return False
    return any(answer.submitters for answer in look_up(manager, mrv_id, hash_of(data)).answers.values())


def _read(
    run: _Run, data: bytes, path: Path, *, is_known: Callable[[], bool]
) -> tuple[MrvRecord | MrvRecord01 | None, Digest]:
    """Read the record; what cannot be read any more, and is known to have been anchored, was changed."""
    try:
        record, commitment = read_record(data, what=str(path))
    except FormatError as error:
        if not is_known():
            raise
        finding = Finding(verdict=Verdict.TAMPERED, place=str(path), message=error.message)
        run.find("Read the record", [finding], "")
        return None, hash_of(data)
    run.add("Read the record", Verdict.VALID, f"schema {record.schema_version}, {commitment}")
    return record, commitment


def _check_samples(run: _Run, record: MrvRecord | MrvRecord01 | None, path: Path | None) -> None:
    if isinstance(record, MrvRecord) and record.ranks is not None:
        _check_ranks(run, record, record.ranks, path)
        return
    name = "Its samples make the numbers"
    if path is None:
        run.add(name, None, "no samples were given; give them with --samples")
        return
    if not isinstance(record, MrvRecord) or record.samples is None:
        run.add(name, Verdict.UNREACHABLE, "the record commits to no samples")
        return
    try:
        file = read_samples(path)
    except FormatError as error:  # malformed evidence is wrong evidence
        run.find(name, [Finding(verdict=Verdict.TAMPERED, place=str(path), message=error.message)], "")
        return
    findings = check_samples(record, record.samples, file)
    run.find(name, findings, f"{len(file.samples)} samples of {', '.join(file.components)}")


def _check_ranks(run: _Run, record: MrvRecord, job: Ranks, folder: Path | None) -> None:
    name = "Its ranks' records and samples make the numbers"
    if folder is None:
        run.add(name, None, "nobody asked for it; with --samples")
        return
    found = check_rank_files(record, job, folder)
    run.find(name, found, f"{len(job.entries)} of {job.world_size} ranks")


def _receipts(
    beside: RecordReceipts | None, rows: Sequence[JournalRow], mrv_id: str, commitment: Digest, anchored: Digest
) -> tuple[dict[str, Receipt], dict[str, Digest]]:
    """Return the receipts of this very record, or of its batch, and what else is known to be anchored under its id."""
    own: dict[str, Receipt] = {}
    others: dict[str, Digest] = {}
    if beside is not None and beside.commitment == commitment:
        own |= beside.receipts
    elif beside is not None:
        others |= dict.fromkeys(beside.receipts or ("any",), beside.commitment)
    named = [row for row in rows if row.metadata.get("mrv_id") == mrv_id]
    first = named[0].commitment if named else commitment
    for row in named if anchored == commitment else rows:
        if row.commitment == anchored and row.receipt is not None:
            own[row.network] = row.receipt
    if first not in (commitment, anchored):  # an id is that of the record that was anchored first, as in the registry
        others |= {row.network: first for row in named if row.commitment == first}
    return own, others


def _replace_gone(
    registry: Registry,
    manager: BlockchainManager,
    checks: Sequence[NetworkCheck],
    found: Mapping[str, Receipt],
    commitment: Digest,
) -> list[NetworkCheck]:
    """Put what a registry has in the place of a receipt that was kept while its block, or transaction, was left out."""
    gone = {each.network for each in checks if each.verdict is Verdict.NOT_FOUND and each.network in found}
    newer = [examine_receipt(registry, name, found[name], commitment, TrustedFacts()) for name in sorted(gone)]
    by_name = {each.network: each for each in ask_networks(manager, newer, found, commitment)}
    return [by_name.get(each.network, each) for each in checks]


def _check_id(record: MrvRecord | MrvRecord01 | None, mrv_id: str, receipts: Mapping[str, Receipt]) -> list[Finding]:
    """Check that a record has the id that its receipts name it by; no evidence of a network has it."""
    if record is None or record.mrv_id == mrv_id or not receipts:
        return []
    message = f"the receipts are said to be of {mrv_id}, and are of another record"
    finding = Finding(
        verdict=Verdict.TAMPERED, place="mrv_id", message=message, expected=mrv_id, computed=record.mrv_id
    )
    return [finding]


def _of_this_id(check: NetworkCheck, mrv_id: str) -> NetworkCheck:
    """Refuse evidence that is of another id than the record is to be anchored under; only a registry's names one."""
    named = check.facts.get("mrv_id", mrv_id)
    if named == mrv_id or check.verdict is Verdict.TAMPERED:
        return check
    detail = f"the record is registered as {named!r:.200}, not as {mrv_id}"
    return check.model_copy(update={"verdict": Verdict.TAMPERED, "detail": detail, "hint": None})


def _check_batch(beside: RecordReceipts | None, commitment: Digest) -> list[Finding]:
    """Check that the record is in the batch that its receipts are for, where there is one."""
    if beside is None or beside.batch is None or beside.commitment != commitment:
        return []
    try:
        beside.batch.verify(commitment, beside.anchored)
    except VerificationError as error:
        return [Finding(verdict=Verdict.TAMPERED, place="batch", message=error.message)]
    return []


def _check_commitments(
    run: _Run,
    mrv_id: str,
    commitment: Digest,
    receipts: Mapping[str, Receipt],
    others: Mapping[str, Digest],
    wrong: Sequence[Finding],
    notes: str,
) -> None:
    name = "What is anchored under its id is this record"
    findings = [
        *wrong,
        *(
            Finding(
                verdict=Verdict.TAMPERED,
                place=f"receipt:{network}",
                message=f"another record is anchored as {mrv_id}",
                expected=str(other),
                computed=str(commitment),
            )
            for network, other in sorted(others.items())
        ),
    ]
    if findings:
        run.find(name, findings, "")
    elif receipts:
        run.add(name, Verdict.VALID, f"{len(receipts)} receipts for {commitment}{f'; {notes}' if notes else ''}")
    else:
        none = f"no receipt of {mrv_id} is beside the record or in the journal, and no registry that was asked has it"
        run.add(name, Verdict.NOT_FOUND, f"{none}; {notes}" if notes else none)


def _close(run: _Run, name: str, verdicts: Sequence[Verdict], none: str) -> None:
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in Verdict if verdict in verdicts)
    run.add(name, worst(verdicts) if verdicts else None, counts or none)


def _decide(run: _Run, others: Mapping[str, Digest], require: int | Literal["all"], *, is_open: bool) -> Verdict:
    """Combine everything; `is_open` says that a registry, which may have the record, could not be asked."""
    verdicts = [check.verdict for check in run.checks] or [Verdict.UNREACHABLE] * is_open
    anchored = Verdict.TAMPERED if others else combine_verdicts(verdicts, (), require)
    found = [each.verdict for each in run.findings]
    unchecked = [step.verdict for step in run.steps if step.verdict is Verdict.UNREACHABLE and step.number == 3]
    return worst([anchored, *found, *unchecked])


def _report(
    run: _Run,
    path: Path,
    record: MrvRecord | MrvRecord01 | None,
    commitment: Digest,
    mrv_id: str,
    rule: str,
    verdict: Verdict,
) -> RecordReport:
    return RecordReport(
        source=str(path),
        verdict=verdict,
        summary=_summary(run, record, mrv_id, verdict),
        created_at=utc_now(),
        mrv_id=mrv_id,
        hash=commitment,
        rule=rule,
        steps=tuple(run.steps),
        findings=tuple(run.findings),
        networks=tuple(run.checks),
        **({} if record is None else _facts(record)),
    )


def _facts(record: MrvRecord | MrvRecord01) -> dict[str, Any]:
    facts = {
        "schema_version": record.schema_version,
        "experiment_name": record.experiment.experiment_name,
    }
    if isinstance(record, MrvRecord01):
        stated, ended = record.energy_emissions, datetime.fromisoformat(record.timestamps.end_time)
        return {**facts, "end_time": ended.astimezone(UTC), "energy_kwh": stated.energy_kwh, "co2_kg": stated.co2_kg}
    energy, mass = record.energy.total_uwh, record.emissions.co2e_mg
    return {
        **facts,
        "end_time": record.timestamps.end_time,
        "energy_kwh": None if energy is None else units.kwh(energy),
        "co2_kg": None if mass is None else units.kg(mass),
        "job": None if record.job is None else record.job.mrv_id,
        "concurrent": record.measurement.concurrent,
    }


def _summary(run: _Run, record: MrvRecord | MrvRecord01 | None, mrv_id: str, verdict: Verdict) -> str:
    if verdict is Verdict.VALID:
        names = ", ".join(check.network for check in run.checks if check.verdict is Verdict.VALID)
        return f"The record is unchanged since it was anchored on {names}."
    if run.findings:
        finding = min(run.findings, key=lambda each: SEVERITY.index(each.verdict))
        return f"{finding.place}: {finding.message}."
    if not run.checks and isinstance(record, MrvRecord) and record.job is not None:
        job = record.job.mrv_id
        return f"{mrv_id} is not anchored by itself, but as a part of {job}: verify that record, with --samples."
    if not run.checks:
        return f"{mrv_id}: {run.steps[3].detail}."
    for check in run.checks:
        if check.verdict is verdict or (check.verdict, verdict) == (Verdict.TAMPERED, Verdict.DISAGREE):
            return f"{check.network}: {check.detail}."
    return "Too few receipts are valid."
