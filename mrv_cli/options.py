# SPDX-License-Identifier: MIT
"""Options that several commands share, and how their values are read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mrv_core.errors import ConfigurationError

if TYPE_CHECKING:
    from mrv_core.config import Config

# Every path has `readable=False`: what cannot be read is told by whoever reads it, not as an error of usage.
RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="Folder of the run.", show_default=False, readable=False)
]
BaseDirOption = Annotated[
    Path,
    typer.Option(
        "--base-dir",
        metavar="DIR",
        help="Artifacts folder: the runs, the journal, embedded networks.",
        readable=False,
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Configuration; by default $MRV_CONFIG, then configs/blockchain_config.json, then embedded networks.",
        show_default=False,
        readable=False,
    ),
]
NetworkOption = Annotated[
    list[str] | None,
    typer.Option("--network", metavar="NAME", help="Only this network; may be repeated.", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout instead of text.")]

DEFAULT_BASE_DIR = Path("artifacts")


def existing(path: Path, what: str, hint: str | None = None) -> Path:
    """Return a path that was named on the command line.

    Raises:
        ConfigurationError: there is nothing; a wrong argument, not a failed check.
        StorageError: that cannot be seen.
    """
    try:
        there = path.exists()
    except OSError as error:
        from mrv_core.files import storage_error

        raise storage_error("read", path, error) from error
    if not there:
        raise ConfigurationError(f"there is no {what} {path}", hint=hint or "check the path")
    return path


def existing_run(path: Path) -> Path:
    """Return the folder of a run, whatever state it is in, by a path that has a parent: not as `.`.

    Raises:
        ConfigurationError: there is no such folder.
    """
    existing(path, "run folder", "list runs with 'mrv status'")
    if not path.is_dir():
        raise ConfigurationError(f"{path} is a file, not a run folder", hint="list runs with 'mrv status'")
    return path.resolve() if path.name in ("", "..") else path


def read_config(path: Path | None) -> Config:
    """Load the configuration and let the libraries log as it says.

    Raises:
        ConfigurationError: the file is not there, or what it says is wrong.
    """
    from mrv_core.config import find_config, load_config

    found = find_config(path)
    config = load_config(existing(found, "configuration file") if found is not None else None)
    _log_to_stderr(debug=config.debug)
    return config


def _log_to_stderr(*, debug: bool) -> None:
    """Show what goes wrong inside; outcomes are told by the commands themselves, so warnings would repeat them."""
    import logging

    from mrv_core.report.text import visible

    class OneLine(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return visible(f"{record.levelname.lower()}: {record.getMessage()}")

    handler = logging.StreamHandler()
    handler.setFormatter(OneLine())
    logging.basicConfig(level=logging.DEBUG if debug else logging.ERROR, handlers=[handler])
