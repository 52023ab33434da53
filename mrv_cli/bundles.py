# SPDX-License-Identifier: MIT
"""`mrv verify` for a bundle: its options, one call of the core, and the report on a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mrv_cli.options import existing, read_config
from mrv_cli.output import console, print_json
from mrv_core.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.text import Text

    from mrv_core.bundle_receipts import NetworkCheck
    from mrv_core.bundle_verification import BundleReport
    from mrv_core.driver import TrustedFacts
    from mrv_core.models import Verdict
    from mrv_core.report.model import Step

_BLOCK = re.compile(r"(?:([!-~]+):)?(?:0[xX])?([0-9a-fA-F]{64})")
_LOG_KEY = re.compile(r"[^\s+]+\+[0-9a-f]{8}\+[A-Za-z0-9+/]+=*")
MAX_WORK_BITS = 256

OfflineOption = Annotated[
    bool, typer.Option("--offline", help="Bundle: ask no network; say what remains to be trusted.")
]
BlockOption = Annotated[
    list[str] | None,
    typer.Option(
        "--block",
        metavar="[NETWORK_ID:]HASH",
        help="Bundle: hash of a block that you know to be in the chain (of NETWORK_ID); may be repeated.",
        show_default=False,
    ),
]
LogKeyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--log-key",
        metavar="VKEY",
        help="Bundle: verifier key of a log, from a source of your own; may be repeated.",
        show_default=False,
    ),
]
MinWorkOption = Annotated[
    int | None,
    typer.Option(
        "--min-work",
        metavar="BITS",
        help="Bundle: believe a block header that cost 2^BITS expected hashes or more.",
        min=1,
        max=MAX_WORK_BITS,
        show_default=False,
    ),
]
RootOption = Annotated[
    str | None,
    typer.Option("--root", metavar="DIGEST", help="Bundle: the run's root that you expect.", show_default=False),
]
ContentOption = Annotated[
    Path | None,
    typer.Option(
        "--content",
        metavar="PATH",
        help="Bundle: file or folder that the proven leaf must be of.",
        show_default=False,
        readable=False,
    ),
]


@dataclass(frozen=True, slots=True)
class Known:
    """What the verifier knows, as of the command line.

    Attributes:
        facts: Whatever holds for every receipt.
        blocks: Network id → hashes of blocks of that chain.
    """

    facts: TrustedFacts
    blocks: dict[str, frozenset[str]]


def read_known(blocks: Iterable[str], log_keys: Iterable[str], min_work: int | None) -> Known:
    """Read what the verifier trusts from the command line.

    Raises:
        ConfigurationError: not a block hash, or not a verifier key.
    """
    from mrv_core.driver import TrustedFacts

    hashes: dict[str | None, set[str]] = {None: set()}
    for text in blocks:
        match = _BLOCK.fullmatch(text)
        if match is None:
            raise ConfigurationError(
                f"{text[:120]!r} is no block hash", hint="write 64 hexadecimal digits as explorers show them"
            )
        hashes.setdefault(match[1], set()).add(match[2].lower())
    keys = frozenset(log_keys)
    for key in sorted(keys):
        if not _LOG_KEY.fullmatch(key):
            raise ConfigurationError(f"{key[:120]!r} is no verifier key", hint="write it as name+id+key")
    anywhere = frozenset(hashes.pop(None))
    facts = TrustedFacts(block_hashes=anywhere, log_keys=keys, min_work=min_work)
    return Known(facts, {name: frozenset(own) for name, own in hashes.items() if name is not None})


def verify_bundle_file(
    path: Path,
    *,
    known: Known,
    root: str | None,
    content: Path | None,
    networks: Iterable[str] | None,
    offline: bool,
    config: Path | None,
    base_dir: Path,
) -> BundleReport:
    """Verify a bundle with the values of the command line.

    Raises:
        ConfigurationError: a file that is no bundle, content that is not there, a network that is not in it.
        FormatError: a root that is no digest, or content of another form.
        StorageError: something cannot be read.
    """
    from mrv_core.bundle_verification import Expectations, verify_bundle
    from mrv_core.hashing import Digest
    from mrv_core.manager import BlockchainManager
    from mrv_core.registry import Registry

    registry = Registry.load()
    expect = Expectations(
        root=Digest.parse(root) if root is not None else None,
        content=existing(content, "file or folder") if content is not None else None,
        networks=tuple(networks) if networks else None,
    )
    given: dict[str, Any] = {"registry": registry, "trusted": known.facts, "blocks": known.blocks, "expect": expect}
    if offline:
        return verify_bundle(path, **given)
    with BlockchainManager(read_config(config), base_dir=base_dir, registry=registry) as manager:
        return verify_bundle(path, manager=manager, **given)


def show_bundle_report(report: BundleReport, *, as_json: bool) -> None:
    """Print the report and end with the exit status of its verdict."""
    from mrv_cli.exit_codes import OF_VERDICT

    if as_json:
        print_json(report.to_json())
    else:
        _print(report)
    raise typer.Exit(OF_VERDICT[report.verdict])


def _print(report: BundleReport) -> None:
    sections = {
        "What the bundle shows": _facts(report),
        "Steps": step_lines(report.steps),
        "Networks": chain.from_iterable(map(network_lines, report.networks)),
    }
    print_sections(report.verdict, report.summary, sections)


def print_sections(verdict: Verdict, summary: str, sections: Mapping[str, Iterable[Text]]) -> None:
    """Print a verdict with its summary, then each section that has lines."""
    from rich.text import Text

    from mrv_core.report.terminal import line, verdict_text
    from mrv_core.report.text import MEANINGS

    out = console()
    out.print(line(verdict_text(verdict), f"  {summary}"), soft_wrap=True)
    out.print(line(f"  {MEANINGS[verdict]}", style="dim"), soft_wrap=True)
    for title, content in sections.items():
        lines = list(content)
        if lines:
            out.print(Text(f"\n{title}", style="bold"))
        for item in lines:
            out.print(line("  ", item), soft_wrap=True)


def _facts(report: BundleReport) -> Iterator[Text]:
    from mrv_core.report.terminal import line

    known = {"run": report.run_id, "phase": report.phase, "root": report.root, "rule": report.rule}
    if report.anchored != report.root:
        known["batch"] = report.anchored
    if report.leaf is not None:
        known["leaf"] = f"{report.leaf.path}, {report.leaf.kind}"
        known["digest"] = report.leaf.digest
    for name, value in known.items():
        if value is not None:
            yield line(f"{name:<8}{value}")


def step_lines(steps: Iterable[Step]) -> Iterator[Text]:
    """Yield a line for each step of a verification."""
    from mrv_core.report.terminal import line, verdict_text

    for step in steps:
        verdict: Text | str = verdict_text(step.verdict) if step.verdict is not None else "-"
        yield line(f"{step.number}. {step.name}: ", verdict, f"  {step.detail}")


def network_lines(check: NetworkCheck) -> Iterator[Text]:
    """Yield the lines about one receipt."""
    from mrv_core.models import Verdict
    from mrv_core.report.terminal import line, verdict_text
    from mrv_core.report.text import EMBEDDED_LABEL, LABEL_MEANINGS

    yield line(verdict_text(check.verdict), f"  {check.network} ({check.network_id}): {check.detail}")
    if check.block_time is not None:
        block = f"block {check.block_hash}" if check.block_hash is not None else "its block"
        yield line(f"   {block} has the time {check.block_time:%Y-%m-%d %H:%M:%S} UTC")
    for text in check.remaining:
        yield line(f"   remains: {text}")
    for text in check.trusts:
        yield line(f"   trusts: {text}")
    if check.embedded:
        yield line(f"   {EMBEDDED_LABEL}: {LABEL_MEANINGS[EMBEDDED_LABEL]}")
    if check.hint is not None and check.verdict is not Verdict.VALID:
        yield line(f"   {check.hint}", style="dim")
