# SPDX-License-Identifier: MIT
"""What is where in a devnet's folder, and how a folder is known to be one."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mrv_core.errors import ConfigurationError
from mrv_core.files import make_folder, storage_error, write_atomic

_MARKER_TEXT: Final = b"""{"what": "a local development network; 'mrv devnet reset' removes it", "format": 1}\n"""
_ANY: Final = b"*\n"


@dataclass(frozen=True)
class Layout:
    """The names in a devnet's folder.

    Attributes:
        folder: Absolute path of the folder.
    """

    folder: Path

    @property
    def marker(self) -> Path:
        """File that tells this folder from one that is none of ours."""
        return self.folder / "mrv-devnet.json"

    @property
    def lock(self) -> Path:
        """Lock file: one command at a time."""
        return self.folder / ".lock"

    @property
    def ethereum(self) -> Path:
        """Folder of anvil."""
        return self.folder / "ethereum"

    @property
    def bitcoin(self) -> Path:
        """Folder of bitcoind, with its password and wallets."""
        return self.folder / "bitcoin"

    @property
    def ipfs(self) -> Path:
        """Folder of the IPFS daemon."""
        return self.folder / "ipfs"

    @property
    def miner(self) -> Path:
        """Folder of the miner."""
        return self.folder / "miner"

    @property
    def key(self) -> Path:
        """File with the Ethereum key and nothing else."""
        return self.folder / "eth.key"

    @property
    def contracts(self) -> Path:
        """File with the addresses of the contracts."""
        return self.folder / "contracts.json"

    @property
    def config(self) -> Path:
        """Configuration file for everything that uses the devnet."""
        return self.folder / "blockchain_config.devnet.json"

    def create(self) -> None:
        """Make the folder a devnet's, unless it is one.

        Raises:
            ConfigurationError: it holds something else.
            StorageError: it cannot be made.
        """
        make_folder(self.folder)
        try:
            if self.marker.is_file():
                return
            empty = not any(self.folder.iterdir())
        except OSError as error:
            raise storage_error("read", self.folder, error) from error
        if not empty:
            raise ConfigurationError(
                f"{self.folder} is not empty and no devnet folder", hint="choose another folder with --dir"
            )
        write_atomic(self.marker, _MARKER_TEXT)
        write_atomic(self.folder / ".gitignore", _ANY)  # keys are in here

    def require(self) -> None:
        """Refuse a folder that is no devnet's.

        Raises:
            ConfigurationError: there is no such folder, or it is something else.
        """
        try:
            if self.marker.is_file():
                return
            what = "is no devnet folder" if self.folder.exists() else "does not exist"
        except OSError as error:
            raise storage_error("read", self.folder, error) from error
        raise ConfigurationError(f"{self.folder} {what}", hint="start one with 'mrv devnet up'")

    def remove(self) -> bool:
        """Remove what a devnet made; tell whether that was everything, and so the folder itself.

        The marker goes last, so that a removal that was interrupted can be repeated.

        Raises:
            StorageError: something cannot be removed.
        """
        try:
            for path in (self.ethereum, self.bitcoin, self.ipfs, self.miner):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)  # a link is removed, not what it leads to
            for path in (self.key, self.contracts, self.config, self.folder / ".gitignore", self.lock, self.marker):
                path.unlink(missing_ok=True)
            empty = not any(self.folder.iterdir())
            if empty:
                self.folder.rmdir()
        except OSError as error:
            raise storage_error("remove", error.filename or self.folder, error) from error
        return empty
