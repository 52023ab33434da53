# SPDX-License-Identifier: MIT
"""What the IPFS tests share: a driver on an empty store, and a real IPFS node."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mrv_backends_ipfs.driver import IpfsDriver
from mrv_backends_ipfs.settings import IpfsSettings
from mrv_core.driver import DriverContext

NODE_PROGRAM = Path(__file__).parents[1] / "node" / "node_modules" / ".bin" / "jsipfs"
START_TIMEOUT_S = 60
CALL_TIMEOUT_S = 20


@pytest.fixture
def store_dir(tmp_path: Path) -> Path:
    return tmp_path / "networks" / "ipfs"


@pytest.fixture
def make_driver(store_dir: Path) -> Callable[..., IpfsDriver]:
    def make(folder: Path = store_dir, **settings: Any) -> IpfsDriver:
        return IpfsDriver(DriverContext("ipfs", IpfsSettings(**settings), folder))

    return make


@pytest.fixture
def driver(make_driver: Callable[..., IpfsDriver]) -> IpfsDriver:
    return make_driver()


@dataclass(frozen=True)
class IpfsNode:
    """A running node, reached through the RPC that Kubo and js-ipfs have in common."""

    url: str

    def call(self, command: str, body: bytes | None = None, **arguments: str) -> bytes:
        request = urllib.request.Request(  # noqa: S310 - a loopback address of our own making
            f"{self.url}/api/v0/{command}?{urllib.parse.urlencode(arguments)}", data=b"", method="POST"
        )
        if body is not None:
            boundary = secrets.token_hex(16)
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n'
            head += "Content-Type: application/octet-stream\r\n\r\n"
            request.data = head.encode() + body + f"\r\n--{boundary}--\r\n".encode()
            request.add_header("Content-Type", f"multipart/form-data; boundary={boundary}")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=CALL_TIMEOUT_S) as reply:
            return bytes(reply.read())


@pytest.fixture(scope="session")
def ipfs_node(tmp_path_factory: pytest.TempPathFactory, node: str) -> Iterator[IpfsNode]:
    """A private js-ipfs daemon: no peers, loopback only, ports of its own choice."""
    if not NODE_PROGRAM.exists():
        message = "the IPFS node is not installed; run: make node-programs"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    repo = tmp_path_factory.mktemp("ipfs-repo")
    environment = {**os.environ, "IPFS_PATH": str(repo), "NODE_OPTIONS": "--no-deprecation"}
    program = [node, str(NODE_PROGRAM)]
    subprocess.run([*program, "init", "--empty-repo"], env=environment, check=True, capture_output=True, timeout=60)
    _keep_private(repo / "config")
    with subprocess.Popen(
        [*program, "daemon"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield IpfsNode(_wait_until_ready(process))
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


def _keep_private(path: Path) -> None:
    config = json.loads(path.read_bytes())
    config["Bootstrap"] = []
    config["Discovery"]["MDNS"]["Enabled"] = False
    config["Discovery"]["webRTCStar"]["Enabled"] = False
    anywhere = "/ip4/127.0.0.1/tcp/0"
    config["Addresses"] |= {"Swarm": [anywhere], "API": anywhere, "Gateway": anywhere, "RPC": "", "Delegates": []}
    path.write_text(json.dumps(config))


def _wait_until_ready(process: subprocess.Popen[str]) -> str:
    watchdog = threading.Timer(START_TIMEOUT_S, process.kill)  # ends the loop below where the daemon hangs
    watchdog.start()
    lines, port = [], None
    try:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if "API listening on" in line:
                port = line.strip().split("/tcp/")[1].split("/")[0]
            if "Daemon is ready" in line and port:
                return f"http://127.0.0.1:{port}"
    finally:
        watchdog.cancel()
    raise RuntimeError(f"the IPFS daemon did not start: {''.join(lines)}")
