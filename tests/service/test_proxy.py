# SPDX-License-Identifier: MIT
"""Behind a proxy: whose requests are counted, and which names are answered, as docs/DEPLOYMENT.md says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

MRV = str(Path(sys.executable).with_name("mrv"))
NAME = {"Host": "mrv.lab.example"}


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., str]]:
    with ExitStack() as stack:

        def start(*options: str, **environment: str) -> str:
            command = [MRV, "serve", "--port", "0", "--base-dir", str(tmp_path / "registry"), *options]
            process = stack.enter_context(
                subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment})
            )
            stack.callback(process.kill)
            assert process.stderr is not None
            said = re.search(r"http://127.0.0.1:\d+", process.stderr.readline())
            assert said is not None
            return said[0]

        yield start


def asked(url: str, forwarded: str, times: int) -> list[int]:
    headers = {**NAME, "X-Forwarded-For": forwarded}
    return [httpx.get(f"{url}/api/v1/records", headers=headers).status_code for _ in range(times)]


def test_each_client_behind_a_proxy_of_this_machine_has_its_own_limit(serve: Callable[..., str]) -> None:
    url = serve("--rate", "2", "--allow-host", "mrv.lab.example")
    assert asked(url, "192.0.2.1", 3) == [200, 200, 429]
    assert asked(url, "192.0.2.2", 3) == [200, 200, 429]
    # What a client wrote itself stands before what the proxy added to it.
    assert asked(url, "198.51.100.7, 192.0.2.1", 1) == [429]
    assert asked(url, "198.51.100.8, 192.0.2.3", 1) == [200]


def test_who_is_not_believed_is_one_client(serve: Callable[..., str]) -> None:
    url = serve("--rate", "2", "--allow-host", "mrv.lab.example", FORWARDED_ALLOW_IPS="192.0.2.254")
    assert asked(url, "192.0.2.1", 2) == [200, 200]
    assert asked(url, "192.0.2.2", 1) == [429]


def test_the_name_that_the_proxy_hands_on_has_to_be_allowed(serve: Callable[..., str]) -> None:
    url = serve()
    assert httpx.get(f"{url}/api/v1/records").status_code == 200
    refused = httpx.get(f"{url}/api/v1/records", headers=NAME)
    assert (refused.status_code, "--allow-host" in refused.json()["hint"]) == (400, True)
    assert httpx.get(f"{url}/healthz", headers=NAME).status_code == 200
    named = serve("--allow-host", "mrv.lab.example")
    assert httpx.get(f"{named}/api/v1/records", headers=NAME).status_code == 200
    assert httpx.get(f"{named}/api/v1/records").status_code == 400
