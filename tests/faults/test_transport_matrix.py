# SPDX-License-Identifier: MIT
"""Every method of every driver on a real node, each of its calls met by each fault in turn.

An honest pass records the calls that a method makes. Then, for each call and fault, a fresh driver makes the same
calls again and the fault meets exactly that one. Whatever happens, the method returns what is true or raises "could
not check", before its deadline, shows no secret, and works again on the same driver once the fault is over.

`MRV_FAULTS=all` runs every combination; otherwise a part is drawn for each method. The seed is in the message of a
failure and can be given in `MRV_FAULTS_SEED`.
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fault_modes import FOR_A_GREETING, JSON_RPC_MODES, MODES, NEVER_ENDING
from faults.targets import METADATA, NETWORKS, PATH_KEY, SECRETS, Target, commitment_of, driver_at, secret_url
from faulty import FaultServer, honest, on_call
from watchdog import outcome_of

from mrv_core.deadline import deadline, seconds_left
from mrv_core.errors import BackendError, MrvError, VerificationError
from mrv_core.hashing import Digest
from mrv_core.models import DriverStatus, Prepared, Receipt, VerifiedAnchor

EVERYTHING = os.environ.get("MRV_FAULTS") == "all"
SEED = int(os.environ.get("MRV_FAULTS_SEED") or random.SystemRandom().randrange(2**32))
DRAWN = 20
"""Cases of one method where not everything is run."""
SHORT_S, LONG_S = 0.5, 60.0
_ATTEMPTS = 6


@dataclass(frozen=True)
class Method:
    """One method of the drivers.

    Attributes:
        made_of: Makes what it is called with, through a driver that meets no fault.
        call: Calls it.
        is_true: Whether what it returned is what it has to be.
        anew: Whether every case needs something else to be called with.
        needs: The capability without which a driver does not have it.
    """

    made_of: Callable[[Any, Target, str], Any]
    call: Callable[[Any, Any], Any]
    is_true: Callable[[Any, Any], bool]
    anew: bool = False
    needs: str | None = None


def a_commitment(_: Any, target: Target, label: str) -> Any:
    return commitment_of(f"{target.name} {label}")


def a_prepared(direct: Any, target: Target, label: str) -> Prepared:
    prepared: Prepared = direct.prepare(a_commitment(direct, target, label), METADATA)
    return prepared


def a_receipt(direct: Any, target: Target, label: str) -> Receipt:
    receipt = direct.submit(a_prepared(direct, target, label))
    target.settle()
    final: Receipt = direct.upgrade(receipt)
    return final


def is_about(result: Any, made: Any) -> bool:
    """Tell whether a result is about the same anchor as what the method was called with."""
    same = result.commitment == getattr(made, "commitment", made)
    return same and result.reference == getattr(made, "reference", result.reference)


METHODS = {
    "prepare": Method(
        a_commitment,
        lambda driver, commitment: driver.prepare(commitment, METADATA),
        lambda result, commitment: isinstance(result, Prepared) and is_about(result, commitment),
    ),
    "lookup": Method(
        a_receipt,
        lambda driver, receipt: driver.lookup(receipt.reference),
        lambda result, receipt: isinstance(result, Receipt) and is_about(result, receipt),
    ),
    "upgrade": Method(
        a_receipt,
        lambda driver, receipt: driver.upgrade(receipt),
        lambda result, receipt: isinstance(result, Receipt) and is_about(result, receipt),
    ),
    "verify": Method(
        a_receipt,
        lambda driver, receipt: driver.verify(receipt, receipt.commitment),
        lambda result, receipt: isinstance(result, VerifiedAnchor) and is_about(result, receipt),
    ),
    "find": Method(
        a_receipt,
        lambda driver, receipt: driver.find(receipt.commitment, METADATA),
        lambda result, receipt: isinstance(result, Receipt) and is_about(result, receipt),
        needs="searches",
    ),
    "replace": Method(
        a_prepared,
        lambda driver, prepared: driver.replace(prepared, None),
        lambda result, prepared: result is None or result.commitment == prepared.commitment,
        needs="replaces",
    ),
    "status": Method(
        a_commitment,
        lambda driver, _: driver.status(),
        lambda result, _: isinstance(result, DriverStatus),
    ),
    "submit": Method(
        a_prepared,
        lambda driver, prepared: driver.submit(prepared),
        lambda result, prepared: isinstance(result, Receipt) and is_about(result, prepared),
        anew=True,
    ),
}


class Scene:
    """One method of one network, called again and again."""

    def __init__(self, label: str, target: Target, method: Method, folder: Path, direct: Any) -> None:
        self._label = label
        self.target = target
        self.method = method
        self.problems: list[str] = []
        self.latest_s = 0.0
        self._folder = folder
        self._number = 0
        self._direct = direct
        self._made: Any = None
        self._sent: list[tuple[Digest, str]] = []
        self.calls = self._honest_pass()

    def _honest_pass(self) -> list[str]:
        with (
            FaultServer(self.target.answer) as server,
            driver_at(self.target, secret_url(server), self._folder) as driver,
        ):
            made = self._material()
            result = self.method.call(driver, made)
            assert self.method.is_true(result, made)
            return [call.replace(f"/{PATH_KEY}", "") for call in server.calls()]

    def run(self, index: int, mode: str) -> None:
        """Let one fault meet one call, and note whatever is not as it should be.

        A busy machine may pass the deadline before the call is made: then there was nothing for the fault to meet, and
        all of it is done again with more time.
        """
        for attempt in range(_ATTEMPTS):
            if self._run(index, mode, SHORT_S * 3**attempt if mode in NEVER_ENDING else LONG_S):
                return
        self.problems.append(f"{mode} at call {index}, {self.calls[index]}: never made")

    def count(self) -> None:
        """Note whatever was sent and is not on the network exactly once."""
        contents = self.target.contents() if self._sent else []
        for commitment, case in self._sent:
            if (count := sum(commitment.hex in content for content in contents)) != 1:
                self.problems.append(f"{case}: anchored {count} times")

    def _run(self, index: int, mode: str, seconds: float) -> bool:
        made = self._material()
        with (
            FaultServer(self.target.answer, on_call(index, mode)) as server,
            driver_at(self.target, secret_url(server), self._folder) as driver,
        ):
            with deadline(seconds):
                outcome = outcome_of(lambda: self.method.call(driver, made))
                self.latest_s = max(self.latest_s, -seconds_left())
            if not server.fired:
                return False
            server.plan = honest
            server.drop_connections()
            server.wait_until_all_are_closed()
            again = outcome_of(lambda: self.method.call(driver, made))
            problems = [
                *([] if server.fired == {mode: 1} else [f"fired {dict(server.fired)}"]),
                *self._judge(outcome, made, self.calls[index], mode),
                *([] if self._is_true(again, made) else [f"afterwards {again!r}"]),
            ]
        if self.method.anew:
            self._sent.append((made.commitment, f"{mode} at call {index}"))
            self.target.settle()
        self.problems += [f"{mode} at call {index}, {self.calls[index]}: {problem}" for problem in problems]
        return True

    def _material(self) -> Any:
        if self._made is None or self.method.anew:
            self._number += 1
            self._made = self.method.made_of(self._direct, self.target, f"{self._label} {id(self)} {self._number}")
        return self._made

    def _is_true(self, outcome: Any, made: Any) -> bool:
        return not isinstance(outcome, BaseException) and self.method.is_true(outcome, made)

    def _judge(self, outcome: Any, made: Any, call: str, mode: str) -> Iterator[str]:
        yield from (f"shows {secret!r}: {item!r}" for item in shown_by(outcome) for secret in leaks(item))
        if isinstance(outcome, BaseException):
            if not isinstance(outcome, BackendError) and not is_other_content(outcome, call, mode):
                yield f"raised {outcome!r}, caused by {outcome.__cause__!r}"
            elif isinstance(outcome, MrvError) and not (outcome.hint and str(outcome).isprintable()):
                yield f"no hint, or more than a line: {outcome!r}"
        elif not self.method.is_true(outcome, made):
            yield f"returned {outcome!r}"


def is_other_content(error: BaseException, call: str, mode: str) -> bool:
    """Tell whether an error says that a node delivered other bytes than a CID's, and it did."""
    return isinstance(error, VerificationError) and call == "POST /api/v0/block/get"


