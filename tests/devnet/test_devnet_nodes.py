# SPDX-License-Identifier: MIT
"""Every node: answers, keeps what it had, listens to this machine only, tells no secret, ends with its owner."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from devnet_helpers import refusal, runs, script, until

from mrv_core.errors import BackendUnavailableError
from mrv_devnet import node as node_module
from mrv_devnet.nodes import AnvilNode, BitcoinNode, IpfsNode, Node, RpcError
from mrv_devnet.process import write_record

ACCOUNT = "0x" + "11" * 20


class Kept:
    """Puts something into a node, and looks whether it is still there."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.key = ""

    def put(self) -> None:
        node = self.node
        if isinstance(node, AnvilNode):
            before = node.state_file.read_bytes() if node.state_file.exists() else b""
            node.rpc("anvil_setBalance", ACCOUNT, "0x7")
            until(lambda: node.state_file.exists() and node.state_file.read_bytes() != before)
        elif isinstance(node, BitcoinNode):
            node.create_wallet("miner")
            self.key = node.mine(3)[-1]
        elif isinstance(node, IpfsNode):
            self.key = json.loads(node.call("block/put", body=b"kept", format="raw", pin="true"))["Key"]

    def check(self) -> None:
        node = self.node
        if isinstance(node, AnvilNode):
            assert node.rpc("eth_getBalance", ACCOUNT, "latest") == "0x7"
        elif isinstance(node, BitcoinNode):
            assert node.rpc("getbestblockhash") == self.key
            assert node.wallet_rpc("miner", "getwalletinfo")["walletname"] == "miner"
        elif isinstance(node, IpfsNode):
            assert node.call("block/get", self.key) == b"kept"
            assert len(node.rpc("pin/ls", self.key)["Keys"]) == 1  # spelt in another base than ours


@pytest.fixture(params=[AnvilNode, BitcoinNode, IpfsNode], ids=lambda kind: kind.name)
def node(request: pytest.FixtureRequest, tmp_path: Path, programs: None) -> Iterator[Node]:
    with request.param(tmp_path / "node") as started:
        yield started


def test_a_node_stopped_or_killed_comes_back_with_what_it_had(node):
    kept = Kept(node)
    kept.put()
    ports, first = [node.port(name) for name in node.port_names], node.pid
    node.stop()
    assert not node.is_running()
    assert not runs(first)
    node.start()
    kept.check()
    second = node.pid
    node.kill()
    assert not runs(second)
    with pytest.raises(BackendUnavailableError, match=r"no answer from 127\.0\.0\.1:"):
        node.ask()
    again = type(node)(node.folder)  # as another process would find it
    assert not again.is_running()
    with again:
        kept.node = again
        kept.check()
        assert [again.port(name) for name in again.port_names] == ports


def test_a_killed_node_has_what_was_new(node):
    """Nothing was stopped in an orderly way yet, so nothing was written on that occasion."""
    kept = Kept(node)
    kept.put()
    node.kill()
    node.start()
    kept.check()


def test_a_running_node_is_found_and_left_alone(node):
    found = type(node)(node.folder)
    assert found.pid == node.pid
    assert found.start().pid == node.pid
    found.ask()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_it_listens_on_loopback_only(node):
    ports = {node.port(name) for name in node.port_names}
    places = _listening(node.pid)
    assert ports <= {port for _, port in places}
    assert {address for address, _ in places} == {"127.0.0.1"}


def _listening(pid: int) -> set[tuple[str, int]]:
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(os.readlink(link))
        except FileNotFoundError:
            continue
    found = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            listens = fields[3] == ("0A" if table.startswith("tcp") else "07")  # include/net/tcp_states.h
            if listens and f"socket:[{fields[9]}]" in inodes:
                address, port = fields[1].split(":")
                raw = bytes.fromhex(address)[::-1]
                found.add((".".join(map(str, raw)) if len(raw) == 4 else address, int(port, 16)))
    return found


