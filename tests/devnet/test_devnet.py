# SPDX-License-Identifier: MIT
"""The devnet for real: up, status, down and reset, and what a killed process or a foreign folder does to them."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from devnet_helpers import deploy, refusal, runs, send_ether, tree, until

from mrv_devnet import node as node_module
from mrv_devnet.devnet import Devnet, Status
from mrv_devnet.keys import WALLET, address_of
from mrv_devnet.nodes import AnvilNode, BitcoinNode

ALL = ["ethereum", "bitcoin", "ipfs", "miner"]


def by_name(states: list[Status]) -> dict[str, Status]:
    return {state.network: state for state in states}


def pids(devnet: Devnet) -> dict[str, int | None]:
    return {state.network: state.pid for state in devnet.status()}


def anvil_of(devnet: Devnet) -> AnvilNode:
    return AnvilNode(devnet.layout.ethereum)


def bitcoind_of(devnet: Devnet) -> BitcoinNode:
    return BitcoinNode(devnet.layout.bitcoin)


def test_everything_runs_and_says_what_it_is(shared):
    states = by_name(shared.status())
    assert list(states) == ALL
    assert all(state.running and state.ready and runs(state.pid) for state in states.values())
    assert states["ethereum"].detail.startswith("chain 31337, block ")
    assert states["bitcoin"].detail.startswith("regtest, block ")
    assert states["ipfs"].detail.startswith("version ")
    assert [state.program for state in states.values()] == ["anvil", "bitcoind", "ipfs", "miner"]


def test_the_configuration(shared):
    states = by_name(shared.status())
    document = json.loads(shared.config.read_bytes())["blockchain"]
    for key in ("contract_address", "registry_address"):
        assert anvil_of(shared).rpc("eth_getCode", document["ethereum"].pop(key), "latest") == "0x00"
    gateway = document["ipfs"].pop("gateway_url")
    assert gateway.startswith("http://127.0.0.1:")
    assert gateway != states["ipfs"].url
    assert document == {
        "networks": ["ethereum", "bitcoin", "ipfs"],
        "ethereum": {
            "rpc_url": states["ethereum"].url,
            "chain_id": 31337,
            "private_key_file": str(shared.layout.folder / "eth.key"),
            "finality": 1,
        },
        "bitcoin": {
            "rpc_url": states["bitcoin"].url,
            "network": "regtest",
            "wallet": "mrv",
            "rpc_user": "mrv",
            "rpc_password_file": str(shared.layout.folder / "bitcoin" / "rpc.password"),
            "finality": 1,
        },
        "ipfs": {"url": states["ipfs"].url},
    }


def test_the_key_and_the_wallet_have_funds(shared):
    key = shared.layout.key.read_text()
    balance = int(anvil_of(shared).rpc("eth_getBalance", address_of(key), "latest"), 16)
    assert 9_999 * 10**18 < balance <= 10_000 * 10**18
    node = bitcoind_of(shared)
    assert node.wallet_rpc(WALLET, "getbalance") >= 500
    assert len(node.wallet_rpc(WALLET, "listunspent")) >= 10


def test_secrets_are_in_private_files_and_nowhere_else(shared):
    layout = shared.layout
    assert stat.S_IMODE(layout.folder.stat().st_mode) == 0o700
    secrets = {layout.key: layout.key.read_bytes(), bitcoind_of(shared).password_file: None}
    secrets = {path: path.read_bytes() for path in secrets}
    for path in (*secrets, layout.config, layout.contracts, layout.marker, *layout.folder.rglob("*.conf")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for path, data in tree(layout.folder).items():
        for place, secret in secrets.items():
            if layout.folder / path != place:
                assert secret not in (data or b""), f"{place.name} is in {path}"
    for pid in pids(shared).values():
        seen = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
        assert not [place.name for place, secret in secrets.items() if secret in seen]
    assert (layout.folder / ".gitignore").read_text() == "*\n"


def test_up_again_changes_nothing(shared, said):
    before, config = pids(shared), shared.config.read_bytes()
    Devnet(shared.layout.folder, say=said.append).up()  # deploying would fail here: the contract is there
    assert pids(shared) == before
    assert shared.config.read_bytes() == config
    assert [line.partition(",")[0] for line in said[:4]] == [
        *(f"{network}: runs already" for network in ("ethereum", "bitcoin", "ipfs")),
        "miner: runs already",
    ]


def test_what_is_sent_is_soon_buried_by_itself(shared):
    receipt = send_ether(anvil_of(shared).url, shared.layout.key.read_text(), to="0x" + "22" * 20)
    wallet = bitcoind_of(shared)
    paid = wallet.wallet_rpc(WALLET, "sendtoaddress", wallet.wallet_rpc(WALLET, "getnewaddress"), 1)
    until(lambda: wallet.wallet_rpc(WALLET, "gettransaction", paid)["confirmations"] >= 3)
    until(lambda: int(anvil_of(shared).rpc("eth_blockNumber"), 16) >= int(receipt["blockNumber"], 16) + 2)
    finalized = anvil_of(shared).rpc("eth_getBlockByNumber", "finalized", False)
    assert int(finalized["number"], 16) >= int(receipt["blockNumber"], 16)


@pytest.mark.parametrize("network", ALL)
def test_a_killed_process_is_started_again_with_what_it_had(shared, network):
    config, contract = shared.config.read_bytes(), shared.layout.contracts.read_bytes()
    key, height = shared.layout.key.read_bytes(), bitcoind_of(shared).rpc("getblockcount")
    until(lambda: anvil_of(shared).state_file.exists())
    before = pids(shared)
    os.kill(before[network], signal.SIGKILL)
    until(lambda: not runs(before[network]))
    states = by_name(shared.status())
    assert [state.network for state in states.values() if not state.ready] == [network]
    assert states[network].detail == "does not run"
    after = pids_after_up(shared)
    assert after[network] not in (None, before[network])
    assert {name: pid for name, pid in after.items() if name != network} == {
        name: pid for name, pid in before.items() if name != network
    }
    assert (shared.config.read_bytes(), shared.layout.contracts.read_bytes()) == (config, contract)
    assert shared.layout.key.read_bytes() == key
    assert bitcoind_of(shared).rpc("getblockcount") >= height
    assert bitcoind_of(shared).wallet_rpc(WALLET, "getbalance") >= 500


def pids_after_up(devnet: Devnet) -> dict[str, int | None]:
    return {state.network: state.pid for state in devnet.up()}


def test_a_node_that_hangs_is_started_again(shared, monkeypatch, said):
    monkeypatch.setattr(AnvilNode, "timeout_s", 1.0)
    monkeypatch.setattr(node_module, "_STOP_TIMEOUT_S", 0.5)
    before = pids(shared)
    os.kill(before["ethereum"], signal.SIGSTOP)
    states = by_name(shared.status())
    assert (states["ethereum"].running, states["ethereum"].ready) == (True, False)
    assert "no answer from 127.0.0.1" in states["ethereum"].detail
    devnet = Devnet(shared.layout.folder, say=said.append, deploy=deploy)
    after = pids_after_up(devnet)
    assert not runs(before["ethereum"])
    assert after["ethereum"] != before["ethereum"]
    assert after["bitcoin"] == before["bitcoin"]
    assert said[0].startswith("ethereum: runs but does not answer")


def test_down_stops_everything_and_up_brings_it_back(shared, said):
    devnet = Devnet(shared.layout.folder, say=said.append, deploy=deploy)
    before, config = pids(devnet), devnet.config.read_bytes()
    assert sorted(devnet.down()) == sorted(ALL)
    assert not any(runs(pid) for pid in before.values())
    assert {(state.running, state.ready, state.pid) for state in devnet.status()} == {(False, False, None)}
    said.clear()
    assert devnet.down() == []
    assert said == [f"{network}: was not running" for network in ("ethereum", "bitcoin", "ipfs")]
    assert all(state.ready for state in devnet.up())
    assert devnet.config.read_bytes() == config


def test_a_port_taken_while_the_devnet_was_down(shared, monkeypatch):
    monkeypatch.setattr(node_module, "_PORT_WAIT_S", 0)
    port = anvil_of(shared).port()
    shared.down()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        assert refusal(shared.up).startswith(f"port {port}, which anvil needs, is used by another program")
    assert all(state.ready for state in shared.up())


def test_an_old_process_id_is_never_stopped(shared):
    shared.down()
    with subprocess.Popen(["sleep", "1000"]) as innocent:
        for path in (*shared.layout.folder.rglob("*.node.json"), shared.layout.miner / "miner.json"):
            record = json.loads(path.read_bytes())
            path.write_text(json.dumps({**record, "pid": innocent.pid}))
        assert not any(state.running for state in shared.status())
        assert shared.down() == []
        assert innocent.poll() is None
        innocent.kill()
    assert all(state.ready for state in shared.up())


def test_two_commands_at_once(shared):
    shared.down()
    said: list[str] = []
    found: list[dict[str, int | None]] = []

    def up() -> None:
        found.append(pids_after_up(Devnet(shared.layout.folder, say=said.append, deploy=deploy)))

    threads = [threading.Thread(target=up) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1] == pids(shared)
    assert said.count("waiting for another 'mrv devnet' command") == 1


@pytest.mark.parametrize("name", ["up", "down", "status", "reset"])
def test_a_folder_of_others_is_not_touched(tmp_path, name):
    (tmp_path / "ethereum").mkdir()
    (tmp_path / "eth.key").write_text("mine")
    before = tree(tmp_path)
    text = refusal(getattr(Devnet(tmp_path), name))
    assert text.startswith(f"{tmp_path} is ")
    assert "no devnet folder" in text
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", ["down", "status", "reset"])
def test_no_folder_at_all(tmp_path, name):
    folder = tmp_path / "nowhere"
    assert refusal(getattr(Devnet(folder), name)) == f"{folder} does not exist [start one with 'mrv devnet up']"
    assert not folder.exists()


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "file").write_text("mine")
    assert "cannot create the folder" in refusal(Devnet(tmp_path / "file").up)


def test_reset_removes_what_up_made_and_nothing_else(tmp_path):
    """Of a folder in which the marker is all there ever was, with files of the user's in it since."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")
    folder = tmp_path / "net"
    devnet = Devnet(folder)
    devnet.layout.create()
    devnet.layout.key.write_text("key")
    devnet.layout.bitcoin.mkdir()
    (devnet.layout.bitcoin / "block").write_text("block")
    devnet.layout.ipfs.symlink_to(outside)
    (folder / "notes.txt").write_text("mine")
    said: list[str] = []
    assert Devnet(folder, say=said.append).reset() is False
    assert tree(folder) == {"notes.txt": b"mine"}
    assert tree(outside) == {"file": b"mine"}
    assert said[-1] == f"left in {folder} what is not of a devnet"


