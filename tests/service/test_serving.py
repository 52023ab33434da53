# SPDX-License-Identifier: MIT
"""`mrv serve` and `mrv token` as a user runs them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from mrv_core.errors import ConfigurationError
from mrv_service.database import Database

from .conftest import record

MRV = str(Path(sys.executable).with_name("mrv"))


def mrv(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [MRV, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **environment})


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], str]]]:
    """Start registries as processes; all of them are ended after the test."""
    with ExitStack() as stack:

        def start(*options: str) -> tuple[subprocess.Popen[str], str]:
            command = [MRV, "serve", "--port", "0", "--base-dir", str(tmp_path / "registry"), *options]
            process = stack.enter_context(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
            stack.callback(process.kill)
            assert process.stderr is not None
            said = re.search(r"http://127.0.0.1:\d+", process.stderr.readline())
            assert said is not None
            return process, said[0]

        yield start


def test_a_registry_from_the_command_line(
    serve: Callable[..., tuple[subprocess.Popen[str], str]], tmp_path: Path
) -> None:
    process, url = serve()
    made = mrv("token", "create", "cluster", "--scope", "write", "--base-dir", tmp_path / "registry")
    assert made.returncode == 0
    text = made.stdout.strip()
    assert re.fullmatch(r"mrv_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", text)
    data = record().to_bytes()
    headers = {"Authorization": f"Bearer {text}"}
    assert httpx.post(f"{url}/api/v1/records", content=data, headers=headers).status_code == 201
    listed = json.loads(mrv("token", "list", "--json", "--base-dir", tmp_path / "registry").stdout)["tokens"]
    assert [(each["name"], each["scopes"], each["revoked_at"]) for each in listed] == [("cluster", ["write"], None)]
    assert mrv("token", "revoke", listed[0]["id"], "--base-dir", tmp_path / "registry").returncode == 0
    assert mrv("token", "revoke", listed[0]["id"], "--base-dir", tmp_path / "registry").returncode == 2
    assert httpx.post(f"{url}/api/v1/records", content=data, headers=headers).status_code == 401

    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    rest = process.stderr.read()
    assert process.wait(30) in (0, -signal.SIGINT, 130)
    assert "Traceback" not in rest
    requests = [json.loads(line) for line in rest.splitlines() if '"route"' in line]
    assert {"method": "POST", "route": "/api/v1/records", "status": 201}.items() <= requests[0].items()
    assert text not in rest


def test_a_second_token_of_a_name_is_said(tmp_path: Path) -> None:
    for is_again, options in ((False, []), (True, []), (True, ["--json"])):
        made = mrv("token", "create", "cluster", "--scope", "write", *options, "--base-dir", tmp_path / "registry")
        assert (made.returncode, "a token of this name before" in made.stderr) == (0, is_again)


def test_what_was_accepted_survives_a_kill(
    serve: Callable[..., tuple[subprocess.Popen[str], str]], tmp_path: Path
) -> None:
    process, url = serve()
    made = mrv("token", "create", "cluster", "--scope", "write", "--base-dir", tmp_path / "registry")
    headers = {"Authorization": f"Bearer {made.stdout.strip()}"}
    kept = [record() for _ in range(20)]
    with httpx.Client() as client:
        for each in kept:
            answer = client.post(f"{url}/api/v1/records", content=each.to_bytes(), headers=headers)
            assert answer.status_code == 201
    process.kill()
    process.wait()
    _, url = serve()
    for each in kept:
        assert httpx.get(f"{url}/api/v1/records/{each.mrv_id}/content").content == each.to_bytes()


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["token", "create", "x", "--scope", "admin"], 2, "no scope 'admin'"),
        (["token", "create", "", "--scope", "read"], 2, "a token has a name"),
        (["serve", "--cors", "elsewhere"], 2, "is no origin"),
        (["serve", "--base-dir", "/proc/nowhere"], 4, "/proc/nowhere"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, arguments: list[str], status: int, said: str) -> None:
    base = [] if "--base-dir" in arguments else ["--base-dir", str(tmp_path)]
    done = mrv(*arguments, *base)
    assert done.returncode == status, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "url", ["mysql://u:hunter2@h/d", "postgresql+psycopg://u:hunter2@127.0.0.1:9/d", "hunter2://", "sqlite://"]
)
def test_a_database_that_cannot_be_used_is_said_without_its_password(tmp_path: Path, url: str) -> None:
    done = mrv("serve", "--base-dir", tmp_path, MRV_DATABASE_URL=url)
    assert done.returncode in (2, 4)
    assert "hunter2" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = mrv("serve", "--port", taken.getsockname()[1], "--base-dir", tmp_path)
    assert done.returncode == 2, done.stderr
    assert "cannot be listened on" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "sqlalchemy.py").write_text("raise ModuleNotFoundError('no', name='sqlalchemy')")
    done = mrv("serve", "--base-dir", tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert "mrv-provenance[service]" in done.stderr


_UPGRADES = """
import sys
from mrv_service.database import Database
database = Database(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
database.upgrade()
"""


def test_several_start_at_once_on_an_empty_database(new_database: Callable[[], str]) -> None:
    url = new_database()
    pipe = subprocess.PIPE
    several = [
        subprocess.Popen([sys.executable, "-c", _UPGRADES, url], stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        for _ in range(4)
    ]
    for each in several:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    for each in several:
        assert each.stdin is not None
        each.stdin.write("\n")
        each.stdin.flush()
    assert [each.communicate(timeout=60)[1] for each in several] == [""] * 4
    database = Database(url)
    assert database.is_current()
    database.close()


def test_a_database_of_a_later_version_is_said(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'registry.sqlite3'}")
    database.upgrade()
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigurationError, match="does not know"):
        database.upgrade()
    database.close()


def test_a_request_that_breaks_off_is_no_defect(
    serve: Callable[..., tuple[subprocess.Popen[str], str]], tmp_path: Path
) -> None:
    process, url = serve()
    token = mrv("token", "create", "test", "--scope", "write", "--base-dir", tmp_path / "registry").stdout.strip()
    head = f"POST /api/v1/records HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
    head += "Content-Length: 9\r\n\r\n{"
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as connection:
        connection.sendall(head.encode())
        time.sleep(0.5)  # until the body is waited for
    while 'method="POST"' not in httpx.get(f"{url}/metrics").text:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=30)[1]
    assert '"status": 400' in said
    assert "defect" not in said
    assert "Traceback" not in said


def test_several_processes_answer_together(
    serve: Callable[..., tuple[subprocess.Popen[str], str]], tmp_path: Path
) -> None:
    process, url = serve("--processes", "2")
    _wait_until(lambda: len(_children(process.pid)) == 2 and _answers(url))
    token = mrv("token", "create", "test", "--scope", "write", "--base-dir", tmp_path / "registry").stdout.strip()
    headers = {"Authorization": f"Bearer {token}"}
    made = [record() for _ in range(20)]
    for each in made:  # each on a connection of its own, so that both are asked
        assert httpx.post(f"{url}/api/v1/records", content=each.to_bytes(), headers=headers).status_code == 201
    counted = r'mrv_requests_total{method="POST",route="/api/v1/records",status="201"} (\S+)'
    found = re.search(counted, httpx.get(f"{url}/metrics").text)
    assert found is not None
    assert float(found[1]) == 20, "the processes count together"
    first, second = _children(process.pid)
    os.kill(first, signal.SIGKILL)
    _wait_until(lambda: len(_children(process.pid)) == 2 and first not in _children(process.pid))
    _wait_until(lambda: _answers(url))
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=30)[1]
    assert "Traceback" not in said
    assert token not in said
    assert not Path(f"/proc/{second}").exists()


def test_processes_end_with_the_one_that_was_killed(serve: Callable[..., tuple[subprocess.Popen[str], str]]) -> None:
    process, url = serve("--processes", "2")
    _wait_until(lambda: len(_children(process.pid)) == 2 and _answers(url))
    children = _children(process.pid)
    process.kill()
    _wait_until(lambda: not any(_is_running(each) for each in children))


def test_other_names_than_its_own_are_refused(serve: Callable[..., tuple[subprocess.Popen[str], str]]) -> None:
    """A page whose name was made to lead to loopback reads nothing (DNS rebinding)."""
    _, url = serve()
    port = url.rpartition(":")[2]
    for name, status in (("localhost", 200), (f"127.0.0.1:{port}", 200), ("[::1]:80", 200), ("evil.example", 400)):
        answer = httpx.get(f"{url}/api/v1/records", headers={"Host": name})
        assert answer.status_code == status, name
    assert answer.headers["content-type"] == "application/problem+json"
    assert httpx.get(f"{url}/healthz", headers={"Host": "10.0.0.7"}).status_code == 200, "of a probe"
    _, url = serve("--allow-host", "mrv.lab.example")
    assert httpx.get(f"{url}/api/v1/records", headers={"Host": "MRV.lab.example:443"}).status_code == 200
    assert httpx.get(f"{url}/api/v1/records").status_code == 400


def _children(pid: int) -> list[int]:
    """Return the processes that answer: not the one that multiprocessing has for itself."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(each) for each in path.read_text().split()]
    return [each for each in found if b"spawn_main" in Path(f"/proc/{each}/cmdline").read_bytes()]


def _is_running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def _wait_until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.05)
