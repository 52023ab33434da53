# SPDX-License-Identifier: MIT
"""The command `mrv`. Nothing heavy is imported here: `mrv --help` loads typer and nothing else."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from mrv_cli import (
    audit,
    batch,
    config,
    contract,
    devnet,
    export,
    fsck,
    imports,
    job,
    journal,
    networks,
    prove,
    publish,
    record_batch,
    recover,
    serve,
    submit,
    tokens,
    verify,
    watch,
    worker,
)

EXAMPLES = """\b
Examples:
  mrv anchor dataset/                      anchor a folder on the configured networks
  mrv verify artifacts/run-1               check a run and every network that holds it
  mrv report artifacts/run-1 --html r.html the same as a page
  mrv flush                                send what a network did not take
  mrv export --bundle artifacts/run-1      write one file that others can check

\b
Exit status: 0 valid, 1 tampered or disagree, 2 usage, 3 pending, 4 could not check, 5 not found.
"""

_CONTEXT = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    name="mrv",
    epilog=EXAMPLES,
    no_args_is_help=True,
    context_settings=_CONTEXT,
    # Both would load rich for every --help: three times the time, for frames around the text.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
config_app = typer.Typer(
    help="Check a configuration, or print its schema.", no_args_is_help=True, rich_markup_mode=None
)
contract_app = typer.Typer(
    help="Deploy this project's contracts.", no_args_is_help=True, rich_markup_mode=None, callback=lambda: None
)

app.command(short_help="Check a run, or a bundle of one, and its networks.", epilog=verify.VERIFY_EXAMPLES)(
    verify.verify
)
app.command(short_help="Check a run and write the report as a page.", epilog=verify.REPORT_EXAMPLES)(verify.report)
app.command(short_help="Commit to a file or folder and anchor it.", epilog=journal.ANCHOR_EXAMPLES)(journal.anchor)
app.command(short_help="List runs, anchors and how far each has come.", epilog=journal.STATUS_EXAMPLES)(journal.status)
app.command(short_help="Send what is queued; look again at the rest.", epilog=journal.FLUSH_EXAMPLES)(journal.flush)
app.command(short_help="Check the journal, and rebuild it.", epilog=fsck.FSCK_EXAMPLES)(fsck.fsck)
app.command(short_help="Anchor the roots of many runs as one batch.", epilog=batch.BATCH_EXAMPLES)(batch.batch)
app.command("mrv-batch", short_help="Anchor many MRV records as one batch.", epilog=record_batch.RECORD_BATCH_EXAMPLES)(
    record_batch.record_batch
)
app.command("mrv-recover", short_help="Write the MRV records of killed trainings.", epilog=recover.RECOVER_EXAMPLES)(
    recover.recover
)
app.command("mrv-job", short_help="Sum up the MRV records of a job's ranks.", epilog=job.JOB_EXAMPLES)(job.job)
app.command(short_help="Prove one fact of a run, or check a proof.", epilog=prove.PROVE_EXAMPLES)(prove.prove)
app.command(short_help="Write one file that others can check.", epilog=export.EXPORT_EXAMPLES)(export.export)
app.command("import", short_help="Read an OpenTimestamps proof as a receipt.", epilog=imports.IMPORT_EXAMPLES)(
    imports.import_
)
app.command(short_help="Publish the tree of a run as linked blocks.", epilog=publish.PUBLISH_EXAMPLES)(publish.publish)
app.command(short_help="Fetch one fact of a published tree.", epilog=publish.FETCH_EXAMPLES)(publish.fetch)
app.command(short_help="Ask the networks whether they can be used.", epilog=networks.NETWORKS_EXAMPLES)(
    networks.networks
)
config_app.command(epilog=config.CHECK_EXAMPLES)(config.check)
config_app.command(epilog=config.SCHEMA_EXAMPLES)(config.schema)
app.add_typer(config_app, name="config")
contract_app.command(epilog=contract.DEPLOY_EXAMPLES)(contract.deploy)
app.add_typer(contract_app, name="contract")
app.add_typer(devnet.devnet_app, name="devnet")
app.command(short_help="Run a registry of records and bundles.", epilog=serve.SERVE_EXAMPLES)(serve.serve)
app.command(short_help="Anchor the records of a registry in batches.", epilog=worker.WORKER_EXAMPLES)(worker.worker)
app.command(short_help="Verify what a registry holds, and raise alarms.", epilog=watch.WATCH_EXAMPLES)(watch.watch)
app.add_typer(tokens.token_app, name="token")
app.command(short_help="Submit records and bundles to a registry.", epilog=submit.SUBMIT_EXAMPLES)(submit.submit)
app.command(short_help="Check that a registry's log only grows.", epilog=audit.AUDIT_EXAMPLES)(audit.audit)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"mrv {version('mrv-provenance')}")
        raise typer.Exit


@app.callback()
def mrv(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Verifiable machine-learning provenance: commit to a run in one Merkle tree, anchor it, check it."""


def main() -> None:
    """Run the command line of this process."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal without UTF-8 gets escapes, not an exception
            stream.reconfigure(errors="backslashreplace")
    app()
