# SPDX-License-Identifier: MIT
"""`mrv export --bundle` and `mrv verify BUNDLE` as commands, beside the verifier for Node.js."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mrv_cli.main import app
from mrv_core.models import ReceiptState
from mrv_core.run_folder import RunFolder

from .conftest import NODE_VERIFIER, Embedded, Theirs, Trust
from .mutations import sealed


class Command:
    """The command line in an empty folder, without any configuration of the machine."""

    def __call__(self, *words: str | Path, expect: int = 0) -> tuple[str, str]:
        result = CliRunner().invoke(app, [str(word) for word in words], prog_name="mrv")
        assert result.exit_code == expect, f"{result.stdout}\n{result.stderr}\n{result.exception!r}"
        assert "Traceback" not in result.stdout + result.stderr
        return result.stdout, result.stderr


@pytest.fixture
def mrv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.delenv("MRV_CONFIG", raising=False)
    return Command()


@pytest.fixture
def bundle(mrv: Command, embedded: Embedded) -> Path:
    """Return a bundle in the working folder, made by the command."""
    mrv("export", "--bundle", embedded.folders["run-1"], "--leaf", "data/training/a.csv", "-o", "a.mrv.json")
    return Path("a.mrv.json")


def test_export_writes_one_file_for_its_owner(mrv: Command, embedded: Embedded) -> None:
    out, err = mrv("export", "--bundle", embedded.folders["run-1"])
    assert (out, err) == ("", "wrote run-1.mrv.json; anyone checks it with: mrv verify run-1.mrv.json\n")
    assert Path("run-1.mrv.json").stat().st_mode & 0o777 == 0o600
    out, _ = mrv("export", "--bundle", embedded.folders["run-1"], "--anchor", "000-before_training", "--json")
    assert json.loads(out)["phase"] == "before_training"
    assert json.loads(out) == json.loads(Path("run-1.mrv.json").read_bytes())


def test_a_pending_receipt_is_exported_and_said_so(mrv: Command, embedded: Embedded) -> None:
    run = Path(shutil.copytree(embedded.folders["run-1"], "artifacts/run-1"))
    folder = RunFolder.open(run)
    anchor = folder.read_anchor("001-after_training")
    change = {"state": ReceiptState.PENDING, "evidence": {}, "block_time": None}
    pending = anchor.file.receipts["ethereum"].model_copy(
        update={**change, "network_id": "eip155:1", "embedded": False}
    )
    folder.write_anchor(replace(anchor, file=anchor.file.model_copy(update={"receipts": {"ethereum": pending}})))
    _, err = mrv("export", "--bundle", run, "-o", "pending.mrv.json")
    assert err.splitlines()[1] == "not included yet: ethereum; run 'mrv flush' and export again"
    out, _ = mrv("verify", "pending.mrv.json", "--offline", expect=3)
    assert out.startswith("⏳ PENDING  ethereum: ")


def test_export_says_what_is_wrong(mrv: Command, embedded: Embedded) -> None:
    for words, status, message in (
        ((), 2, "nothing to export"),
        (("--bundle", "none"), 2, "there is no run folder none"),
        (("--bundle", embedded.folders["run-1"], "--leaf", "no/leaf"), 2, "the run has no node 'no/leaf'"),
        (("--bundle", embedded.folders["run-1"], "-o", "no/folder.mrv.json"), 4, "cannot write no/folder.mrv.json"),
    ):
        _, err = mrv("export", *words, expect=status)
        error, hint = err.splitlines()
        assert error.startswith(f"error: {message}")
        assert hint.startswith("hint: ")


def test_beside_its_networks_a_bundle_is_valid_and_elsewhere_they_cannot_be_asked(
    mrv: Command, bundle: Path, embedded: Embedded
) -> None:
    out, _ = mrv("verify", bundle, "--base-dir", embedded.base_dir)
    assert out.startswith("✅ VALID  What the bundle shows is unchanged since it was anchored on ethereum, ipfs, log.")
    assert "embedded: kept in this folder only, so it proves nothing to others" in out
    out, _ = mrv("verify", bundle, expect=4)
    assert "could not be asked" in out
    assert not Path("artifacts").exists()


def test_offline_says_what_remains_and_options_settle_it(
    mrv: Command, bundle: Path, embedded: Embedded, all_trusted: Trust
) -> None:
    out, _ = mrv("verify", bundle, "--offline", expect=4)
    remains = [line.strip() for line in out.splitlines() if line.strip().startswith("remains: ")]
    assert len(remains) == 3
    assert embedded.log_key.split("+")[1] in next(line for line in remains if "log" in line)
    settled = ["--network", "log", "--network", "ethereum", *all_trusted.words()]
    out, _ = mrv("verify", bundle, "--offline", *settled)
    assert "the receipts of log, ethereum must be valid" in out
    assert "was given by the verifier" in out
    out, _ = mrv("verify", bundle, "--offline", "--json", *settled)
    report = json.loads(out)
    assert (report["format"], report["verdict"], report["offline"]) == ("mrv-bundle-report/1", "VALID", True)
    assert report["leaf"]["path"] == "data/training/a.csv"


def test_content_and_root_are_compared(mrv: Command, bundle: Path, embedded: Embedded, all_trusted: Trust) -> None:
    settled = ["--offline", "--network=log", f"--log-key={embedded.log_key}"]
    root = json.loads(bundle.read_bytes())["root"]
    mrv("verify", bundle, *settled, "--content", embedded.data / "a.csv", "--root", root)
    out, _ = mrv("verify", bundle, *settled, "--content", embedded.data / "b~c.csv", expect=1)
    assert "is not what was committed as data/training/a.csv" in out
    out, _ = mrv("verify", bundle, *settled, "--root", "sha256:" + "0" * 64, expect=1)
    assert "it is not the expected root" in out
    _, err = mrv("verify", bundle, *settled, "--content", embedded.data, expect=2)
    assert "cannot be compared with that" in err
    _, err = mrv("verify", bundle, *settled, "--content", "none", expect=2)
    assert "there is no file or folder none" in err
    mrv("export", "--bundle", embedded.folders["run-1"], "-o", "no-leaf.mrv.json")
    _, err = mrv("verify", "no-leaf.mrv.json", *settled, "--content", embedded.data, expect=2)
    assert "proves no leaf" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("a.mrv.json", "--data", "x"), "--data is for a run folder"),
        (("a.mrv.json", "--leaf", "x"), "--leaf is for a run folder"),
        (("a.mrv.json", "--html", "x"), "--html is for a run folder"),
        (("RUN", "--offline"), "--offline is for a bundle"),
        (("RUN", "--block", "0" * 64), "--block is for a bundle"),
        (("RUN", "--content", "x"), "--content is for a bundle"),
        (("RUN", "--base-dir", "x"), "--base-dir is for a bundle"),
        (("a.mrv.json", "--block", "0x12"), "'0x12' is no block hash"),
        (("a.mrv.json", "--block", f"a b:{'0' * 64}"), "is no block hash"),
        (("a.mrv.json", "--log-key", "key"), "'key' is no verifier key"),
        (("a.mrv.json", "--root", "1234"), "names no algorithm"),
        (("a.mrv.json", "--network", "none"), "the bundle has no receipt of 'none'"),
        (("none.mrv.json",), "there is no run folder, bundle or record none.mrv.json"),
    ],
)
def test_wrong_arguments_are_told_as_such(
    mrv: Command, bundle: Path, embedded: Embedded, words: tuple[str, ...], message: str
) -> None:
    given = [str(embedded.folders["run-1"]) if word == "RUN" else word for word in words]
    _, err = mrv("verify", *given, expect=2)
    assert message in err.splitlines()[0]


def test_a_changed_bundle_is_tampered_and_another_file_is_none(mrv: Command, bundle: Path) -> None:
    data = bundle.read_bytes()
    bundle.write_bytes(data.replace(b'"index":0', b'"index":1', 1))
    out, _ = mrv("verify", bundle, expect=1)
    assert "❌ TAMPERED  Parse the bundle within limits: a.mrv.json: changed after it was written" in out
    bundle.write_bytes(json.dumps(json.loads(data), indent=1).encode())
    out, _ = mrv("verify", bundle, expect=1)
    assert "not in canonical form" in out
    bundle.write_bytes(b'{"format":"mrv-bundle/9"}')
    _, err = mrv("verify", bundle, expect=2)
    assert err.splitlines()[0] == "error: a.mrv.json is not a bundle: its format is not mrv-bundle/1"


def test_hostile_text_in_a_bundle_reaches_no_terminal(
    mrv: Command, theirs: Theirs, bundle_values: dict[str, Any]
) -> None:
    receipt = bundle_values["leaf"]["receipts"]["log"]
    name = "\x1b[31m\u202e\u200bx"
    hostile = {**receipt, "network": name, "driver": name, "reference": name, "network_id": f"{name}\nVALID"}
    Path("hostile.mrv.json").write_bytes(sealed({**bundle_values["leaf"], "receipts": {name: hostile}}))
    out, err = mrv("verify", "hostile.mrv.json", "--offline", expect=4)
    done = theirs.run("hostile.mrv.json")
    assert done.returncode == 4
    for text in (out + err, done.stdout + done.stderr):
        assert not set("\x1b\u202e\u200b") & set(text)
        assert not any(line.startswith("VALID") for line in text.splitlines())


MODULES_OF_NODE = ("buffer", "crypto", "fs", "path", "process")


# --- the verifier for Node.js ------------------------------------------------------------------------------------


def test_node_verifies_by_the_file_alone(theirs: Theirs, bundle: Path, embedded: Embedded, tmp_path: Path) -> None:
    """One file is all that somebody needs; copied anywhere, it still runs."""
    alone = tmp_path / "alone" / "verify_bundle.mjs"
    alone.parent.mkdir()
    shutil.copy(NODE_VERIFIER, alone)
    imported = [line for line in alone.read_text().splitlines() if line.startswith("import ")]
    assert imported
    assert all(line.endswith(tuple(f'"node:{name}";' for name in MODULES_OF_NODE)) for line in imported)
    done = theirs.run("--network", "log", "--log-key", embedded.log_key, bundle)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"VALID  {bundle}: ")


def test_node_has_the_same_statuses(theirs: Theirs, bundle: Path, embedded: Embedded) -> None:
    broken = Path("broken.mrv.json")
    broken.write_bytes(b"{")
    key = f"--log-key={embedded.log_key}"
    for words, status in (
        ((bundle, "--network=log", key), 0),
        ((broken,), 1),
        ((), 2),
        (("none.mrv.json",), 2),
        ((bundle, "--nothing"), 2),
        ((bundle, "--root"), 2),
        ((bundle, "--root", "x"), 2),
        ((bundle, "--block", "x"), 2),
        ((bundle, "--min-work", "0"), 2),
        ((bundle, "--min-work", "257"), 2),
        ((bundle, "--network", "none"), 2),
        (("--help",), 0),
        ((bundle,), 4),
        ((".",), 4),
        ((bundle, broken), 1),
        ((bundle, "none.mrv.json"), 2),
        (("/proc/self/mem",), 4),  # it can be opened, and not be read
    ):
        done = theirs.run(*words)
        assert done.returncode == status, (words, done.stdout, done.stderr)
        assert "defect" not in done.stdout + done.stderr


def test_node_never_waits_for_a_pipe(theirs: Theirs, mrv: Command) -> None:
    os.mkfifo("pipe.mrv.json")
    assert theirs.run("pipe.mrv.json").returncode == 4
    mrv("verify", "pipe.mrv.json", "--offline", expect=4)