def test_what_it_writes_is_for_its_owner_only(node):
    assert stat.S_IMODE(node.folder.stat().st_mode) == 0o700
    # js-ipfs writes its own files with a mode of its own choice; the folder above keeps them private.
    for path in (node.log, *node.folder.glob("*.json"), *node.folder.glob("rpc.*"), *node.folder.glob("*.conf")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_the_password_is_in_its_file_and_nowhere_else(tmp_path, programs):
    with BitcoinNode(tmp_path / "node") as node:
        password = node.password
        assert len(password) >= 32
        command = Path(f"/proc/{node.pid}/cmdline").read_bytes() + Path(f"/proc/{node.pid}/environ").read_bytes()
        assert password.encode() not in command
        holders = [
            path.name for path in node.folder.rglob("*") if path.is_file() and password.encode() in path.read_bytes()
        ]
        assert holders == ["rpc.password"]
        node.password_file.write_text(secrets.token_hex(8))
        with pytest.raises(RpcError) as caught:
            node.ask()
        assert caught.value.code == 401
        node.password_file.write_text(password)


def test_the_ipfs_node_knows_nobody(ipfs_daemon):
    assert not ipfs_daemon.rpc("bootstrap/list")["Peers"]
    assert not ipfs_daemon.rpc("swarm/peers")["Peers"]


def test_kubo_is_made_private(tmp_path, monkeypatch):
    source = """#!{python}
import json, os, sys
repo = os.environ["IPFS_PATH"]
assert os.environ["IPFS_TELEMETRY"] == "off"
if sys.argv[1:] == ["version"]:
    print("ipfs version 0.38.1")
elif sys.argv[1:] == ["init", "--empty-repo"]:
    config = {{"Identity": {{"PeerID": "12D3"}}, "Bootstrap": ["auto"], "Swarm": {{"ConnMgr": {{}}}}}}
    json.dump(config, open(repo + "/config", "w"))
else:
    print("daemon called with", sys.argv[1:], file=sys.stderr)
"""
    monkeypatch.setenv("IPFS_PATH", "/nowhere")
    monkeypatch.setenv("IPFS_TELEMETRY", "off")  # for `version`, which is asked before there is a node
    monkeypatch.setenv("MRV_IPFS", str(script(tmp_path / "ipfs", source.format(python=sys.executable))))
    node = IpfsNode(tmp_path / "node", options=("--enable-gc",))
    assert "ipfs ended while starting: daemon called with ['daemon', '--enable-gc']" in refusal(node.start)
    config = json.loads((node.repo / "config").read_bytes())
    assert config["Bootstrap"] == []
    assert config["Swarm"] == {
        "ConnMgr": {},
        "DisableNatPortMap": True,
        "RelayClient": {"Enabled": False},
        "RelayService": {"Enabled": False},
    }
    assert config["Routing"]["Type"] == "none"
    assert config["Discovery"]["MDNS"]["Enabled"] is False
    assert config["Identity"] == {"PeerID": "12D3"}
    assert all("/ip4/127.0.0.1/tcp/" in str(value) for value in config["Addresses"].values())


def test_calls_and_their_errors(anvil, bitcoind, ipfs_daemon):
    assert anvil.rpc("eth_chainId") == "0x7a69"
    assert bitcoind.wallet_rpc("miner", "getbalance") == 50
    assert ipfs_daemon.rpc("id")["ID"]
    for call, code in (
        (lambda: anvil.rpc("no_such"), -32601),
        (lambda: bitcoind.rpc("nosuch"), -32601),
        (lambda: bitcoind.wallet_rpc("nowhere", "getbalance"), -18),
        (lambda: ipfs_daemon.rpc("no/such"), 404),
    ):
        with pytest.raises(RpcError) as caught:
            call()
        assert caught.value.code == code


def test_a_node_that_ends_says_why(tmp_path, programs):
    node = AnvilNode(tmp_path / "node", options=("--no-such-option",))
    text = refusal(node.start)
    assert text.startswith("anvil ended while starting: ")
    assert "--no-such-option" in text
    assert str(node.log) in text
    assert not node.is_running()


def test_a_port_that_another_program_uses(tmp_path, monkeypatch):
    monkeypatch.setattr(node_module, "_PORT_WAIT_S", 0)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        node = AnvilNode(tmp_path / "node", port=port)
        assert refusal(node.start).startswith(f"port {port}, which anvil needs, is used by another program [")


def test_a_free_port_that_is_taken_in_between(tmp_path, monkeypatch, anvil):
    """The other program is an anvil too: its answers must not pass for ours."""
    choose, chosen = node_module.free_ports, [anvil.port()]
    monkeypatch.setattr(node_module, "free_ports", lambda count: [chosen.pop()] if chosen else choose(count))
    with AnvilNode(tmp_path / "node", chain_id=5) as node:
        assert not chosen
        assert node.port() != anvil.port()
        assert node.rpc("eth_chainId") == "0x5"


def test_a_node_ends_with_the_process_that_started_it(tmp_path, programs):
    source = (
        "import sys; from pathlib import Path; from mrv_devnet.nodes import AnvilNode\n"
        "node = AnvilNode(Path(sys.argv[1])).start(); print(node.pid, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", source, str(tmp_path / "node")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        pid = int(owner.stdout.readline())
        assert runs(pid)
        owner.send_signal(signal.SIGKILL)
    until(lambda: not runs(pid))


def test_an_old_process_id_is_no_process_of_ours(tmp_path):
    """The id of a node that ended long ago may be that of any program now."""
    with subprocess.Popen(["sleep", "1000"]) as innocent:
        (tmp_path / "node").mkdir()
        record = {"pid": innocent.pid, "started": "long ago", "ports": {"rpc": 1}}
        (tmp_path / "node" / "anvil.node.json").write_text(json.dumps(record))
        node = AnvilNode(tmp_path / "node")
        assert not node.is_running()
        node.stop()
        node.kill()
        assert innocent.poll() is None
        innocent.kill()


@pytest.mark.parametrize("record", ["", "{}", "[]", '{"pid": "x", "started": "y", "ports": {}}', "\x00" * 10])
def test_a_damaged_record_is_no_record(tmp_path, record):
    (tmp_path / "anvil.node.json").write_text(record)
    node = AnvilNode(tmp_path)
    assert not node.is_running()
    assert "was never started" in refusal(lambda: node.url)


def test_a_chain_file_that_was_cut_off(tmp_path, programs):
    said: list[str] = []
    node = AnvilNode(tmp_path / "node", say=said.append)
    with node:
        Kept(node).put()
        until(lambda: "0x" + "11" * 20 in node.state_file.read_text())
    node.save_copy()
    whole = node.state_file.read_bytes()
    node.state_file.write_bytes(whole[: len(whole) // 2])
    node.save_copy()  # of a damaged file none is made
    with node:
        Kept(node).check()
    assert said == [f"{node.state_file} is cut off; going back to the copy made before"]
    for path in node.folder.glob("state*"):
        path.write_bytes(whole[:10]) if path == node.state_file else path.unlink()
    assert "is cut off; anvil was killed while it wrote it" in refusal(node.start)


def test_factories_make_nodes_apart(new_anvil, new_bitcoind, new_ipfs):
    first, second = new_anvil(chain_id=7, block_time=1), new_anvil(keep_state=False)
    assert first.url != second.url
    assert first.rpc("eth_chainId") == "0x7"
    until(lambda: int(first.rpc("eth_blockNumber"), 16) >= 1)
    assert second.rpc("eth_blockNumber") == "0x0"
    assert new_bitcoind(fund=False).rpc("getblockcount") == 0
    assert new_bitcoind(options=("-txindex=1",)).rpc("getindexinfo")["txindex"]
    assert new_ipfs().rpc("id")["ID"] != new_ipfs().rpc("id")["ID"]


def test_records_are_private(tmp_path):
    class Mine:
        pid, started = os.getpid(), "now"

    write_record(tmp_path / "record.json", Mine(), ports={})
    assert stat.S_IMODE((tmp_path / "record.json").stat().st_mode) == 0o600
