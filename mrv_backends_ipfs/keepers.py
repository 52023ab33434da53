# SPDX-License-Identifier: MIT
"""Who keeps the blocks: the offline block store, a daemon, or whoever answers a gateway."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from mrv_backends_ipfs.cid import Cid
from mrv_backends_ipfs.daemon import Daemon
from mrv_backends_ipfs.gateway import Gateway
from mrv_backends_ipfs.settings import GATEWAY, IpfsSettings
from mrv_backends_ipfs.store import BlockStore
from mrv_core.deadline import deadline, seconds_left
from mrv_core.driver import EMBEDDED, DriverContext
from mrv_core.errors import AnchorNotFoundError, BackendError, ConfigurationError, VerificationError
from mrv_core.models import utc_now
from mrv_core.transport import MAX_REPLY_BYTES

Read = Callable[[Cid], bytes]
"""Returns a block, unchecked. Raises `AnchorNotFoundError` where it is not there, `BackendError` where nobody knows."""

_NO_TIME: Final = "A CID shows which bytes were meant, not since when they exist."
_KEPT_BY_FOLDER: Final = (
    "The offline block store is kept by this folder alone; nobody else vouches that the block stays available."
)
_KEPT_WHILE_PINNED: Final = "The block is there now; it stays there only as long as somebody pins it."


@dataclass(frozen=True, slots=True)
class Found:
    """A block whose CID was recomputed.

    Attributes:
        block: Its bytes.
        source: Who delivered it, for people.
        stored_at: This machine's clock when it was stored, where that is known, else now.
    """

    block: bytes
    source: str
    stored_at: datetime


class Keeper(Protocol):
    """Thread-safe. Reading creates nothing.

    Attributes:
        embedded: Whether it lives in this folder.
        trusts: What remains to be trusted, one sentence each.
    """

    embedded: bool
    trusts: tuple[str, ...]

    def require_writable(self) -> None:
        """Raise `ConfigurationError` where nothing can be stored here, whatever happens."""

    def put(self, cid: Cid, block: bytes) -> Found:
        """Store a block for good, and return it as it was read back. Storing it again changes nothing."""

    def get(self, cid: Cid) -> Found:
        """Return a block. Raises VerificationError, AnchorNotFoundError or BackendError where there is none."""

    def has_ours(self, cid: Cid) -> bool:
        """Tell, without looking elsewhere, whether the block is where `put` puts it. Raises BackendError."""

    def keeps(self, cid: Cid, found: Found) -> bool | None:
        """Tell whether whoever delivered the block keeps it on purpose; None where that has no meaning."""

    def put_tree(self, root: Cid, blocks: Mapping[Cid, bytes]) -> None:
        """Store linked blocks for good."""

    def open_tree(self, root: Cid) -> Read:
        """Return a function that reads the blocks below a root."""

    def status(self) -> tuple[bool, str]:
        """Return whether blocks can be stored now, and one line for people. Raises nothing."""

    def close(self) -> None:
        """Release connections."""


def keeper_of(context: DriverContext) -> Keeper:
    """Return the keeper that the settings name."""
    settings: IpfsSettings = context.settings
    if settings.url == EMBEDDED:
        return OfflineKeeper(context.store_dir / os.path.expanduser(settings.path or ""))
    return NetworkKeeper(settings, context.network)


class OfflineKeeper:
    """The block store in a folder."""

    embedded = True
    trusts: tuple[str, ...] = (_NO_TIME, _KEPT_BY_FOLDER)

    def __init__(self, folder: Path) -> None:
        self._store = BlockStore(folder)

    def require_writable(self) -> None:
        """A folder may be writable at any time."""

    def put(self, cid: Cid, block: bytes) -> Found:
        """Store a block and its archive."""
        self._store.put(cid, block)
        return self.get(cid)

    def get(self, cid: Cid) -> Found:
        """Return a block of the store."""
        block = self._store.get(cid)
        if block is None:
            raise AnchorNotFoundError(
                f"the block store has no block {cid}",
                hint="a block that nobody keeps is gone; import its archive again if you have it",
            )
        return Found(block, "offline block store", self._store.stored_at(cid))

    def has_ours(self, cid: Cid) -> bool:
        """Look into the store, which need not exist yet. What is damaged there is not it: `put` replaces it."""
        try:
            return self._store.exists() and self._store.get(cid) is not None
        except VerificationError:
            return False

    def keeps(self, cid: Cid, found: Found) -> bool | None:
        """Return None: the store removes nothing."""

    def put_tree(self, root: Cid, blocks: Mapping[Cid, bytes]) -> None:
        """Store a tree as one archive."""
        self._store.put_tree(root, blocks)

    def open_tree(self, root: Cid) -> Read:
        """Read the archive of a tree."""
        archive = self._store.tree(root)

        def read(cid: Cid) -> bytes:
            block = archive.get(cid)
            if block is None:
                raise AnchorNotFoundError(f"the archive of {root} has no block {cid}", hint="publish the tree again")
            return block

        return read

    def status(self) -> tuple[bool, str]:
        """Look at the folder."""
        try:
            count = len(self._store.cids()) if self._store.exists() else 0
        except BackendError as error:
            return False, error.message
        if not _can_be_written(self._store.folder):
            return False, f"cannot write into {self._store.folder}"
        return True, f"offline block store, {count} blocks"

    def close(self) -> None:
        """Nothing is held open."""


class NetworkKeeper:
    """A daemon that stores, pins and delivers; a gateway that delivers where the daemon does not; or only a gateway."""

    embedded = False
    trusts: tuple[str, ...] = (_NO_TIME, _KEPT_WHILE_PINNED)

    def __init__(self, settings: IpfsSettings, network: str) -> None:
        self._settings = settings
        self._network = network
        self._daemon = Daemon(settings) if settings.url != GATEWAY else None
        self._gateway = Gateway(settings.gateway_url, timeout_s=settings.timeout) if settings.gateway_url else None

    def require_writable(self) -> None:
        """Refuse where there is only a gateway."""
        self._require_daemon()

    def put(self, cid: Cid, block: bytes) -> Found:
        """Store a block, pin it, and read it back from the daemon."""
        daemon = self._require_daemon()
        daemon.put(cid, block, pin=self._settings.pin)
        return _found(daemon, cid)

    def get(self, cid: Cid) -> Found:
        """Return a block from the daemon, or else from the gateway. What the first of them says counts for both."""
        first, *others = [source for source in (self._daemon, self._gateway) if source is not None]
        try:
            with deadline(self._spare_s() if others else math.inf):
                return _found(first, cid)
        except (AnchorNotFoundError, BackendError):
            for source in others:
                with suppress(AnchorNotFoundError, BackendError), deadline(self._spare_s()):
                    return _found(source, cid)
            raise

    def has_ours(self, cid: Cid) -> bool:
        """Ask the daemon whether it pins the block, or has it where nothing is pinned. It does not look for it."""
        if self._daemon is None:
            return True  # only the gateway knows
        return self._daemon.pins(cid) if self._settings.pin else self._daemon.has(cid)

    def keeps(self, cid: Cid, found: Found) -> bool | None:
        """Ask the daemon whether it pins what it delivered; None where it does not say, or a gateway delivered it."""
        if self._daemon is None or found.source != self._daemon.name:
            return None
        with suppress(BackendError), deadline(self._spare_s()):
            return self._daemon.pins(cid)
        return None

    def put_tree(self, root: Cid, blocks: Mapping[Cid, bytes]) -> None:
        """Store a tree in one request, pin its root, and read every block back."""
        self._require_daemon()
        size = sum(map(len, blocks.values())) + 100 * len(blocks)
        daemon = Daemon(self._settings, max_bytes=max(MAX_REPLY_BYTES, size))
        try:
            daemon.import_tree(root, blocks)
        finally:
            daemon.close()

    def open_tree(self, root: Cid) -> Read:
        """Read each block when it is asked for."""
        return lambda cid: self.get(cid).block

    def status(self) -> tuple[bool, str]:
        """Ask the daemon what it is."""
        if self._daemon is None:
            return False, f"reads through the gateway {self._gateway.name if self._gateway else ''}; cannot anchor"
        try:
            return True, self._daemon.describe()
        except (BackendError, ConfigurationError) as error:
            return False, error.message

    def close(self) -> None:
        """Close idle connections."""
        for source in (self._daemon, self._gateway):
            if source is not None:
                source.close()

    def _spare_s(self) -> float:
        """Return half of the time left, for what must not use up the time in which to answer."""
        return min(self._settings.timeout, seconds_left()) / 2

    def _require_daemon(self) -> Daemon:
        if self._daemon is None:
            raise ConfigurationError(
                f"network {self._network!r} is read through a gateway, so nothing can be stored on it",
                hint="set 'url' to the RPC API of a daemon, for instance http://127.0.0.1:5001",
            )
        return self._daemon


def _found(source: Daemon | Gateway, cid: Cid) -> Found:
    return Found(source.get(cid), source.name, utc_now())


def _can_be_written(folder: Path) -> bool:
    """Whether the folder, or the nearest one above it that exists, takes new files."""
    existing = next(path for path in (folder, *folder.absolute().parents) if os.path.exists(path))
    return os.path.isdir(existing) and os.access(existing, os.W_OK | os.X_OK)
