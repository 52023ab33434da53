# SPDX-License-Identifier: MIT
"""Finds the programs of the three nodes, and installs those that are not there from package registries.

A program is looked for in this order: the environment variable that names it, `PATH`, an earlier installation in the
programs folder. The programs folder is `$MRV_DEVNET_PROGRAMS`, else `$XDG_CACHE_HOME/mrv/programs`, else
`~/.cache/mrv/programs`. `python -m mrv_devnet.programs` installs all three; with names after it, it prints how to run
these.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from mrv_core.errors import BackendUnavailableError, ConfigurationError, MrvError
from mrv_core.files import make_folder, storage_error

Say = Callable[[str], None]
"""Takes one line about what is being done."""

_HERE: Final = Path(__file__).parent
_NPM_TIMEOUT_S: Final = 900
_APT_TIMEOUT_S: Final = 600
_LAST_LINES: Final = 5
_NOT_A_MACHINE_FOR_IT: Final = 3
"""Exit status of `bitcoind.sh` where there is no apt, or none with Debian's packages."""


@dataclass(frozen=True)
class Program:
    """How to run a node's program.

    Attributes:
        command: The start of every command line: absolute path of the program, and what it needs before its arguments.
        kind: `anvil`, `bitcoind`, `kubo` or `js-ipfs`.
    """

    command: tuple[str, ...]
    kind: str


def say_on_stderr(text: str) -> None:
    """Print one line on stderr."""
    print(text, file=sys.stderr, flush=True)


def programs_folder() -> Path:
    """Return the folder that programs are installed in."""
    named = os.environ.get("MRV_DEVNET_PROGRAMS")
    if named:
        return Path(named).absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "mrv", "programs").absolute()


def anvil(say: Say = say_on_stderr) -> Program:
    """Find or install anvil, the Ethereum node.

    Raises:
        ConfigurationError: it is not there, and nothing on this machine can install it.
        BackendUnavailableError: installing it failed.
    """
    path = _named("MRV_ANVIL") or _on_path("anvil")
    if path is None:
        path = _installed_anvil(say)
    return Program((path,), "anvil")


def bitcoind(say: Say = say_on_stderr) -> Program:
    """Find or install bitcoind, the Bitcoin node; errors as of `anvil`."""
    path = _named("MRV_BITCOIND") or _on_path("bitcoind")
    if path is None:
        path = str(_installed("bitcoind", partial(_install_bitcoind, say)) / "bin" / "bitcoind")
    return Program((path,), "bitcoind")


def ipfs(say: Say = say_on_stderr) -> Program:
    """Find Kubo or js-ipfs, or install js-ipfs; errors as of `anvil`."""
    path = _named("MRV_IPFS") or _on_path("ipfs")
    if path is not None:
        return _ipfs_of(path)
    folder = _installed_by_npm("ipfs", "ipfs", "MRV_IPFS", say)
    return _js_ipfs(folder / "node_modules" / "ipfs" / "src" / "cli.js")


ALL: Final[Mapping[str, Callable[[Say], Program]]] = {"anvil": anvil, "bitcoind": bitcoind, "ipfs": ipfs}
"""Every program by its name."""


def _named(variable: str) -> str | None:
    value = os.environ.get(variable)
    if not value:
        return None
    path = shutil.which(value)
    if path is None:
        raise ConfigurationError(f"{variable} names no program: {value}", hint="name an executable file, or unset it")
    return os.path.abspath(path)


def _on_path(name: str) -> str | None:
    path = shutil.which(name)
    return None if path is None else os.path.abspath(path)


def _ipfs_of(path: str) -> Program:
    try:
        answer = subprocess.run(  # noqa: S603 - the program the user named
            [path, "version"], capture_output=True, text=True, timeout=60, check=False, env=_quiet_environment()
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(f"{path} version: {error}", hint="MRV_IPFS must name Kubo or js-ipfs") from error
    if answer.stdout.startswith("ipfs version"):
        return Program((path,), "kubo")
    if answer.stdout.startswith("js-ipfs version"):
        return _js_ipfs(Path(path).resolve())
    raise ConfigurationError(f"{path} is neither Kubo nor js-ipfs", hint="name one of them with MRV_IPFS")


def _js_ipfs(script: Path) -> Program:
    return Program((_tool("node", "MRV_IPFS"), str(script)), "js-ipfs")


def _quiet_environment() -> dict[str, str]:
    return {**os.environ, "NO_UPDATE_NOTIFIER": "1", "NODE_OPTIONS": "--no-deprecation"}


def _tool(name: str, instead: str) -> str:
    path = _on_path(name)
    if path is None:
        raise ConfigurationError(
            f"{name} is not installed", hint=f"install Node.js with npm, or name the program with {instead}"
        )
    return path


def _installed_anvil(say: Say) -> str:
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine().lower(), platform.machine().lower())
    package = f"@foundry-rs/anvil-{sys.platform}-{machine}"
    # Of the package that all platforms share only a script would be used, which starts the program as a child; and
    # npm leaves out the program itself where Node.js is older than that script needs.
    folder = _installed_by_npm("anvil", package, "MRV_ANVIL", say, alone=True)
    return str(folder / "node_modules" / package / "bin" / "anvil")


