# SPDX-License-Identifier: MIT
"""`mrv prove`: show one fact of a run, or one sample of a record, without the others; check what others show."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mrv_cli.options import JsonOption, existing, existing_run
from mrv_cli.output import console, guarded, note, print_json
from mrv_core.errors import ConfigurationError, FormatError, RunStateError, VerificationError

if TYPE_CHECKING:
    from mrv_core.models import Model
    from mrv_core.mrv.record import MrvRecord
    from mrv_core.mrv.samples import SampleProof
    from mrv_core.proofs import InclusionProofFile
    from mrv_core.provenance_tree import MLProvenanceMerkleTree
    from mrv_core.run_folder import AnchorFile

_MAX_PROOF_BYTES = 64 * 1024 * 1024

OptionalSubject = Annotated[
    Path | None,
    typer.Argument(
        metavar="RUN_OR_RECORD", help="Folder of the run, or an MRV record.", show_default=False, readable=False
    ),
]
LeafArgument = Annotated[
    str | None,
    typer.Argument(metavar="LEAF", help="Path name, for instance training/epochs/7/metrics.", show_default=False),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FILE", help="Write here instead of to stdout.", show_default=False, readable=False
    ),
]
CheckOption = Annotated[
    Path | None,
    typer.Option(
        "--check",
        metavar="FILE",
        help="Check this proof instead; needs --root or --record.",
        show_default=False,
        readable=False,
    ),
]
RootOption = Annotated[
    str | None,
    typer.Option("--root", metavar="DIGEST", help="Root that you trust, as algorithm:hex.", show_default=False),
]
AtOption = Annotated[
    float | None,
    typer.Option(
        "--at", metavar="SECONDS", help="Record: its sample of this moment, since the start.", show_default=False
    ),
]
RecordOption = Annotated[
    Path | None,
    typer.Option("--record", metavar="RECORD", help="Record that you verified.", show_default=False, readable=False),
]

PROVE_EXAMPLES = """\b
Examples:
  mrv prove artifacts/run-1 training/results -o proof.json
  mrv prove --check proof.json --root sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
  mrv prove mrv_data/MRV-1f0c.json --at 12.5 -o sample.json
  mrv prove --check sample.json --record MRV-1f0c.json
"""


@guarded
def prove(
    subject: OptionalSubject = None,
    leaf: LeafArgument = None,
    at: AtOption = None,
    output: OutputOption = None,
    check: CheckOption = None,
    root: RootOption = None,
    record: RecordOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the proof that one node belongs to the newest anchored root covering it; or check such a proof.

    Or disclose one sample of an MRV record, with the proof that the record commits to it; or check that.
    """
    given = {name for name, value in locals().items() if value is not None} - {"output", "as_json"}
    if check is not None and root is not None and given == {"check", "root"}:
        _check(existing(check, "proof file"), root, as_json=as_json)
    elif check is not None and record is not None and given == {"check", "record"}:
        _check_sample(existing(check, "proof file"), existing(record, "record"), as_json=as_json)
    elif subject is not None and leaf is not None and given == {"subject", "leaf"}:
        proof = _make(existing_run(subject), leaf)
        _write(proof, f"--root {proof.root}", output, as_json=as_json)
    elif subject is not None and at is not None and given == {"subject", "at"}:
        path = existing(subject, "record")
        _write(_disclose(path, at), f"--record {path}", output, as_json=as_json)
    else:
        raise ConfigurationError(
            "give RUN and LEAF, RECORD and --at, or --check FILE with --root DIGEST or --record RECORD",
            hint="see examples with 'mrv prove --help'",
        )


def _make(run: Path, leaf: str) -> InclusionProofFile:
    """Prove a node under the newest anchored root that covers it.

    Raises:
        RunStateError: no anchored root covers it.
        FormatError: the run has no such node.
        VerificationError: a file is not as it was written, or the tree does not lead to the anchored root any more.
        StorageError: a file is missing or unreadable.
    """
    from mrv_core.proofs import InclusionProofFile

    tree, anchors = _read(run)
    tree.node(leaf)
    for anchor in reversed(anchors):
        try:
            node, proof = tree.node(leaf, anchor.state), tree.prove(leaf, anchor.state)
        except FormatError:  # this root is older than the node
            continue
        file = InclusionProofFile.from_proof(proof, anchor.root, node)
        file.verify(anchor.root)
        return file
    raise RunStateError(f"no anchored root covers {leaf}", hint=f"see 'mrv status {run}'")


