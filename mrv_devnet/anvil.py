# SPDX-License-Identifier: MIT
"""Anvil, an Ethereum node with a chain of its own: `--state` keeps the chain in a file."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mrv_core.errors import StorageError
from mrv_core.files import write_atomic
from mrv_devnet import programs, rpc
from mrv_devnet.node import Node
from mrv_devnet.programs import Program, Say, say_on_stderr


class AnvilNode(Node):
    """An anvil; by default it mines a block for every transaction at once.

    Args:
        folder: As of `Node`.
        port: Port of its RPC; a free one where None.
        chain_id: EIP-155 chain id.
        block_time: Seconds between blocks, in place of a block for every transaction.
        keep_state: Whether the chain is written to the folder every second, for the next start. It takes longer the
            longer the chain is: half a processor at three thousand transactions.
        keep_history: Whether the state at old blocks, and not only at the newest one, is kept for the next start too.
            It is large: 60 kB a block.
        options: As of `Node`.
        detached: As of `Node`.
        say: As of `Node`.
    """

    name = "anvil"

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        chain_id: int = 31337,
        block_time: float | None = None,
        keep_state: bool = True,
        keep_history: bool = False,
        options: Sequence[str] = (),
        detached: bool = False,
        say: Say = say_on_stderr,
    ) -> None:
        super().__init__(
            folder, options=options, detached=detached, ports=None if port is None else {"rpc": port}, say=say
        )
        self.chain_id = chain_id
        self._block_time = block_time
        self._keep_state = keep_state
        self._keep_history = keep_history

    @property
    def state_file(self) -> Path:
        """The file the chain is kept in."""
        return self.folder / "state.json"

    @property
    def _last_good(self) -> Path:
        return self.folder / "state.good.json"

    def rpc(self, method: str, *params: Any) -> Any:
        """Make a JSON-RPC call, for instance `rpc("eth_getBalance", address, "latest")`; as of `Node`."""
        return rpc.call(self.url, method, list(params), timeout_s=self.timeout_s)

    def ask(self) -> str:
        """Return its chain and height in a few words."""
        chain, height = (int(self.rpc(method), 16) for method in ("eth_chainId", "eth_blockNumber"))
        return f"chain {chain}, block {height}"

    def save_copy(self) -> None:
        """Keep a copy of the state file, which anvil, killed while it writes, leaves cut off."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            data = self.state_file.read_bytes()
            json.loads(data)
            write_atomic(self._last_good, data)

    def _before_start(self, program: Program) -> None:
        if not self.state_file.exists():
            return
        try:
            json.loads(self.state_file.read_bytes())
        except ValueError:
            if not self._last_good.exists():
                raise StorageError(
                    f"{self.state_file} is cut off; anvil was killed while it wrote it",
                    hint="the chain is lost; remove the folder of the node and start it again",
                ) from None
            self._say(f"{self.state_file} is cut off; going back to the copy made before")
            write_atomic(self.state_file, self._last_good.read_bytes())
        else:
            self.save_copy()

    def _program(self) -> Program:
        return programs.anvil(self._say)

    def _command(self, program: Program) -> list[str]:
        mining = [] if self._block_time is None else ["--block-time", str(self._block_time)]
        state = ["--state", str(self.state_file), "--state-interval", "1"] if self._keep_state else []
        if self._keep_history:
            state.append("--preserve-historical-states")
        return [
            *program.command,
            *("--host", "127.0.0.1", "--port", str(self.port()), "--chain-id", str(self.chain_id)),
            *state,
            *("--cache-path", str(self.folder / "cache"), "--no-cors"),
            *mining,
            *self._options,
        ]

    def _is_ready(self, log: str) -> bool:
        # Its own word that it listens: without that, another anvil on the port could be the one that answers.
        return f"Listening on 127.0.0.1:{self.port()}" in log and super()._is_ready(log)
