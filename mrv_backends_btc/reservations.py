# SPDX-License-Identifier: MIT
"""Outputs that the wallet keeps for an anchor between its preparation and its sending.

Several processes may prepare with one wallet at the same moment, so the node locks what an anchor spends. It forgets
the lock when the output is spent, and when it is started again. A process that dies in between would leave the lock
behind, so what was locked is written down, and the next preparation from the same folder releases it: core promises
that what was prepared before has been sent by then, or will never be.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from mrv_backends_btc.transaction import Transaction
from mrv_backends_btc.wallet import Wallet
from mrv_core.errors import FormatError
from mrv_core.files import make_folder, read_limited, write_atomic
from mrv_core.models import Model

_FILE: Final = "reserved.json"
_MAX_BYTES: Final = 1024 * 1024


class _Outpoint(Model):
    txid: str
    vout: int


class _Reserved(Model):
    wallet: str
    outputs: tuple[_Outpoint, ...]


class Reservations:
    """What one network's folder has reserved.

    Args:
        folder: The network's folder; made when something is reserved.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE

    def remember(self, wallet: Wallet, transaction: Transaction) -> None:
        """Write down that the wallet keeps what a transaction spends.

        Raises:
            StorageError: the file cannot be written.
        """
        outputs = tuple(_Outpoint(txid=each.txid_hex, vout=each.index) for each in transaction.inputs)
        make_folder(self._path.parent)
        write_atomic(self._path, _Reserved(wallet=wallet.name, outputs=outputs).to_bytes())

    def release(self, wallet: Wallet) -> None:
        """Release what the last preparation reserved; what is spent is no longer locked anyway.

        Raises:
            BackendError: the wallet cannot be asked.
        """
        reserved = self._read()
        if reserved is None or reserved.wallet != wallet.name:
            return
        mine = {(each.txid, each.vout) for each in reserved.outputs}
        for outpoint in wallet.locked_outputs():
            if (outpoint.txid, outpoint.vout) in mine:
                wallet.unlock(outpoint)

    def _read(self) -> _Reserved | None:
        if not self._path.exists():
            return None
        try:
            return _Reserved.from_bytes(read_limited(self._path, _MAX_BYTES), what=str(self._path))
        except FormatError:
            return None  # only a hint of what may be released; the node's own restart releases everything