def shown_by(outcome: Any) -> Iterator[Any]:
    """Yield whatever a report of an outcome may show."""
    yield outcome
    error = outcome if isinstance(outcome, BaseException) else None
    while error is not None:
        yield from (error, error.args, vars(error) if isinstance(error, MrvError) else None)
        error = error.__cause__ or error.__context__


def leaks(thing: object) -> list[str]:
    text = f"{thing} {thing!r}".lower()
    return [secret for secret in SECRETS if secret.lower() in text]


def has(driver: Any, method: Method) -> bool:
    return method.needs is None or bool(getattr(driver.capabilities, method.needs))


def cases_of(target: Target, calls: list[str], source: random.Random) -> list[tuple[int, str]]:
    """Return which fault meets which call: each fault once at most, one of those that never end; or all of them."""
    modes = [mode for mode in MODES if mode not in FOR_A_GREETING]
    modes = [mode for mode in modes if target.is_json_rpc or mode not in JSON_RPC_MODES]
    # A call that is made again and again is met where it is made first and last.
    last = {call: index for index, call in enumerate(calls)}
    indices = sorted({*last.values(), *map(calls.index, last)})
    if EVERYTHING or not calls:
        return [(index, mode) for index in indices for mode in modes]
    dealt = [source.choice(NEVER_ENDING), *source.sample(sorted({*modes} - {*NEVER_ENDING}), DRAWN)]
    start = source.randrange(len(indices))
    return [(indices[(start + number) % len(indices)], mode) for number, mode in enumerate(dealt)]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("network", NETWORKS)
def test_every_fault_at_every_call(
    request: pytest.FixtureRequest, tmp_path: Path, caplog: pytest.LogCaptureFixture, network: str, method: str
) -> None:
    caplog.set_level(logging.DEBUG)
    target: Target = request.getfixturevalue(f"{network}_target")
    with driver_at(target, target.direct_url, tmp_path) as direct:
        if not has(direct, METHODS[method]):
            return
        scene = Scene(network, target, METHODS[method], tmp_path, direct)
        assert scene.calls or (network, method) == ("ipfs", "prepare")  # which needs nobody
        cases = cases_of(target, scene.calls, random.Random(f"{SEED} {network} {method}"))  # noqa: S311
        for index, mode in cases:
            scene.run(index, mode)
        scene.count()
    print(f"{network} {method}: {len(cases)} cases, {scene.latest_s:.2f} s after the deadline at most, {scene.calls}")
    assert not scene.problems, f"MRV_FAULTS_SEED={SEED}\n" + "\n".join(scene.problems)
    assert leaks(caplog.text) == []
