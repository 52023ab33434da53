# SPDX-License-Identifier: MIT
"""Outputs that the wallet keeps for an anchor between its preparation and its sending.

Several processes may prepare with one wallet at the same moment, so the node locks what an anchor spends. It forgets
the lock when the output is spent, and when it is started again. A process that dies in between would leave the lock
behind, so what is going to be locked is written down first, and the next preparation from the same folder releases it:
core promises that what was prepared before has been sent by then, or will never be.

The node does not say whose a lock is. So a process that dies, or loses the answer, just when another one took the same
output may release the other's lock. Then two anchors spend one output, and one is made anew as after any conflict.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from mrv_backends_btc.replies import Outpoint
from mrv_backends_btc.transaction import Input
from mrv_backends_btc.wallet import Wallet
from mrv_core.errors import BackendError, FormatError
from mrv_core.files import make_folder, read_limited, write_atomic
from mrv_core.models import Model

_FILE: Final = "reserved.json"
_MAX_BYTES: Final = 1024 * 1024


class _Noted(Model):
    txid: str
    vout: int


class _Reserved(Model):
    wallet: str
    outputs: tuple[_Noted, ...]


class Reservations:
    """What one network's folder has reserved.

    Args:
        folder: The network's folder; made when something is reserved.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE

    def reserve(self, wallet: Wallet, required: Iterable[Input], chosen: Iterable[Input]) -> bool:
        """Write down what a transaction spends, and let the wallet keep it.

        Args:
            wallet: What pays.
            required: What the wallet was told to spend. It is locked where it can be: an earlier form of the anchor may
                spend it already, or have locked it.
            chosen: What the wallet added.

        Returns:
            False where something else took an output since the wallet chose it; nothing is reserved then.

        Raises:
            StorageError: the file cannot be written.
            BackendError: the wallet cannot be asked. What it may have locked is written down.
        """
        given, added = [_outpoint(each) for each in required], [_outpoint(each) for each in chosen]
        before = self._locked(wallet)
        self._write(wallet, [*before, *given, *added])
        if added and not self._lock(wallet, added):
            self._write(wallet, before)  # what somebody else has locked is not to be released
            return False
        for each in given:
            wallet.lock([each])
        return True

    def _lock(self, wallet: Wallet, outpoints: list[Outpoint]) -> bool:
        try:
            return wallet.lock(outpoints)
        except BackendError:  # perhaps they are locked now, and the answer is lost
            self._unlock(wallet, outpoints)
            raise

    def release(self, wallet: Wallet, spent: Iterable[Input] | None = None) -> None:
        """Release what was reserved; what is spent is no longer locked anyway.

        Args:
            wallet: What pays.
            spent: Release only these outputs.

        Raises:
            BackendError: the wallet cannot be asked.
        """
        self._unlock(wallet, None if spent is None else [_outpoint(each) for each in spent])

    def _unlock(self, wallet: Wallet, wanted: list[Outpoint] | None) -> None:
        for outpoint in self._locked(wallet):
            if wanted is None or outpoint in wanted:
                wallet.unlock(outpoint)

    def _locked(self, wallet: Wallet) -> list[Outpoint]:
        """Return what is written down and still locked."""
        reserved = self._read()
        if reserved is None or reserved.wallet != wallet.name or not reserved.outputs:
            return []
        mine = {(each.txid, each.vout) for each in reserved.outputs}
        return [each for each in wallet.locked_outputs() if (each.txid, each.vout) in mine]

    def _write(self, wallet: Wallet, outpoints: Iterable[Outpoint]) -> None:
        noted = {(each.txid, each.vout): _Noted(txid=each.txid, vout=each.vout) for each in outpoints}
        make_folder(self._path.parent)
        write_atomic(self._path, _Reserved(wallet=wallet.name, outputs=tuple(noted.values())).to_bytes())

    def _read(self) -> _Reserved | None:
        if not self._path.exists():
            return None
        try:
            return _Reserved.from_bytes(read_limited(self._path, _MAX_BYTES), what=str(self._path))
        except FormatError:
            return None  # only a hint of what may be released; the node's own restart releases everything


def _outpoint(spent: Input) -> Outpoint:
    return Outpoint(txid=spent.txid_hex, vout=spent.index)
