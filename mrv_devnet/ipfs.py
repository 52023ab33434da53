# SPDX-License-Identifier: MIT
"""An IPFS daemon without peers: Kubo or js-ipfs, which have the same RPC."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from mrv_core.errors import BackendUnavailableError
from mrv_core.files import make_folder, write_atomic
from mrv_devnet import programs, rpc
from mrv_devnet.node import Node
from mrv_devnet.programs import Program

_INIT_TIMEOUT_S: Final = 120


class IpfsNode(Node):
    """An IPFS daemon with an API and a gateway on loopback ports, and nobody to talk to."""

    name = "ipfs"
    port_names = ("api", "gateway")

    @property
    def url(self) -> str:
        """Address of its RPC API."""
        return f"http://127.0.0.1:{self.port('api')}"

    @property
    def api_url(self) -> str:
        """Address of its RPC API, the same as `url`."""
        return self.url

    @property
    def gateway_url(self) -> str:
        """Address of its gateway."""
        return f"http://127.0.0.1:{self.port('gateway')}"

    @property
    def repo(self) -> Path:
        """Folder with its blocks, pins and identity."""
        return self.folder / "repo"

    def call(
        self, command: str, *args: str, body: bytes | None = None, timeout_s: float | None = None, **options: str
    ) -> bytes:
        """Send a command, with a file where there is one, and return the answer's bytes; errors as of `Node.rpc`."""
        query = urlencode(
            [*(("arg", arg) for arg in args), *((key.replace("_", "-"), options[key]) for key in options)]
        )
        url = f"{self.url}/api/v0/{command}?{query}"
        wait_s = self.timeout_s if timeout_s is None else timeout_s
        if body is None:
            status, answer = rpc.post(url, b"", content_type="application/octet-stream", timeout_s=wait_s)
        else:
            boundary = secrets.token_hex(16)
            content_type = f"multipart/form-data; boundary={boundary}"
            status, answer = rpc.post(url, _form(body, boundary), content_type=content_type, timeout_s=wait_s)
        if status != 200:
            raise rpc.RpcError(f"{command}: HTTP status {status}: {answer[:200].decode(errors='replace')}", code=status)
        return answer

    def rpc(self, method: str, *params: Any) -> Any:
        """Send a command and return its JSON answer, for instance `rpc("block/stat", cid)`; as of `Node`."""
        return json.loads(self.call(method, *map(str, params)))

    def ask(self) -> str:
        """Return its version in a few words."""
        return f"version {self.rpc('version')['Version']}"

    def _program(self) -> Program:
        return programs.ipfs(self._say)

    def _environment(self) -> Mapping[str, str]:
        return {
            "IPFS_PATH": str(self.repo),
            "IPFS_TELEMETRY": "off",
            "NO_UPDATE_NOTIFIER": "1",
            "NODE_OPTIONS": "--no-deprecation",
        }

    def _command(self, program: Program) -> list[str]:
        own = ["--init-config", str(self._overrides), "--enable-preload=false"] if program.kind == "js-ipfs" else []
        return [*program.command, "daemon", *own, *self._options]

    @property
    def _overrides(self) -> Path:
        return self.folder / "ipfs.config.json"

    def _before_start(self, program: Program) -> None:
        make_folder(self.repo)
        # A killed daemon leaves these behind. No daemon of this folder runs now, so they mean nothing.
        (self.repo / "api").unlink(missing_ok=True)
        shutil.rmtree(self.repo / "repo.lock", ignore_errors=True)
        if program.kind == "js-ipfs":
            write_atomic(self._overrides, json.dumps(_js_config(self.port("api"), self.port("gateway"))).encode())
        else:
            self._configure_kubo(program)

    def _configure_kubo(self, program: Program) -> None:
        path = self.repo / "config"
        if not path.exists():
            command = [*program.command, "init", "--empty-repo"]
            done = subprocess.run(  # noqa: S603 - the node's own program
                command,
                env={**os.environ, **self._environment()},
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_INIT_TIMEOUT_S,
                check=False,
            )
            if done.returncode:
                raise BackendUnavailableError(f"ipfs init failed: {done.stderr.strip()[-300:]}", hint="see the message")
        config = json.loads(path.read_bytes())
        for section, values in _kubo_config(self.port("api"), self.port("gateway")).items():
            config[section] = {**config.get(section, {}), **values} if isinstance(values, dict) else values
        write_atomic(path, json.dumps(config, indent=2).encode())

    def _is_ready(self, log: str) -> bool:
        # Another daemon on the port has another identity.
        answer = self.rpc("id")["ID"]
        # The gateway comes last; whatever it says to a request that makes no sense, it is there.
        rpc.post(self.gateway_url, b"", content_type="application/octet-stream", timeout_s=self.timeout_s)
        try:
            return bool(answer == json.loads((self.repo / "config").read_bytes())["Identity"]["PeerID"])
        except (OSError, ValueError, KeyError):  # not written yet
            return False


def _addresses(api: int, gateway: int) -> dict[str, Any]:
    here = "/ip4/127.0.0.1/tcp/"
    return {"Swarm": [f"{here}0"], "API": f"{here}{api}", "Gateway": f"{here}{gateway}"}


def _js_config(api: int, gateway: int) -> dict[str, Any]:
    return {
        "Bootstrap": [],
        "Addresses": {**_addresses(api, gateway), "RPC": "", "Delegates": []},
        "Discovery": {"MDNS": {"Enabled": False}, "webRTCStar": {"Enabled": False}},
        "Swarm": {"DisableNatPortMap": True},
    }


def _kubo_config(api: int, gateway: int) -> dict[str, Any]:
    """Return what is changed; a version of Kubo that does not know a name ignores it."""
    return {
        "Bootstrap": [],
        "Addresses": _addresses(api, gateway),
        "AutoConf": {"Enabled": False},
        "AutoTLS": {"Enabled": False},
        "Discovery": {"MDNS": {"Enabled": False}},
        "DNS": {"Resolvers": {}},
        "Ipns": {"DelegatedPublishers": []},
        "Routing": {"Type": "none", "DelegatedRouters": []},
        "Swarm": {"DisableNatPortMap": True, "RelayClient": {"Enabled": False}, "RelayService": {"Enabled": False}},
    }


def _form(body: bytes, boundary: str) -> bytes:
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n'
    return f"{head}Content-Type: application/octet-stream\r\n\r\n".encode() + body + f"\r\n--{boundary}--\r\n".encode()
