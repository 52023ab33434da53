# SPDX-License-Identifier: MIT
"""`mrv publish` and `mrv fetch`: the tree of a run on a network that holds content, and one node of it back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mrv_cli.options import (
    DEFAULT_BASE_DIR,
    BaseDirOption,
    ConfigOption,
    JsonOption,
    RunArgument,
    existing_run,
    read_config,
)
from mrv_cli.output import console, guarded, note, print_json
from mrv_core.errors import ConfigurationError, FormatError, RunStateError, VerificationError

if TYPE_CHECKING:
    from mrv_core.driver import PublishingDriver
    from mrv_core.manager import BlockchainManager

PUBLISH_EXAMPLES = """\b
Examples:
  mrv publish artifacts/run-1
  mrv publish artifacts/run-1 --values --json

\b
Exit status: 0 published, 1 the run was changed, 2 usage, 4 the network did not take it.
"""
FETCH_EXAMPLES = """\b
Examples:
  mrv fetch bafyreib6lmiczemdyiv4nxqu6q5y2wd7h3fcemcxajlhxtqsyfyoov4cvu training/results
  mrv fetch bafyreib6lmiczemdyiv4nxqu6q5y2wd7h3fcemcxajlhxtqsyfyoov4cvu training/results --root sha256:… -o proof.json

\b
Exit status: 0 fetched and under the root, 1 it is not, 2 usage, 4 somebody could not be asked, 5 not found.
"""

PublishNetworkOption = Annotated[
    str, typer.Option("--network", metavar="NAME", help="Network that holds content, not only anchors.")
]
AnchorOption = Annotated[
    str | None,
    typer.Option("--anchor", metavar="NAME", help="Anchor to publish; by default the newest.", show_default=False),
]
ValuesOption = Annotated[
    bool, typer.Option("--values", help="Publish the JSON values too: configuration, environment, metrics.")
]
CidArgument = Annotated[str, typer.Argument(metavar="CID", help="Name that 'mrv publish' printed.", show_default=False)]
LeafArgument = Annotated[
    str, typer.Argument(metavar="LEAF", help="Path name, for instance training/epochs/7/metrics.", show_default=False)
]
RootOption = Annotated[
    str | None,
    typer.Option("--root", metavar="DIGEST", help="Anchored root that it must lead to.", show_default=False),
]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write the proof here.", show_default=False, readable=False),
]


@guarded
def publish(
    run: RunArgument,
    network: PublishNetworkOption = "ipfs",
    anchor: AnchorOption = None,
    values: ValuesOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Publish the tree of a run as linked blocks: labels, kinds and digests become public for ever, contents do not."""
    from mrv_core.manager import BlockchainManager
    from mrv_core.run_folder import RunFolder

    run = existing_run(run)
    folder, hint = RunFolder.open(run), f"see 'mrv verify {run}'"
    try:
        tree, damaged = folder.read_tree(folder.run().run_id)
        names = folder.anchor_names()
        file = folder.read_anchor(_chosen(anchor, names)).file
    except FormatError as error:
        raise VerificationError(error.message, hint=hint) from error
    if damaged:
        raise VerificationError(f"{damaged[0].place}: {damaged[0].message}", hint=hint)
    with BlockchainManager(read_config(config), base_dir=run.parent) as manager:
        made = _driver(manager, network).publish_tree(tree, file.state, values=values)
    shown = {
        "cid": str(made.cid),
        "root": str(made.root),
        "network": network,
        "blocks": made.blocks,
        "bytes": made.size,
    }
    if as_json:
        print_json({**shown, "blocks": made.blocks, "bytes": made.size})
        return
    for key, value in shown.items():
        console().print(f"{key:<8} {value}", soft_wrap=True)
    note(f"anyone fetches one fact with: mrv fetch {made.cid} training/results --root {made.root}")


@guarded
def fetch(
    cid: CidArgument,
    leaf: LeafArgument,
    root: RootOption = None,
    network: PublishNetworkOption = "ipfs",
    output: OutputOption = None,
    config: ConfigOption = None,
    base_dir: BaseDirOption = DEFAULT_BASE_DIR,
    as_json: JsonOption = False,
) -> None:
    """Fetch one node of a published tree, check every block by its name, and prove the node under the root."""
    from mrv_core.files import write_atomic
    from mrv_core.hashing import Digest
    from mrv_core.manager import BlockchainManager
    from mrv_core.proofs import InclusionProofFile

    trusted = Digest.parse(root) if root is not None else None
    with BlockchainManager(read_config(config), base_dir=base_dir) as manager:
        found = _driver(manager, network).fetch_leaf(cid, leaf, trusted)
    proof = InclusionProofFile.from_proof(found.proof, found.root)
    proof.verify(found.root)
    if output is not None:
        write_atomic(output, proof.to_bytes())
        note(f"wrote {output}; anyone checks it with: mrv prove --check {output} --root {found.root}")
    value = json.loads(found.json) if found.json is not None else None
    if as_json:
        print_json({"proof": proof.to_json(), "value": value, "root": str(found.root), "root_given": root is not None})
        return
    out = console()
    out.print(f"{proof.path}, {proof.kind}, digest {proof.digest}", soft_wrap=True, markup=False)
    if found.json is not None:
        out.print(found.json, soft_wrap=True, markup=False)
    out.print(f"under the root {found.root} of run {proof.run_id}, {proof.phase}", soft_wrap=True)
    if root is None:
        note("the root is the tree's own claim: compare it with an anchor, or give it with --root")


def _chosen(anchor: str | None, names: Sequence[str]) -> str:
    if not names:
        raise RunStateError("nothing of this run is anchored", hint="anchor it first, so that its root means something")
    if anchor is not None and anchor not in names:
        raise ConfigurationError(f"the run has no anchor {anchor!r}", hint=f"it has {', '.join(names)}")
    return anchor or names[-1]


def _driver(manager: BlockchainManager, network: str) -> PublishingDriver:
    from mrv_core.driver import PublishingDriver

    driver = manager.driver(network)
    if not isinstance(driver, PublishingDriver):
        raise ConfigurationError(
            f"{network}: the driver {driver.name!r} holds anchors, not content", hint="name a network of IPFS"
        )
    return driver