def test_reset_of_a_running_devnet(tmp_path, programs, said):
    devnet = Devnet(tmp_path / "net", say=said.append, deploy=deploy)
    try:
        devnet.up()
        running = pids(devnet)
    finally:
        assert devnet.reset() is True
    assert not any(runs(pid) for pid in running.values())
    assert not devnet.layout.folder.exists()
    assert [line.partition(" ")[0] for line in said if "started" in line] == [f"{name}:" for name in ALL]


def test_a_miner_whose_folder_was_removed_ends(shared, tmp_path):
    shared.layout.marker.rename(tmp_path / "marker")
    try:
        miner = json.loads((shared.layout.miner / "miner.json").read_bytes())["pid"]
        until(lambda: not runs(miner))
    finally:
        (tmp_path / "marker").rename(shared.layout.marker)
    shared.up()


def test_a_key_file_with_something_else_in_it(shared):
    key = shared.layout.key.read_bytes()
    shared.layout.key.write_bytes(b"your_private_key_here")
    try:
        assert "holds no Ethereum key [start anew with 'mrv devnet reset']" in refusal(shared.up)
    finally:
        shared.layout.key.write_bytes(key)
    shared.up()


def test_missing_programs_are_told_before_anything_starts(bare_path, tmp_path):
    devnet = Devnet(tmp_path / "net")
    assert refusal(devnet.up).startswith("npm is not installed")
    assert not any(state.running for state in devnet.status())
    devnet.reset()
