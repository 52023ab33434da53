# SPDX-License-Identifier: MIT
"""`mrv prove`: show one fact of a run without the others, and check what somebody else shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mrv_cli.options import JsonOption, existing, existing_run
from mrv_cli.output import console, guarded, note, print_json
from mrv_core.errors import ConfigurationError, FormatError, RunStateError, VerificationError

if TYPE_CHECKING:
    from mrv_core.proofs import InclusionProofFile
    from mrv_core.provenance_tree import MLProvenanceMerkleTree
    from mrv_core.run_folder import AnchorFile

_MAX_PROOF_BYTES = 64 * 1024 * 1024

OptionalRun = Annotated[
    Path | None, typer.Argument(metavar="RUN", help="Folder of the run.", show_default=False, readable=False)
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
        "--check", metavar="FILE", help="Check this proof instead; needs --root.", show_default=False, readable=False
    ),
]
RootOption = Annotated[
    str | None,
    typer.Option("--root", metavar="DIGEST", help="Root that you trust, as algorithm:hex.", show_default=False),
]

PROVE_EXAMPLES = """\b
Examples:
  mrv prove artifacts/run-1 training/results -o proof.json
  mrv prove --check proof.json --root sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
"""


@guarded
def prove(
    run: OptionalRun = None,
    leaf: LeafArgument = None,
    output: OutputOption = None,
    check: CheckOption = None,
    root: RootOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the proof that one node belongs to the newest anchored root covering it; or check such a proof."""
    if check is not None and root is not None and run is None:
        _check(existing(check, "proof file"), root, as_json=as_json)
    elif run is not None and leaf is not None and check is None and root is None:
        _write(_make(existing_run(run), leaf), output, as_json=as_json)
    else:
        raise ConfigurationError(
            "give RUN and LEAF, or --check FILE and --root DIGEST", hint="see examples with 'mrv prove --help'"
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


def _write(proof: InclusionProofFile, output: Path | None, *, as_json: bool) -> None:
    from mrv_core.files import write_atomic

    if output is not None:
        write_atomic(output, proof.to_bytes())
        note(f"wrote {output}; anyone checks it with: mrv prove --check {output} --root {proof.root}")
    if output is None or as_json:
        print_json(proof.to_json())


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
