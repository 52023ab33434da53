# SPDX-License-Identifier: MIT
"""Keys, passwords and tokens are shown nowhere; what is written belongs to its owner, and to no planted link."""

from __future__ import annotations

import base64
import json
import logging
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from programs import Outcome, Programs, configure, programs

from mrv_core.config import load_config
from mrv_core.errors import MrvError, RunStateError
from mrv_core.manager import BlockchainManager
from mrv_core.tracker import ProvenanceTracker

KEY = "5e47c0ffee0b57ac1e5a11ed0ddba11cafef00dfacade0ff1ce0decade0b0e55"
OTHER_KEY = "5e47ba5eba11dec0de5ca1ab1e0b501e7eacced05eed0a11ce5affec70dead15"
PASSWORD = "5e47-pass-word"
TOKEN = "5e47apitoken6f1d"
NODE = f"https://someone:{PASSWORD}@127.0.0.1:9/v3/{TOKEN}"
SECRETS = (
    *(form for key in (KEY, OTHER_KEY) for form in (key[:12], key[-12:], str(int(key, 16)))),
    *(base64.b64encode(bytes.fromhex(key)).decode()[:16] for key in (KEY, OTHER_KEY)),
    PASSWORD,
    TOKEN,
)
"""Every form in which a secret could come out, and its beginning and end."""

EMBEDDED: dict[str, Any] = {"ethereum": {"private_key": f"0x{KEY}"}, "ipfs": {}, "log": {}}
RUN = """
import logging
import numpy as np
from mrv_core.tracker import ProvenanceTracker
logging.basicConfig(level=logging.DEBUG)
with ProvenanceTracker(run_id="run-1") as run:
    run.track_data(np.arange(6.0))
    run.track_model({"w": np.zeros(2)})
    run.track_epoch(1, {"w": np.ones(2)}, {"loss": 1.0})
run.save_blockchain_report()
print(run, vars(run), run.config, run.get_blockchain_status(), run.verify_blockchain_provenance())
"""
COMMANDS = (
    ("config", "check"),
    ("config", "schema"),
    ("networks",),
    ("anchor", "content", "--name", "new"),
    ("verify", "artifacts/run-1"),
    ("report", "artifacts/run-1"),
    ("status",),
    ("status", "artifacts/run-1"),
    ("flush",),
    ("prove", "artifacts/run-1", "training/config"),
)


def leaks(text: str | bytes) -> list[str]:
    """Return the secrets that are in a text."""
    text = text if isinstance(text, bytes) else text.encode(errors="surrogateescape")
    return [secret for secret in SECRETS if secret.lower().encode() in text.lower()]


def leaking_files(folder: Path) -> dict[str, list[str]]:
    """Return the files below a folder that have a secret in them or in their names."""
    found = {str(path): leaks(str(path)) + leaks(path.read_bytes()) for path in folder.rglob("*") if path.is_file()}
    return {name: secrets for name, secrets in found.items() if secrets}


@pytest.fixture(scope="module")
def server() -> Iterator[Programs]:
    with programs(preload=["mrv_backends_eth.evm"]) as server:
        yield server


