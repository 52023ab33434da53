# SPDX-License-Identifier: MIT
"""`scripts/setup_local_geth.sh` with a geth, without one, twice, and on a port that is not free."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from devnet_helpers import script, until

from mrv_core.errors import BackendError
from mrv_devnet import rpc
from mrv_devnet.ports import free_ports, is_free

SCRIPT = Path(__file__).parents[2] / "scripts" / "setup_local_geth.sh"
FAKE = """#!{python}
import http.server, sys
print("arguments:", sys.argv[1:], flush=True)
if {ends}:
    sys.exit("Fatal: no memory")
port = int(sys.argv[sys.argv.index("--http.port") + 1])
http.server.HTTPServer(("127.0.0.1", port), http.server.BaseHTTPRequestHandler).serve_forever()
"""


class Place:
    """A folder that the script is run in."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.path = folder / "bin"
        self.path.mkdir()

    def run(self, *arguments: str, expect: int = 0) -> str:
        path = f"{self.path}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "MRV_GETH_PORT": str(self.port)}
        done = subprocess.run(
            ["bash", str(SCRIPT), *arguments],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == expect, done.stderr
        assert done.stdout == ""
        return done.stderr

    def geth(self, *, ends: bool = False) -> None:
        script(self.path / "geth", FAKE.format(python=sys.executable, ends=ends))

    @property
    def log(self) -> str:
        return (self.folder / "geth_dev.log").read_text()


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path, free_ports(1)[0])
    yield made
    made.run("stop")


def test_with_geth(place):
    place.geth()
    said = place.run()
    assert said.startswith(f"geth listens on http://127.0.0.1:{place.port}, process ")
    arguments = (
        f"['--dev', '--http', '--http.addr', '127.0.0.1', '--http.port', '{place.port}', '--http.api', 'eth,net,web3']"
    )
    assert place.log.startswith(f"arguments: {arguments}")
    assert stat.S_IMODE((place.folder / "geth_dev.log").stat().st_mode) == 0o600
    assert place.run().startswith(f"it runs already: http://127.0.0.1:{place.port}, process ")
    assert place.run("stop").startswith("stopped process ")
    until(lambda: is_free(place.port))
    assert place.run("stop") == "nothing was running\n"


@pytest.mark.skipif(shutil.which("geth") is not None, reason="geth is installed here")
def test_without_geth(place, programs):
    said = place.run()
    assert said.startswith("geth is not installed; starting anvil instead\nanvil listens on ")
    url = f"http://127.0.0.1:{place.port}"
    assert rpc.call(url, "eth_chainId", [], timeout_s=30) == "0x7a69"
    assert place.run("stop").startswith("stopped process ")
    with pytest.raises(BackendError):
        rpc.call(url, "eth_chainId", [], timeout_s=30)


def test_a_port_that_is_not_free(place):
    place.geth()
    with socket.socket() as other:
        other.bind(("127.0.0.1", place.port))
        other.listen()
        said = place.run(expect=1)
    assert said.startswith(f"error: port {place.port} is used by another program\nhint: ")
    assert not (place.folder / "geth_dev.pid").exists()


def test_a_geth_that_ends(place):
    place.geth(ends=True)
    said = place.run(expect=1)
    assert "error: geth ended: " in said
    assert "Fatal: no memory" in said
    assert not (place.folder / "geth_dev.pid").exists()


def test_an_old_process_id_is_not_stopped(place):
    with subprocess.Popen(["sleep", "1000"]) as innocent:
        (place.folder / "geth_dev.pid").write_text(f"{innocent.pid}\n1\n")
        assert place.run("stop") == "nothing was running\n"
        assert innocent.poll() is None
        innocent.kill()


def test_an_unknown_argument(place):
    assert place.run("start", expect=1).startswith("error: unknown argument: start\nhint: ")
