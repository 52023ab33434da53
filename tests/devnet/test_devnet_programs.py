# SPDX-License-Identifier: MIT
"""Programs are found in the order the documentation says, or installed completely, by one process only."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.resources import files

import pytest
from devnet_helpers import link, refusal, script

from mrv_devnet import programs

NODE = shutil.which("node") or "/usr/bin/node"


def hush(text: str) -> None:
    raise AssertionError(f"nothing is to be installed here: {text}")


def test_a_variable_wins_over_path_and_path_over_installations(bare_path, tmp_path, monkeypatch):
    installed = tmp_path / "programs" / "bitcoind" / "bin"
    installed.mkdir(parents=True)
    assert programs.bitcoind(hush).command == (str(installed / "bitcoind"),)
    on_path = script(bare_path / "bitcoind", "#!/bin/sh\n")
    assert programs.bitcoind(hush).command == (str(on_path),)
    named = script(tmp_path / "my-bitcoind", "#!/bin/sh\n")
    monkeypatch.setenv("MRV_BITCOIND", str(named))
    assert programs.bitcoind(hush) == programs.Program((str(named),), "bitcoind")


def test_a_variable_that_names_no_program(bare_path, monkeypatch):
    monkeypatch.setenv("MRV_ANVIL", "/nowhere/anvil")
    assert "MRV_ANVIL names no program: /nowhere/anvil" in refusal(lambda: programs.anvil(hush))


@pytest.mark.parametrize(("answer", "kind"), [("ipfs version 0.38.1", "kubo"), ("js-ipfs version: 0.18.1", "js-ipfs")])
def test_kubo_and_js_ipfs_are_told_apart(bare_path, answer, kind):
    link(bare_path, "sh")
    (bare_path / "node").symlink_to(NODE)
    path = script(bare_path / "ipfs", f"#!/bin/sh\necho '{answer}'\n")
    found = programs.ipfs(hush)
    assert found.kind == kind
    assert found.command == ((str(path),) if kind == "kubo" else (str(bare_path / "node"), str(path)))


def test_a_program_that_is_neither(bare_path):
    script(bare_path / "ipfs", "#!/bin/sh\necho something else\n")
    assert "is neither Kubo nor js-ipfs" in refusal(lambda: programs.ipfs(hush))


@pytest.mark.parametrize("find", [programs.anvil, programs.ipfs])
def test_without_npm(bare_path, find):
    assert "npm is not installed [install Node.js with npm, or name the program with MRV_" in refusal(
        lambda: find(hush)
    )


def test_without_apt(bare_path):
    link(bare_path, "bash")
    text = refusal(lambda: programs.bitcoind(lambda _: None))
    assert text.startswith("bitcoind cannot be installed here: no apt-get")
    assert "MRV_BITCOIND" in text


def test_a_registry_that_does_not_answer(bare_path, tmp_path):
    link(bare_path, "sh")
    script(bare_path / "npm", "#!/bin/sh\necho 'npm error network' >&2\necho 'npm error code E1' >&2\nexit 1\n")
    said: list[str] = []
    text = refusal(lambda: programs.anvil(said.append))
    assert text.startswith("npm ci of @foundry-rs/anvil-")
    assert " failed with status 1: npm error network / npm error code E1 [" in text
    assert said[0].startswith("installing @foundry-rs/anvil-")
    assert said[0].endswith(f" 1.7.1 from the npm registry into {installed(said)}")
    assert [path.name for path in (tmp_path / "programs").iterdir() if path.is_dir()] == [], "something half is left"


def installed(said: list[str]) -> str:
    return said[0].rpartition(" into ")[2]


def test_two_installers_at_once(tmp_path):
    folder = tmp_path / "programs"
    folder.mkdir()
    lock = json.loads((files("mrv_devnet") / "npm/anvil/package-lock.json").read_text())
    assert lock["packages"]["node_modules/@foundry-rs/anvil"]["version"] == "1.7.1"
    environment = {key: value for key, value in os.environ.items() if key != "MRV_ANVIL"}
    environment |= {"MRV_DEVNET_PROGRAMS": str(folder), "PATH": path_without("anvil")}
    command = [sys.executable, "-m", "mrv_devnet.programs", "anvil"]
    both = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    answers = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    assert answers[0][0] == answers[1][0]
    assert "".join(err for _, err in answers).count("installing") == 1
    places = [path for path in folder.iterdir() if path.is_dir()]
    assert len(places) == 1, "a temporary folder is left"
    version = subprocess.run([answers[0][0].strip(), "--version"], capture_output=True, text=True, check=True).stdout
    assert "1.7.1" in version


def path_without(name: str) -> str:
    places = os.environ["PATH"].split(os.pathsep)
    return os.pathsep.join(place for place in places if not os.path.exists(os.path.join(place, name)))


def test_what_a_killed_installer_left_is_removed(bare_path, tmp_path):
    name = "anvil-1.7.1"
    said: list[str] = []
    link(bare_path, "sh")
    script(bare_path / "npm", "#!/bin/sh\nexit 1\n")
    refusal(lambda: programs.anvil(said.append))
    place = tmp_path / "programs" / f".{installed(said).rpartition('/')[2]}.tmp-killed"
    assert name in str(place)
    (place / "new").mkdir(parents=True)
    refusal(lambda: programs.anvil(said.append))
    assert not place.exists()


def test_a_machine_that_npm_has_no_anvil_for(bare_path, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "pdp11")
    text = refusal(lambda: programs.anvil(hush))
    assert text == f"npm has no anvil for {sys.platform} on pdp11 [name the program with MRV_ANVIL]"


@pytest.mark.parametrize("name", ["anvil", "ipfs"])
def test_lock_files_pin_bytes_and_name_no_host(name):
    lock = json.loads((files("mrv_devnet") / f"npm/{name}/package-lock.json").read_text())
    packages = {key: value for key, value in lock["packages"].items() if key and not value.get("inBundle")}
    assert all(value["integrity"].startswith("sha512-") for value in packages.values())
    assert not [key for key, value in packages.items() if "resolved" in value]
    wanted = json.loads((files("mrv_devnet") / f"npm/{name}/package.json").read_text())["dependencies"]
    assert lock["packages"][""]["dependencies"] == wanted


def test_the_command_names_what_it_does_not_know():
    done = subprocess.run(
        [sys.executable, "-m", "mrv_devnet.programs", "geth"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: no program is called geth\nhint: choose from anvil, bitcoind, ipfs\n"