def _installed_by_npm(name: str, package: str, variable: str, say: Say, *, alone: bool = False) -> Path:
    source = _HERE / "npm" / name
    manifest, lock = (json.loads((source / file).read_bytes()) for file in ("package.json", "package-lock.json"))
    entry = f"node_modules/{package}"
    if entry not in lock["packages"]:
        raise ConfigurationError(
            f"npm has no {name} for {sys.platform} on {platform.machine()}", hint=f"name the program with {variable}"
        )
    version = lock["packages"][entry]["version"]
    if alone:
        manifest["dependencies"] = {package: version}
        only = {key: value for key, value in lock["packages"][entry].items() if key != "optional"}
        root = {**lock["packages"][""], "dependencies": manifest["dependencies"]}
        lock["packages"] = {"": root, entry: only}
    pinned = json.dumps(lock, indent=2).encode()
    # Named by what is in it, so that another lock file is another installation.
    folder = f"{name}-{version}-{hashlib.sha256(pinned).hexdigest()[:8]}"

    def install(place: Path) -> None:
        npm = _tool("npm", variable)
        say(f"installing {package} {version} from the npm registry into {programs_folder() / folder}")
        (place / "package.json").write_bytes(json.dumps(manifest, indent=2).encode())
        (place / "package-lock.json").write_bytes(pinned)
        _run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], place, f"npm ci of {package}", _NPM_TIMEOUT_S)

    return _installed(folder, install)


def _install_bitcoind(say: Say, place: Path) -> None:
    say(f"installing bitcoind from the Debian package mirror into {programs_folder() / 'bitcoind'}")
    _run(["bash", str(_HERE / "bitcoind.sh"), str(place)], place, "unpacking Debian's bitcoind", _APT_TIMEOUT_S)


def _installed(name: str, install: Callable[[Path], None]) -> Path:
    """Return the folder of an installation, made now where there is none; safe with other processes doing the same."""
    from filelock import FileLock

    target = programs_folder() / name
    if target.is_dir():
        return target
    make_folder(target.parent)
    try:
        with FileLock(target.parent / f".{name}.lock"):
            if not target.is_dir():  # otherwise another process made it while we waited
                _install_into(target, install)
    except OSError as error:
        raise storage_error("install into", target, error) from error
    return target


def _install_into(target: Path, install: Callable[[Path], None]) -> None:
    """Install into a folder beside the target and rename that: an interrupted installation is never taken for one."""
    for left in target.parent.glob(f".{target.name}.tmp-*"):  # of one that was killed; we hold the lock
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.tmp-", dir=target.parent) as work:
        place = Path(work, "new")
        place.mkdir()
        install(place)
        place.rename(target)


def _run(command: list[str], folder: Path, what: str, timeout_s: float) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - the package managers of this machine
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise BackendUnavailableError(
            f"{what} took more than {timeout_s:.0f} s", hint="is the registry reachable?", retryable=True
        ) from None
    except OSError as error:
        raise storage_error("run", command[0], error) from error
    if done.returncode == _NOT_A_MACHINE_FOR_IT and command[0] == "bash":
        raise ConfigurationError(
            f"bitcoind cannot be installed here: {_last(done.stderr)}",
            hint="install Bitcoin Core, and put bitcoind on PATH or name it with MRV_BITCOIND",
        )
    if done.returncode:
        raise BackendUnavailableError(
            f"{what} failed with status {done.returncode}: {_last(done.stderr)}",
            hint="is the registry reachable? run 'python -m mrv_devnet.programs' again",
            retryable=True,
        )


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " / ".join(lines[-_LAST_LINES:])[:500] or "it said nothing"


def main(names: Sequence[str]) -> int:
    """Find or install the named programs, or all, print the command of each, and return the exit status."""
    for name in names or ALL:
        try:
            if name not in ALL:
                raise ConfigurationError(f"no program is called {name}", hint=f"choose from {', '.join(ALL)}")
            found = ALL[name](say_on_stderr)
        except MrvError as error:
            say_on_stderr(f"error: {error.message}")
            if error.hint:
                say_on_stderr(f"hint: {error.hint}")
            return 1
        command = shlex.join(found.command)
        print(command if names else f"{name}: {command} ({found.kind})")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
