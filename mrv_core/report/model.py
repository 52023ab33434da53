# SPDX-License-Identifier: MIT
"""The integrity report: one model, rendered as JSON, as a terminal table and as an HTML page."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mrv_core.models import DigestField, Json, Model, TimeField, Verdict


class Step(Model):
    """One numbered step of the verification.

    Attributes:
        number: 1 to 7, as in docs/verification.md.
        name: What the step does.
        verdict: Its outcome, or None where the step had nothing to do.
        detail: One line: what was checked, or why nothing was.
    """

    number: int
    name: str
    verdict: Verdict | None
    detail: str


class Finding(Model):
    """One thing that is wrong or could not be checked, as exact as the evidence allows.

    Attributes:
        verdict: TAMPERED, or why it could not be checked.
        place: A leaf's path name (`training/epochs/7/metrics`), a file of the run folder, or `receipt:<network>`.
        message: One line.
        expected: The committed value, where there is one.
        computed: The value found now.
    """

    verdict: Verdict
    place: str
    message: str
    expected: str | None = None
    computed: str | None = None


class NetworkResult(Model):
    """What one network says about one anchor.

    Attributes:
        network: Configured name.
        driver: Name of the driver.
        verdict: Outcome for this anchor on this network.
        detail: One line for people.
        hint: What to do next where the verdict is not VALID.
        reference: Transaction id or CID.
        network_id: Which network it really is.
        embedded: True where the network lives in this folder and proves nothing to others.
        attests_time: Whether inclusion proves a time.
        state: PENDING, INCLUDED or FINAL, as checked now.
        block_time: Time attested by the network.
        submitted_at: This machine's clock when it was sent: a claim.
        confirmations: Blocks on top, counting the including one.
        facts: Further checked facts.
        trusts: What remains to be trusted.
    """

    network: str
    driver: str
    verdict: Verdict
    detail: str
    hint: str | None = None
    reference: str | None = None
    network_id: str | None = None
    embedded: bool = False
    attests_time: bool = False
    state: str | None = None
    block_time: TimeField | None = None
    submitted_at: TimeField | None = None
    confirmations: int | None = None
    facts: dict[str, Json] = Field(default={})
    trusts: tuple[str, ...] = ()


class AnchorResult(Model):
    """One anchored root of the run and what each network says about it.

    Attributes:
        name: Name of the anchor, as of its file: `000-before_training`.
        phase: When the root was taken.
        epochs: Number of epochs the root covers.
        root: The anchored root.
        verdict: Combined by the policy.
        networks: One result a network.
    """

    name: str
    phase: str
    epochs: int
    root: DigestField
    verdict: Verdict
    networks: tuple[NetworkResult, ...]


class ContentCheck(Model):
    """A comparison of real content with the leaves that commit to it.

    Attributes:
        path: Path name of the node it was compared with.
        source: File or object that was read.
        verdict: VALID or TAMPERED, or UNREACHABLE where the source could not be read.
        detail: One line.
    """

    path: str
    source: str
    verdict: Verdict
    detail: str


class EpochRow(Model):
    """One epoch for tables and plots.

    Attributes:
        epoch: The trainer's number.
        metrics, privacy_metrics: The committed values, None where there are none.
        hash: Hash of the epoch's node, hexadecimal.
    """

    epoch: int
    metrics: Json = None
    privacy_metrics: Json = None
    hash: str


class TreeRow(Model):
    """One node of the tree for display, parents first.

    Attributes:
        path: Path name.
        kind: `branch`, `absent` or the kind of content.
        size: Number of children of a branch.
        digest: Content digest of a leaf.
        hash: Node hash, hexadecimal.
    """

    path: str
    kind: str
    size: int | None = None
    digest: str | None = None
    hash: str


class IntegrityReport(Model):
    """Everything one verification found out.

    Attributes:
        format: Version of this format.
        run_id: The run.
        run_folder: Where it was read from.
        verdict: The overall verdict.
        chain_integrity: True only where the verdict is VALID.
        summary: One sentence for people.
        created_at: When this report was made, by this machine's clock.
        root: Root of the present tree under the phase of its last anchor, where there is a tree.
        policy: The rule that combined the verdicts, in words.
        steps: The seven steps.
        findings: Everything that is wrong or could not be checked.
        uncovered: Path names of what no anchor covers yet.
        anchors: The anchored roots, oldest first.
        contents: Comparisons with real content, where some was given.
        started_at: When the run was created, by the clock of the machine that ran it.
        hash_algorithm: Algorithm of the content digests.
        config, environment, results: The committed values.
        epochs: One row an epoch.
        tree: The tree's nodes; long lists of siblings are cut and say so in `tree_omitted`.
        tree_omitted: How many nodes are left out of `tree`.
    """

    format: Literal["mrv-report/1"] = "mrv-report/1"
    run_id: str
    run_folder: str
    verdict: Verdict
    chain_integrity: bool
    summary: str
    created_at: TimeField
    root: DigestField | None
    policy: str
    steps: tuple[Step, ...]
    findings: tuple[Finding, ...]
    uncovered: tuple[str, ...]
    anchors: tuple[AnchorResult, ...]
    contents: tuple[ContentCheck, ...]
    started_at: TimeField | None
    hash_algorithm: str | None
    config: Json = None
    environment: Json = None
    results: Json = None
    epochs: tuple[EpochRow, ...]
    tree: tuple[TreeRow, ...] = Field(description="Parents first")
    tree_omitted: int = 0