def _read(run: Path) -> tuple[MLProvenanceMerkleTree, list[AnchorFile]]:
    """Read the tree and the anchors of a run, of which nothing may have been changed."""
    from mrv_core.run_folder import RunFolder

    folder, hint = RunFolder.open(run), f"see 'mrv verify {run}'"
    try:
        tree, damaged = folder.read_tree(folder.run().run_id)
        anchors = [folder.read_anchor(name).file for name in folder.anchor_names()]
    except FormatError as error:
        raise VerificationError(error.message, hint=hint) from error
    if damaged:
        raise VerificationError(f"{damaged[0].place}: {damaged[0].message}", hint=hint)
    return tree, anchors


def _disclose(path: Path, at_s: float) -> SampleProof:
    """Prove the sample of a moment.

    Raises:
        ConfigurationError: no moment.
        FormatError: it is no record, or no sample was taken then.
        VerificationError: the samples are not those of the record.
        StorageError: a file is missing or unreadable.
    """
    from mrv_core.mrv.samples import prove_sample, read_samples, verify_sample_proof
    from mrv_core.mrv.storage import samples_path

    if not math.isfinite(at_s):
        raise ConfigurationError(f"--at is a number of seconds, not {at_s}")
    record = _read_record(path)
    if record.samples is None:
        raise FormatError(f"{path} commits to no samples")
    file = read_samples(samples_path(path))
    proof = prove_sample(file, round(at_s * 1000), mrv_id=record.mrv_id, record=record.hash)
    verify_sample_proof(proof, record.samples)
    return proof


def _read_record(path: Path) -> MrvRecord:
    from mrv_core.mrv.record import parse_record
    from mrv_core.mrv.storage import read_record_file

    return parse_record(read_record_file(path), what=str(path))


def _write(proof: Model, trusted: str, output: Path | None, *, as_json: bool) -> None:
    from mrv_core.files import write_atomic

    if output is not None:
        write_atomic(output, proof.to_bytes())
        note(f"wrote {output}; anyone checks it with: mrv prove --check {output} {trusted}")
    if output is None or as_json:
        print_json(proof.to_json())


def _check_sample(file: Path, path: Path, *, as_json: bool) -> None:
    from mrv_core.files import read_limited
    from mrv_core.models import Verdict
    from mrv_core.mrv.samples import SampleProof, verify_sample_proof
    from mrv_core.report.terminal import line, verdict_text

    record = _read_record(path)
    try:
        proof = SampleProof.from_bytes(read_limited(file, _MAX_PROOF_BYTES), what=str(file))
        if record.samples is None or (proof.mrv_id, proof.record) != (record.mrv_id, record.hash):
            raise VerificationError(f"{file} is about {proof.mrv_id}, {proof.record}, and not about {path}")
        components, sample = verify_sample_proof(proof, record.samples)
    except FormatError as error:  # malformed evidence is wrong evidence
        raise VerificationError(error.message, hint=error.hint) from error
    if as_json:
        print_json({"verdict": Verdict.VALID, "proof": proof.to_json()})
        return
    powers = ", ".join(
        f"{component} {'not measured' if power is None else f'{power / 1000:g} W'}"
        for component, power in zip(components, sample.powers_mw, strict=True)
    )
    text = f"  {sample.start_ms / 1000:g} s to {sample.end_ms / 1000:g} s of {record.mrv_id}: {powers}"
    console().print(line(verdict_text(Verdict.VALID), text), soft_wrap=True)


def _check(file: Path, root: str, *, as_json: bool) -> None:
    from mrv_core.files import read_limited
    from mrv_core.hashing import Digest
    from mrv_core.models import Verdict
    from mrv_core.proofs import InclusionProofFile
    from mrv_core.report.terminal import line, verdict_text

    trusted = Digest.parse(root)
    try:
        proof = InclusionProofFile.from_bytes(read_limited(file, _MAX_PROOF_BYTES), what=str(file))
    except FormatError as error:  # malformed evidence is wrong evidence
        raise VerificationError(error.message, hint=error.hint) from error
    proof.verify(trusted)
    if as_json:
        print_json({"verdict": Verdict.VALID, "proof": proof.to_json()})
        return
    if proof.kind == "absent":
        text = f"  nothing was tracked as {proof.path} in run {proof.run_id}, {proof.phase}: that is under {root}"
    else:
        shown = f" with the digest {proof.digest}" if proof.digest is not None else ""
        text = f"  {proof.path}, {proof.kind}{shown}, of run {proof.run_id}, {proof.phase}, is under {root}"
    console().print(line(verdict_text(Verdict.VALID), text), soft_wrap=True)
