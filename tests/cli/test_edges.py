# SPDX-License-Identifier: MIT
"""The edge: errors in two lines, JSON whatever happens, nothing heavy loaded, no traceback."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from programs import MRV
from typer.testing import CliRunner

import mrv_core.errors
from mrv_cli.exit_codes import OF_VERDICT, ExitCode, exit_code_of
from mrv_cli.main import app
from mrv_cli.output import guarded
from mrv_core.errors import MrvError
from mrv_core.models import Verdict

from .conftest import Mrv

COMMANDS = (
    "verify",
    "report",
    "anchor",
    "status",
    "flush",
    "batch",
    "fsck",
    "prove",
    "export",
    "import",
    "mrv-batch",
    "mrv-job",
    "mrv-recover",
    "publish",
    "fetch",
    "serve",
    "submit",
    "audit",
    "watch",
    "worker",
    "token create",
    "token list",
    "token revoke",
    "networks",
    "config check",
    "config schema",
    "contract deploy",
    "devnet up",
    "devnet down",
    "devnet status",
    "devnet reset",
)


def _process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from mrv_cli.main import main; main()", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def _modules_after(*arguments: str) -> set[str]:
    code = (
        "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        "from mrv_cli.main import main; main()"
    )
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    return {name.partition(".")[0] for name in result.stderr.split()}


def test_every_verdict_and_every_error_has_its_status() -> None:
    assert set(OF_VERDICT) == set(Verdict)
    assert len(set(OF_VERDICT.values())) == 5
    kinds = [kind for kind in vars(mrv_core.errors).values() if isinstance(kind, type) and issubclass(kind, MrvError)]
    codes = {kind.__name__: exit_code_of(kind.__new__(kind)) for kind in kinds if kind is not MrvError}
    assert codes == {
        "AnchorConflictError": 4,
        "AnchorNotFoundError": 5,
        "BackendError": 4,
        "BackendUnavailableError": 4,
        "ConfigurationError": 2,
        "ContentChangedError": 4,
        "FormatError": 2,
        "RootMismatchError": 1,
        "RunStateError": 2,
        "StorageError": 4,
        "SubmissionRejectedError": 4,
        "UnsupportedTypeError": 2,
        "VerificationError": 1,
    }
    assert exit_code_of(ValueError()) is ExitCode.COULD_NOT_CHECK


@pytest.mark.parametrize(
    "arguments",
    [
        ("verify", "artifacts/none"),
        ("report", "artifacts/none"),
        ("status", "artifacts/none"),
        ("status", "--base-dir", "none"),
        ("flush", "--base-dir", "none"),
        ("prove", "artifacts/none", "data"),
        ("prove", "--check", "none.json", "--root", "sha256:" + "00" * 32),
        ("anchor", "none"),
        ("verify", "configs/blockchain_config.json"),
        ("networks", "--config", "none.json"),
        ("config", "check", "none.json"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_path_that_is_not_there_is_usage(mrv: Mrv, arguments: tuple[str, ...], as_json: bool) -> None:
    outcome = mrv(*arguments, *(["--json"] if as_json else []), expect=2)
    error, hint = outcome.err.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")
    if as_json:
        told = outcome.json["error"]
        assert (f"error: {told['message']}", f"hint: {told['hint']}") == (error, hint)
        assert told["type"] == "ConfigurationError"
    else:
        assert outcome.out == ""


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("dataset", "training=dataset"), "data/training is given twice"),
        (("trianing=dataset",), "there is no file or folder trianing=dataset"),
    ],
)
def test_data_is_named_once_and_right(mrv: Mrv, run_folder: Path, values: tuple[str, ...], message: str) -> None:
    options = [part for value in values for part in ("--data", value)]
    assert message in mrv("verify", run_folder, *options, expect=2).err


def test_a_half_written_run_could_not_be_checked(mrv: Mrv) -> None:
    Path("artifacts/half").mkdir(parents=True)
    assert "run.json is missing" in mrv("verify", "artifacts/half", expect=4).err


def test_hostile_names_reach_the_terminal_as_text(mrv: Mrv) -> None:
    outcome = mrv("verify", "artifacts/\x1b[31m\u202ex", expect=2)
    assert r"artifacts/\x1b[31m\u202ex" in outcome.err
    assert "\x1b" not in outcome.err
    assert "\\u001b[31m\\u202e" in mrv("verify", "artifacts/\x1b[31m\u202ex", "--json", expect=2).out


def _run_guarded(error: BaseException, *, as_json: bool = False) -> tuple[int, str, str]:
    one = typer.Typer()

    @one.command()
    @guarded
    def command(as_json: bool = False) -> None:
        raise error

    result = CliRunner().invoke(one, ["--as-json"] if as_json else [])
    return result.exit_code, result.stdout, result.stderr


def test_ctrl_c_is_one_line() -> None:
    assert _run_guarded(KeyboardInterrupt()) == (130, "", "interrupted; whatever was queued is kept\n")


def test_a_defect_is_told_without_a_traceback() -> None:
    code, out, err = _run_guarded(ZeroDivisionError("division by zero"), as_json=True)
    assert code == ExitCode.COULD_NOT_CHECK
    assert json.loads(out)["error"]["type"] == "ZeroDivisionError"
    assert err == "error: ZeroDivisionError: division by zero\nhint: this is a defect; please report it\n"


def test_an_unknown_option_is_usage(mrv: Mrv) -> None:
    outcome = mrv("verify", "x", "--jsno", expect=2)
    assert outcome.out == ""
    assert "--jsno" in outcome.err


@pytest.mark.parametrize("words", [("config", "schema"), ("verify", "RUN"), ("verify", "RUN", "--json")])
def test_a_closed_pipe_is_silent_and_no_verdict(words: tuple[str, ...], run_folder: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run(
        [sys.executable, "-c", MRV, *(str(run_folder) if word == "RUN" else word for word in words)],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert (process.returncode, process.stderr) == (141, "")


def test_a_terminal_without_unicode_gets_escapes(run_folder: Path) -> None:
    result = _process("verify", str(run_folder), PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert result.returncode == 0, result.stderr
    assert "VALID" in result.stdout
    assert result.stdout.isascii()


def test_no_color_is_obeyed(run_folder: Path) -> None:
    colour = re.compile(r"\x1b\[[0-9;]*3[0-9]")
    assert colour.search(_process("verify", str(run_folder), FORCE_COLOR="1", NO_COLOR="").stdout)
    assert not colour.search(_process("verify", str(run_folder), FORCE_COLOR="1", NO_COLOR="1").stdout)


def test_the_version_is_printed() -> None:
    result = _process("--version")
    assert result.stdout.startswith("mrv 0.")
    assert result.returncode == 0


def test_completion_can_be_shown() -> None:
    result = _process("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "COMPLETE" in result.stdout


@pytest.mark.parametrize("arguments", [("--help",), ("verify", "--help"), ("config", "--help")])
def test_help_loads_nothing_but_typer(arguments: tuple[str, ...]) -> None:
    heavy = {"rich", "jinja2", "pluggy", "sqlite3", "blake3", "web3", "torch", "numpy", "codecarbon"}
    loaded = _modules_after(*arguments)
    assert not loaded & heavy
    assert arguments != ("--help",) or "pydantic" not in loaded  # typer itself loads it to read a command's arguments


def test_verifying_a_local_run_loads_no_driver_that_was_not_asked(mrv: Mrv) -> None:
    Path("configs/blockchain_config.json").write_text(
        json.dumps({"blockchain": {"networks": ["ipfs", "log"], "ipfs": {"url": "embedded"}, "log": {}}})
    )
    mrv("anchor", "dataset", "--name", "local")
    loaded = _modules_after("verify", "artifacts/local")
    assert "mrv_backends_ipfs" in loaded
    assert not loaded & {"web3", "eth", "eth_tester", "eth_account", "torch", "numpy", "pandas", "codecarbon", "jinja2"}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_a_sentence_and_an_example(mrv: Mrv, command: str) -> None:
    text = mrv(*command.split(), "--help").out
    assert f"Usage: mrv {command}" in text
    assert f"\n    mrv {command}" in text
    assert text.split("\n\n")[1].startswith("  ")


def test_the_documentation_has_every_command_and_every_option() -> None:
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    root = typer.main.get_command(app)
    found = []
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        for full, leaf in [(f"{name} {sub}", item) for sub, item in getattr(command, "commands", {}).items()] or [
            (name, command)
        ]:
            found.append(full)
            section = page.partition(f"## mrv {full}\n")[2].partition("\n## ")[0]
            assert section, f"mrv {full} is not in docs/cli.md"
            assert f"$ mrv {full}" in section
            for parameter in leaf.params:
                for option in parameter.opts:
                    if option.startswith("-") and option not in ("--help", "-h"):
                        assert f"`{option}" in section, f"{option} of mrv {full}"
    assert sorted(found) == sorted(COMMANDS)
