# SPDX-License-Identifier: MIT
"""A devnet: three nodes and a miner in one folder, which outlive the command that started them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from mrv_core.errors import BackendError, BackendUnavailableError, StorageError
from mrv_core.files import make_folder, storage_error
from mrv_devnet.anvil import AnvilNode
from mrv_devnet.bitcoin import BitcoinNode
from mrv_devnet.config import (
    Contracts,
    Deploy,
    deploy_contracts,
    ethereum_section,
    read_contracts,
    write_config,
    write_contracts,
)
from mrv_devnet.ipfs import IpfsNode
from mrv_devnet.keys import address_of, ethereum_key, fund_bitcoin, fund_ethereum
from mrv_devnet.layout import Layout
from mrv_devnet.node import Node
from mrv_devnet.process import Process, read_record, spawn, write_record
from mrv_devnet.programs import Say, say_on_stderr

_LOCK_TIMEOUT_S: Final = 300
_CALL_TIMEOUT_S: Final = 10.0
_MINER_STOP_TIMEOUT_S: Final = 15.0
NETWORKS: Final = ("ethereum", "bitcoin", "ipfs")
MINER: Final = "miner"


@dataclass(frozen=True)
class Status:
    """What a node said when it was asked.

    Attributes:
        network: `ethereum`, `bitcoin`, `ipfs` or `miner`.
        program: Name of its program.
        running: Whether its process runs.
        ready: Whether it answered; the miner has nothing to answer.
        pid: Its process id, while it runs.
        url: Where it listens, once that is settled.
        detail: What it said, or what is wrong.
    """

    network: str
    program: str
    running: bool
    ready: bool
    pid: int | None
    url: str | None
    detail: str


class Devnet:
    """The devnet in a folder.

    Args:
        folder: Folder of its own.
        say: Told every step.
        deploy: Deploys the contracts.
    """

    def __init__(self, folder: Path, *, say: Say = say_on_stderr, deploy: Deploy = deploy_contracts) -> None:
        self.layout = Layout(Path(folder).absolute())
        self._say = say
        self._deploy = deploy

    @property
    def config(self) -> Path:
        """The configuration file that `up` writes."""
        return self.layout.config

    def up(self) -> list[Status]:
        """Start what does not run, and write the configuration; what runs and answers is left alone.

        Raises:
            ConfigurationError: the folder is something else, or a program is missing and cannot be installed.
            BackendError: a node does not start, or the chain takes no contract.
        """
        self.layout.create()
        with self._locked():
            ethereum, bitcoin, ipfs = self._nodes()
            nodes: tuple[Node, ...] = (ethereum, bitcoin, ipfs)
            for node in nodes:  # all of them before the first one starts
                node.find_program()
            for network, node in zip(NETWORKS, nodes, strict=True):
                self._start(network, node)
            contracts = self._prepare_ethereum(ethereum)
            if fund_bitcoin(bitcoin):
                self._say("bitcoin: mined coins for the wallet")
            self._start_miner()
            write_config(self.layout, ethereum, bitcoin, ipfs, contracts)
            self._say(f"configuration: {self.config}")
        return self.status()

    def down(self) -> list[str]:
        """Stop everything that runs and return what was stopped.

        Raises:
            ConfigurationError: the folder is no devnet's.
        """
        self.layout.require()
        with self._locked():
            return self._stop_all()

    def status(self) -> list[Status]:
        """Ask every node.

        Raises:
            ConfigurationError: the folder is no devnet's.
        """
        self.layout.require()
        return [*map(self._ask, NETWORKS, self._nodes()), self._ask_miner()]

    def reset(self) -> bool:
        """Stop everything and remove the chains, the keys and the configuration; tell whether the folder is gone too.

        Raises:
            ConfigurationError: the folder is no devnet's, so nothing in it is touched.
            StorageError: something cannot be removed.
        """
        self.layout.require()
        with self._locked():
            self._stop_all()
            gone = self.layout.remove()
        self._say(f"removed {self.layout.folder}" if gone else f"left in {self.layout.folder} what is not of a devnet")
        return gone

    # --- steps --------------------------------------------------------------------------------------------------

    def _nodes(self) -> tuple[AnvilNode, BitcoinNode, IpfsNode]:
        layout = self.layout
        ethereum = AnvilNode(layout.ethereum, options=("--slots-in-an-epoch", "1"), detached=True, say=self._say)
        bitcoin = BitcoinNode(layout.bitcoin, detached=True, say=self._say)
        ipfs = IpfsNode(layout.ipfs, detached=True, say=self._say)
        for node in (ethereum, bitcoin, ipfs):
            node.timeout_s = min(node.timeout_s, _CALL_TIMEOUT_S)
        return ethereum, bitcoin, ipfs

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = FileLock(self.layout.lock, mode=0o600)
        try:
            self._acquire(lock)
        except OSError as error:
            raise storage_error("lock", self.layout.lock, error) from error
        try:
            self.layout.require()  # a reset may have removed it while we waited
            yield
        finally:
            lock.release()

    def _acquire(self, lock: FileLock) -> None:
        try:
            lock.acquire(blocking=False)
            return
        except Timeout:
            self._say("waiting for another 'mrv devnet' command")
        try:
            lock.acquire(timeout=_LOCK_TIMEOUT_S)
        except Timeout:
            raise BackendUnavailableError(
                f"another 'mrv devnet' command has been working on {self.layout.folder} for {_LOCK_TIMEOUT_S} s",
                hint="end that command and try again",
            ) from None

    def _start(self, network: str, node: Node) -> None:
        if node.is_running():
            try:
                self._say(f"{network}: runs already, {node.ask()}")
                return
            except BackendError as error:
                self._say(f"{network}: runs but does not answer ({error.message}); starting it again")
                node.stop()
        node.start()
        self._say(f"{network}: {node.name} started at {node.url}, {node.ask()}")

    def _prepare_ethereum(self, node: AnvilNode) -> Contracts:
        address = address_of(ethereum_key(self.layout.key))
        if fund_ethereum(node, address):
            self._say(f"ethereum: ether for {address}")
        contracts = read_contracts(self.layout)
        if contracts is not None and node.rpc("eth_getCode", contracts.registry_address, "latest") not in (None, "0x"):
            return contracts
        contracts = self._deploy(ethereum_section(node, self.layout))
        write_contracts(self.layout, contracts)
        self._say(f"ethereum: contracts at {contracts.address} and {contracts.registry_address}")
        return contracts

    def _start_miner(self) -> None:
        if self._miner() is not None:
            self._say("miner: runs already")
            return
        make_folder(self.layout.miner)
        package = Path(__file__).parents[1]  # the miner finds this very package, wherever it is
        process = spawn(
            [sys.executable, "-m", "mrv_devnet.miner", str(self.layout.folder)],
            self.layout.miner / "miner.log",
            environment={"PYTHONPATH": str(package)},
            detached=True,
        )
        write_record(self._miner_record, process)
        self._say("miner: started")

    @property
    def _miner_record(self) -> Path:
        return self.layout.miner / "miner.json"

    def _miner(self) -> Process | None:
        return read_record(self._miner_record)[0]

    def _stop_all(self) -> list[str]:
        stopped = []
        miner = self._miner()
        if miner is not None:
            miner.end(_MINER_STOP_TIMEOUT_S)
            stopped.append(MINER)
            self._say("miner: stopped")
        for network, node in zip(NETWORKS, self._nodes(), strict=True):
            if node.is_running():
                node.stop()
                stopped.append(network)
                self._say(f"{network}: stopped")
            else:
                self._say(f"{network}: was not running")
        return stopped

    def _ask(self, network: str, node: Node) -> Status:
        pid = node.pid
        try:
            url = node.url
        except BackendError as error:
            return Status(network, node.name, False, False, None, None, error.message)
        if pid is None:
            return Status(network, node.name, False, False, None, url, "does not run")
        try:
            return Status(network, node.name, True, True, pid, url, node.ask())
        except (BackendError, StorageError) as error:
            return Status(network, node.name, True, False, pid, url, error.message)

    def _ask_miner(self) -> Status:
        miner = self._miner()
        if miner is None:
            return Status(MINER, MINER, False, False, None, None, "does not run")
        return Status(MINER, MINER, True, True, miner.pid, None, "mines when there is something to mine")
