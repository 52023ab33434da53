# SPDX-License-Identifier: MIT
"""`mrv devnet`: exit codes, JSON, and the real contract through the real driver."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from devnet_helpers import runs
from typer.testing import CliRunner

from mrv_cli.devnet import devnet_app
from mrv_core.config import load_config
from mrv_core.manager import BlockchainManager
from mrv_devnet.devnet import Devnet
from mrv_devnet.nodes import AnvilNode


def run(*arguments: object, expect: int = 0) -> tuple[str, str]:
    result = CliRunner().invoke(devnet_app, [str(argument) for argument in arguments], prog_name="mrv devnet")
    assert result.exit_code == expect, result.output
    return result.stdout, result.stderr


@pytest.mark.parametrize("command", ["down", "status", "reset"])
def test_no_devnet_is_an_error_of_usage(tmp_path, command):
    out, err = run(command, "--dir", tmp_path, expect=2)
    assert out == ""
    assert err == f"error: {tmp_path} is no devnet folder\nhint: start one with 'mrv devnet up'\n"
    out, _ = run(command, "--dir", tmp_path, "--json", expect=2)
    assert json.loads(out)["error"]["message"] == f"{tmp_path} is no devnet folder"


def test_up_deploys_the_contract_and_the_configuration_can_be_used(tmp_path, tmp_path_factory, programs, monkeypatch):
    monkeypatch.setenv("ETH_PRIVATE_KEY", "11" * 32)  # the user's own: not to be used here
    monkeypatch.setenv("ETH_RPC_URL", "http://127.0.0.1:9")
    monkeypatch.chdir(tmp_path)
    try:
        out, err = run("up", "--json")
        document = json.loads(out)
        assert document["dir"] == str(tmp_path / ".devnet")
        assert all(node["ready"] for node in document["nodes"].values())
        assert "ethereum: contracts at 0x" in err
        config = load_config(document["config"], environment={})
        assert config.selected == ("ethereum", "bitcoin", "ipfs")
        contract = json.loads(Path(document["config"]).read_bytes())["blockchain"]["ethereum"]["contract_address"]
        with_code = AnvilNode(tmp_path / ".devnet" / "ethereum").rpc("eth_getCode", contract, "latest")
        assert len(with_code) > 1000

        with BlockchainManager(config, base_dir=tmp_path_factory.mktemp("artifacts")) as manager:
            answers = manager.status()
        assert all(answer.ready for answer in answers.values()), answers
        assert not any(answer.embedded for answer in answers.values())

        out, _ = run("status")
        assert "anvil" in out
        assert "bitcoind" in out
        out, _ = run("down", "--json")
        assert sorted(json.loads(out)["stopped"]) == ["bitcoin", "ethereum", "ipfs", "miner"]
        out, _ = run("status", "--json", expect=4)
        assert not any(node["running"] for node in json.loads(out)["nodes"].values())
    finally:
        out, _ = run("reset", "--json")
    assert json.loads(out) == {"dir": ".devnet", "removed": True}
    assert list(tmp_path.iterdir()) == []


def test_the_nodes_outlive_the_command(tmp_path, programs):
    """A process of its own, as a user's; it ends right after the nodes have started, before there is a contract."""
    source = (
        "import sys; from pathlib import Path; from mrv_devnet.devnet import Devnet\n"
        "Devnet(Path(sys.argv[1]), deploy=lambda section: sys.exit(7)).up()"
    )
    folder = tmp_path / "net"
    try:
        done = subprocess.run([sys.executable, "-c", source, str(folder)], capture_output=True, text=True, check=False)
        assert done.returncode == 7, done.stderr
        states = {state.network: state for state in Devnet(folder).status()}
        assert [name for name, state in states.items() if state.ready] == ["ethereum", "bitcoin", "ipfs"]
        assert all(runs(state.pid) for state in states.values() if state.pid)
    finally:
        Devnet(folder).reset()


def test_the_command_module_imports_nothing_heavy():
    source = "import sys, mrv_cli.devnet; print(*sorted(name.partition('.')[0] for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert not {"mrv_devnet", "pydantic", "rich", "filelock", "web3"} & set(done.stdout.split())
