# SPDX-License-Identifier: MIT
"""The offline block store: one file a block, and beside it the archive that a node imports.

    blocks/<CID>        the block's bytes
    cars/<CID>.car      the same block as CARv1, root and all; or a published tree, by the CID of its root

Files are named by their content and written whole, so any number of processes may write at once without a lock.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from mrv_backends_ipfs.car import CarArchive, car_bytes
from mrv_backends_ipfs.cid import Cid
from mrv_backends_ipfs.evidence import MAX_BLOCK_BYTES, check_block
from mrv_core.errors import AnchorNotFoundError, BackendUnavailableError, FormatError, StorageError, VerificationError
from mrv_core.files import make_folder, read_limited, storage_error, write_atomic

MAX_TREE_BYTES: Final = 1024 * 1024 * 1024
"""Largest archive of a tree that is read: several million nodes."""


class BlockStore:
    """Blocks in a folder. Reading creates nothing.

    Args:
        folder: The store; need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._blocks = folder / "blocks"
        self._cars = folder / "cars"

    def put(self, cid: Cid, block: bytes) -> None:
        """Store a block and its archive; a block that is there already is left alone, a damaged one replaced.

        Raises:
            StorageError: no permission, no space, or a symbolic link is in the way.
        """
        self._make_folders()
        _write_once(self._cars / f"{cid}.car", car_bytes({cid: block}))
        _write_once(self._blocks / str(cid), block)  # last, because it is what counts as stored

    def get(self, cid: Cid) -> bytes | None:
        """Return a block after recomputing its CID, or None where the store does not have it.

        Raises:
            BackendUnavailableError: the store is not there or cannot be read.
            VerificationError: the stored bytes have another CID.
        """
        self._require()
        path = self._blocks / str(cid)
        try:
            if stat.S_ISLNK(path.lstat().st_mode):
                raise BackendUnavailableError(f"{path} is a symbolic link, not a block", hint="remove the link")
            block = read_limited(path, MAX_BLOCK_BYTES)
        except FileNotFoundError:
            return None
        except (OSError, StorageError) as error:
            raise _unreadable(path, error) from error
        except FormatError as error:
            raise VerificationError(f"the bytes stored as block {cid} are not that block: {error.message}") from error
        check_block(cid, block)
        return block

    def put_tree(self, root: Cid, blocks: Mapping[Cid, bytes]) -> None:
        """Store linked blocks as one archive; one that is there already is left alone, a damaged one replaced.

        Raises:
            StorageError: no permission, no space, or a symbolic link is in the way.
        """
        self._make_folders()
        _write_once(self._cars / f"{root}.car", car_bytes(blocks, [root]))

    def tree(self, root: Cid) -> CarArchive:
        """Return the archive of a published tree. Its blocks are checked by whoever reads them.

        Raises:
            AnchorNotFoundError: the store has no such archive.
            BackendUnavailableError: the store is not there or cannot be read.
            VerificationError: the archive is damaged.
        """
        self._require()
        path = self._cars / f"{root}.car"
        try:
            path.lstat()
            return CarArchive(read_limited(path, MAX_TREE_BYTES, follow=False))
        except FileNotFoundError:
            raise AnchorNotFoundError(f"the block store has no tree {root}", hint="publish the run's tree") from None
        except (OSError, StorageError) as error:
            raise _unreadable(path, error) from error
        except FormatError as error:
            raise VerificationError(
                f"{path.name} is damaged: {error.message}", hint="publish the tree again"
            ) from error

    def stored_at(self, cid: Cid) -> datetime:
        """Return when this machine wrote a block, in UTC and whole seconds: a claim, not evidence.

        Raises:
            BackendUnavailableError: the block cannot be read.
        """
        path = self._blocks / str(cid)
        try:
            return datetime.fromtimestamp(int(path.lstat().st_mtime), UTC)
        except OSError as error:
            raise _unreadable(path, error) from error

    def cids(self) -> list[Cid]:
        """Return the CIDs of all blocks, sorted by their text; files with other names are passed over.

        Raises:
            BackendUnavailableError: the store is not there or cannot be read.
        """
        self._require()
        try:
            names = sorted(os.listdir(self._blocks))
        except OSError as error:
            raise _unreadable(self._blocks, error) from error
        return [cid for name in names if (cid := _cid_of_name(name)) is not None]

    def export_car(self, path: Path) -> int:
        """Write one CARv1 archive with every block, each of them a root, and return their number.

        Raises:
            StorageError: the archive cannot be written.
            AnchorNotFoundError: the store is empty.
            BackendUnavailableError: the store is not there or cannot be read.
            VerificationError: a stored block has other bytes than its CID names.
        """
        blocks = {cid: block for cid in self.cids() if (block := self.get(cid)) is not None}
        if not blocks:
            raise AnchorNotFoundError(f"the block store {self.folder} has no blocks to export")
        write_atomic(path, car_bytes(blocks))
        return len(blocks)

    def exists(self) -> bool:
        """Whether the store has been created.

        Raises:
            BackendUnavailableError: that cannot be seen.
        """
        try:
            return stat.S_ISDIR(self._blocks.lstat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise _unreadable(self._blocks, error) from error

    def _make_folders(self) -> None:
        for folder in (self.folder, self._cars, self._blocks):
            if not stat.S_ISDIR(make_folder(folder).lstat().st_mode):
                raise storage_error("write into", folder, OSError(errno.ELOOP, "symbolic link"))

    def _require(self) -> None:
        if not self.exists():
            raise BackendUnavailableError(
                f"the block store {self.folder} is not there",
                hint="restore the folder; the receipt alone does not show that anybody still keeps the block",
            )


def _write_once(path: Path, data: bytes) -> None:
    try:
        if not path.is_symlink() and read_limited(path, len(data)) == data:
            return
    except (StorageError, FormatError):
        pass  # missing or damaged: written anew below, and a folder that cannot be written to says so there
    write_atomic(path, data)


def _cid_of_name(name: str) -> Cid | None:
    try:
        cid = Cid.parse(name)
    except FormatError:
        return None
    return cid if str(cid) == name else None


def _unreadable(path: Path, error: OSError | StorageError) -> BackendUnavailableError:
    if isinstance(error, OSError):
        error = storage_error("read", path, error)
    return BackendUnavailableError(error.message, hint=error.hint)
