# SPDX-License-Identifier: MIT
"""Bitcoind on a regtest chain of its own.

`python -m mrv_devnet.bitcoin FILE` makes a password for a bitcoind that is started by other means.
"""

from __future__ import annotations

import hmac
import secrets
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from mrv_core.files import read_limited, write_atomic
from mrv_devnet import programs, rpc
from mrv_devnet.node import Node
from mrv_devnet.programs import Program

_USER: Final = "mrv"
_PASSWORD_MAX_BYTES: Final = 256

_CONFIG: Final = """\
regtest=1
server=1
rpcauth={auth}
fallbackfee=0.0001
listen=0
dnsseed=0
fixedseeds=0
listenonion=0
natpmp=0
dbcache=32
[regtest]
connect=0
rpcport={port}
rpcbind=127.0.0.1
rpcallowip=127.0.0.1
"""


class BitcoinNode(Node):
    """A bitcoind. Its password is in `rpc.password` (mode 0600) in its folder, and on no command line."""

    name = "bitcoind"
    user = _USER

    @property
    def password_file(self) -> Path:
        """File that holds the password and nothing else."""
        return self.folder / "rpc.password"

    @property
    def password(self) -> str:
        """Password of its RPC, made at the first start."""
        return read_limited(self.password_file, _PASSWORD_MAX_BYTES, follow=False).decode()

    def wallet_url(self, name: str) -> str:
        """Return the address of a wallet's RPC, without credentials."""
        return f"{self.url}/wallet/{name}"

    def rpc(self, method: str, *params: Any) -> Any:
        """Make a JSON-RPC call that needs no wallet, for instance `rpc("getblockcount")`; as of `Node`."""
        return self._call(self.url, method, params)

    def wallet_rpc(self, wallet: str, method: str, *params: Any) -> Any:
        """Make a JSON-RPC call of a wallet; as of `rpc`."""
        return self._call(self.wallet_url(wallet), method, params)

    def _call(self, url: str, method: str, params: Sequence[Any]) -> Any:
        return rpc.call(url, method, list(params), user=self.user, password=self.password, timeout_s=self.timeout_s)

    def create_wallet(self, name: str) -> None:
        """Create a wallet that is loaded again at every start, unless it is there."""
        if name not in self.rpc("listwallets"):
            self.rpc("createwallet", name, False, False, "", False, True, True)

    def mine(self, blocks: int = 1, wallet: str = "miner") -> list[str]:
        """Mine blocks, paid to a wallet; return their hashes, the oldest first. They survive a kill.

        Every loaded wallet knows them then: wallets hear of blocks from a queue, and `send` does not wait for it.
        """
        address = self.wallet_rpc(wallet, "getnewaddress")
        hashes: list[str] = self.rpc("generatetoaddress", blocks, address)
        self.rpc("syncwithvalidationinterfacequeue")
        self.flush()
        return hashes

    def flush(self) -> None:
        """Have everything written to the disk: left alone, bitcoind does that once an hour, and a kill loses the rest.

        No call is made for that; this one does it before it counts the coins (Bitcoin Core, rpc/blockchain.cpp).
        """
        self.rpc("gettxoutsetinfo", "none")

    def ask(self) -> str:
        """Return its chain and height in a few words."""
        state = self.rpc("getblockchaininfo")
        return f"{state['chain']}, block {state['blocks']}"

    def _program(self) -> Program:
        return programs.bitcoind(self._say)

    def _before_start(self, program: Program) -> None:
        if not self.password_file.exists():
            write_atomic(self.password_file, secrets.token_urlsafe(32).encode())
        config = _CONFIG.format(auth=rpcauth(self.user, self.password), port=self.port())
        write_atomic(self.folder / "bitcoin.conf", config.encode())

    def _command(self, program: Program) -> list[str]:
        return [*program.command, f"-datadir={self.folder}", "-printtoconsole=1", "-nodebuglogfile", *self._options]


def main(file: Path) -> None:
    """Write a new password into a file (mode 0600) and print what bitcoind takes for `-rpcauth`."""
    password = secrets.token_urlsafe(32)
    write_atomic(file, password.encode())
    print(rpcauth(_USER, password))


def rpcauth(user: str, password: str) -> str:
    """Return a line for `rpcauth`: a salted hash that tells nobody the password (Bitcoin Core, share/rpcauth)."""
    salt = secrets.token_hex(16)
    return f"{user}:{salt}${hmac.new(salt.encode(), password.encode(), sha256).hexdigest()}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