@pytest.fixture(scope="module")
def example(server: Programs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run that was made with a key in its configuration and another in the environment."""
    folder = tmp_path_factory.mktemp("example")
    configure(folder, debug=True, **EMBEDDED)
    (folder / "content").write_text("1,2\n")
    made = server.run(RUN, cwd=folder, environment={"PRIVATE_KEY": OTHER_KEY})
    assert made.code == 0, made.err
    assert "DEBUG" in made.err
    assert leaks(made.out + made.err) == []
    return folder


@pytest.fixture
def work(example: Path, tmp_path: Path) -> Path:
    """Return a copy of the example that a test may change."""
    folder = tmp_path / "work"
    shutil.copytree(example, folder)
    return folder


def check_silent(work: Path, outcome: Outcome) -> None:
    """Check that a command showed no secret and left none in a file."""
    assert leaks(outcome.out + outcome.err) == []
    (work / "configs/blockchain_config.json").unlink(missing_ok=True)
    assert leaking_files(work) == {}


# --- shown nowhere -----------------------------------------------------------------------------------------------


def test_the_sentinels_would_be_found(example: Path) -> None:
    assert list(leaking_files(example)) == [str(example / "configs/blockchain_config.json")]
    assert leaks(f"key 0x{KEY.upper()}") == [KEY[:12], KEY[-12:]]
    assert leaks(NODE) == [PASSWORD, TOKEN]


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_shows_a_key(server: Programs, work: Path, command: tuple[str, ...], as_json: bool) -> None:
    options = ["--json"] if as_json and command not in (("config", "schema"), COMMANDS[-1]) else []
    outcome = server.mrv(*command, *options, cwd=work, environment={"ETH_PRIVATE_KEY": OTHER_KEY})
    assert outcome.code == 0, outcome.err
    check_silent(work, outcome)


def network(**changes: Any) -> dict[str, Any]:
    return {**EMBEDDED, "ethereum": {"private_key": KEY, **changes}}


FAILURES: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "a node that this version cannot reach": (network(rpc_url=NODE), {}),
    "the same from the environment": (network(), {"ETH_RPC_URL": NODE, "ETH_PRIVATE_KEY": OTHER_KEY}),
    "an address of another form": (network(rpc_url=NODE.replace("https", "ftp")), {}),
    "an address that is none": (network(rpc_url=f"https://[someone:{PASSWORD}@{TOKEN}]/"), {}),
    "an address that Unicode makes another": (network(rpc_url=f"https://x:{PASSWORD}@ex\u2100mple.org/{TOKEN}"), {}),
    "an address without a host": (network(rpc_url=f"https:///{PASSWORD}/{TOKEN}"), {}),
    "an address that is a list": (network(rpc_url=[NODE]), {}),
    "a key that is too short": (network(private_key=KEY[:-1]), {}),
    "a key that is no number": (network(private_key=KEY[:-2] + "zz"), {}),
    "a key beyond the curve's order": (network(private_key="f" * 40 + KEY[:24]), {}),
    "a number for a key": (network(private_key=int(KEY[:12], 16)), {}),
    "a key in a list": (network(private_key=[KEY]), {}),
    "a short key in the environment": (network(), {"ETH_PRIVATE_KEY": OTHER_KEY[:-1]}),
    "a placeholder beside the key": (network(contract_address="your_contract_address_here"), {}),
    "a placeholder in the address": (network(rpc_url=f"https://{PASSWORD}.example/<{TOKEN}>"), {}),
    "a misspelt key": (network(private_kye=KEY), {}),
    "a key for a network that takes none": ({**EMBEDDED, "ipfs": {"private_key": KEY}}, {}),
    "a key in a section that no driver has": ({**EMBEDDED, "mainnet": {"private_key": KEY}}, {}),
    "a contract on another chain": (network(contract_address="0x" + "12" * 20), {}),
    "another chain": (network(chain_id=1), {}),
    "not enough gas": (network(gas_limit=21_000), {}),
}


@pytest.mark.parametrize("case", FAILURES)
def test_no_failure_shows_a_secret(server: Programs, work: Path, case: str) -> None:
    networks, environment = FAILURES[case]
    codes = {}
    for command in (
        ("config", "check"),
        ("networks",),
        ("anchor", "content", "--name", "new"),
        ("verify", "artifacts/run-1"),
        ("flush", "--json"),
    ):
        configure(work, debug=True, **networks)
        outcome = server.mrv(*command, cwd=work, environment=environment)
        codes[command] = outcome.code
        assert "defect" not in outcome.err, outcome.err
        check_silent(work, outcome)
    assert codes["anchor", "content", "--name", "new"] != 0


@pytest.mark.parametrize(
    "training",
    [{"private_key": KEY}, {"eth": {"private_key": KEY}}, {"wallets": [{"ETH_PRIVATE_KEY": KEY}]}, {"mnemonic": KEY}],
    ids=["at the top", "in a section", "in a list", "as words"],
)
def test_a_key_among_the_trainings_parameters_is_refused_before_it_is_published(
    server: Programs, work: Path, training: dict[str, Any]
) -> None:
    path = work / "configs/blockchain_config.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **training}))
    outcome = server.mrv("config", "check", cwd=work)
    assert (outcome.code, "would be published" in outcome.err) == (2, True)
    check_silent(work, outcome)
    program = f"""
from mrv_core.tracker import ProvenanceTracker
with ProvenanceTracker(run_id="run-2") as run:
    run.store_merkle_on_blockchain_before_training({training!r})
"""
    outcome = server.run(program, cwd=work)
    assert "would be published" in outcome.err.splitlines()[-1]
    assert leaks(outcome.err) == []
    assert leaking_files(work) == {}


def parts(error: BaseException | None) -> Iterator[Any]:
    """Yield an exception, whatever it holds, the local variables of its frames, and the same of its causes."""
    while error is not None:
        yield from (error, error.args, vars(error))
        trace = error.__traceback__
        while trace is not None:
            yield from trace.tb_frame.f_locals.values()
            trace = trace.tb_next
        error = error.__cause__ or error.__context__


def test_objects_and_exceptions_do_not_show_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    section = {"private_key": KEY, "rpc_url": NODE}
    config = load_config({"blockchain": {"networks": ["ethereum"], "ethereum": section}}, environment={})
    del section
    run = ProvenanceTracker(tmp_path / "artifacts", config)
    run.track_data(b"content")
    shown = [run.anchor_snapshot(), run.get_blockchain_status(), run.verify_blockchain_provenance(), run, vars(run)]
    with BlockchainManager(config, base_dir=tmp_path / "artifacts") as manager:
        shown += [manager, vars(manager), manager.status(), manager.flush()]
        with pytest.raises(MrvError) as refused:
            manager.driver("ethereum").lookup(f"0x{'00' * 32}")
    run.close()
    shown += [config, config.networks, config.networks["ethereum"].settings, *parts(refused.value)]
    for item in shown:
        assert leaks(f"{item!r} {item}") == [], type(item)
    assert leaks(caplog.text + "".join(capsys.readouterr())) == []
    assert leaking_files(tmp_path) == {}


# --- belongs to its owner ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o077], ids=oct)
def test_whatever_the_umask_only_the_owner_reads_it(server: Programs, tmp_path: Path, umask: int) -> None:
    configure(tmp_path, storage_options={"store_epoch_checkpoints": True}, **EMBEDDED)
    (tmp_path / "content").write_text("1,2\n")
    assert server.run(RUN, cwd=tmp_path, umask=umask).code == 0
    for command in (
        ("anchor", "content", "--name", "new"),
        ("report", "artifacts/run-1", "--html", "artifacts/pages/page.html"),
        ("prove", "artifacts/run-1", "data", "-o", "artifacts/proof.json"),
        ("flush",),
    ):
        assert server.mrv(*command, cwd=tmp_path, umask=umask).code == 0
    made = [tmp_path / "artifacts", *(tmp_path / "artifacts").rglob("*")]
    assert len(made) > 40
    modes = {str(path.relative_to(tmp_path)): stat.S_IMODE(path.lstat().st_mode) for path in made}
    wanted = {str(path.relative_to(tmp_path)): 0o700 if path.is_dir() else 0o600 for path in made}
    assert modes == wanted


# --- and to no planted link --------------------------------------------------------------------------------------


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim"
    path.write_text("precious")
    path.chmod(0o644)
    return path


def untouched(victim: Path) -> bool:
    return victim.read_text() == "precious" and stat.S_IMODE(victim.lstat().st_mode) == 0o644


@pytest.mark.parametrize("name", ["report.json", "report.html"])
def test_a_report_replaces_a_planted_link(server: Programs, work: Path, victim: Path, name: str) -> None:
    path = work / "artifacts/run-1" / name
    path.unlink()
    path.symlink_to(victim)
    program = "from mrv_core.tracker import ProvenanceTracker\n"
    program += "ProvenanceTracker.open('artifacts/run-1').save_blockchain_report()"
    assert server.run(program, cwd=work).code == 0
    assert not path.is_symlink()
    assert untouched(victim)


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("out.html", ("report", "artifacts/run-1", "--html", "out.html")),
        ("out.html", ("verify", "artifacts/run-1", "--html", "out.html")),
        ("out.json", ("prove", "artifacts/run-1", "data", "--output", "out.json")),
    ],
    ids=["report", "verify", "prove"],
)
def test_an_output_replaces_a_planted_link(
    server: Programs, work: Path, victim: Path, target: str, command: tuple[str, ...]
) -> None:
    (work / target).symlink_to(victim)
    assert server.mrv(*command, cwd=work).code == 0
    assert not (work / target).is_symlink()
    assert untouched(victim)


@pytest.mark.parametrize("kind", ["folder", "run", "nothing"])
def test_a_run_is_not_begun_behind_a_planted_link(tmp_path: Path, work: Path, kind: str) -> None:
    target = {"run": work / "artifacts/run-1", "nothing": tmp_path / "nothing"}.get(kind, tmp_path / "victims")
    if kind == "folder":
        target.mkdir()
    before = sorted(target.rglob("*"))
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts/new").symlink_to(target)
    with pytest.raises(RunStateError, match="new exists already"):
        ProvenanceTracker(tmp_path / "artifacts", {"blockchain": {"networks": ["ipfs"]}}, run_id="new")
    assert sorted(target.rglob("*")) == before


PLANTED = (
    "journal.sqlite3",
    "journal.lock",
    "journal.ipfs.lock",
    "networks/ethereum/chain.sqlite3",
    "networks/ipfs/blocks",
    "networks/ipfs/cars",
    "networks/log/log.sqlite3",
    "networks/log/log.key",
    "networks/log/log.vkey",
    "networks/log.checkpoint",
    "networks/log.checkpoint.lock",
)


@pytest.mark.parametrize("name", PLANTED)
def test_nothing_is_written_through_a_planted_link(server: Programs, work: Path, victim: Path, name: str) -> None:
    shutil.rmtree(work / "artifacts")
    path = work / "artifacts" / name
    path.parent.mkdir(parents=True)
    if name in ("networks/ipfs/blocks", "networks/ipfs/cars"):
        victim.unlink()
        victim.mkdir()
    path.symlink_to(victim)
    outcome = server.mrv("anchor", "content", cwd=work)
    assert "Traceback" not in outcome.err
    assert "defect" not in outcome.err
    assert not any(victim.iterdir()) if victim.is_dir() else untouched(victim)
    if path.is_symlink():
        assert outcome.code in (3, 4), outcome
        path.unlink()
    assert server.mrv("flush", cwd=work).code == 0
    (run,) = (work / "artifacts").glob("run-*")
    assert server.mrv("verify", run, cwd=work).code == 0
