# SPDX-License-Identifier: MIT
"""`docker-compose.yml`: pinned images, loopback ports that fit the configuration, no secrets."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
IMAGES = {"ethereum": "ethereum/client-go", "bitcoin": "bitcoin/bitcoin", "ipfs": "ipfs/kubo"}
KEYS = {"image", "command", "environment", "ports", "volumes", "restart", "stop_grace_period"}


@pytest.fixture(scope="module")
def document():
    return yaml.safe_load(COMPOSE.read_text())


def test_it_has_the_keys_that_compose_knows(document):
    assert set(document) == {"name", "services", "volumes"}
    assert set(document["services"]) == set(IMAGES)
    for service in document["services"].values():
        assert set(service) <= KEYS
        assert all(isinstance(argument, str) for argument in service["command"])
        assert all(isinstance(value, str) for value in service.get("environment", {}).values())
        assert service["restart"] == "no"
        for volume in service["volumes"]:
            name, place = volume.split(":")
            assert name in document["volumes"]
            assert place.startswith("/")


def test_images_are_official_and_pinned(document):
    for name, service in document["services"].items():
        image, _, tag = service["image"].partition(":")
        assert image == IMAGES[name]
        assert re.fullmatch(r"v?\d+\.\d+(\.\d+)?", tag), f"{name} is not pinned: {tag}"


def test_ports_are_on_loopback_and_those_of_the_configuration(document):
    published = {}
    for name, service in document["services"].items():
        for port in service["ports"]:
            address, outside, inside = port.split(":")
            assert address == "127.0.0.1"
            assert outside == inside
            published.setdefault(name, []).append(int(outside))
    config = json.loads((ROOT / "configs" / "blockchain_config.devnet.json").read_bytes())["blockchain"]
    wanted = {
        "ethereum": [urlsplit(config["ethereum"]["rpc_url"]).port],
        "bitcoin": [urlsplit(config["bitcoin"]["rpc_url"]).port],
        "ipfs": [urlsplit(config["ipfs"][key]).port for key in ("url", "gateway_url")],
    }
    assert published == wanted


def test_it_holds_no_secret(document):
    auth = [argument for argument in document["services"]["bitcoin"]["command"] if "auth" in argument]
    assert len(auth) == 1
    assert auth[0].startswith("-rpcauth=${BITCOIN_RPCAUTH:?")
    assert not re.search(r"rpcpassword|password=|private", COMPOSE.read_text(), re.IGNORECASE)


def test_the_password_tool_makes_what_bitcoind_takes(tmp_path, new_bitcoind):
    import sys

    from mrv_devnet import rpc

    file = tmp_path / "btc.password"
    line = subprocess.run(
        [sys.executable, "-m", "mrv_devnet.bitcoin", str(file)], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert file.stat().st_mode & 0o777 == 0o600
    password = file.read_text()
    assert password not in line
    node = new_bitcoind(fund=False, options=(f"-rpcauth={line}",))
    assert rpc.call(node.url, "getblockcount", [], user="mrv", password=password, timeout_s=30) == 0


def test_compose_reads_it():
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker compose is not installed")
    command = [docker, "compose", "--file", str(COMPOSE), "config", "--quiet"]
    environment = {"PATH": str(Path(docker).parent), "BITCOIN_RPCAUTH": "mrv:00$00"}
    subprocess.run(command, env=environment, check=True)
    done = subprocess.run(command, env={"PATH": environment["PATH"]}, capture_output=True, text=True, check=False)
    assert done.returncode
    assert "BITCOIN_RPCAUTH" in done.stderr
