# SPDX-License-Identifier: MIT
"""How long a network is waited for: one deadline an anchor, retries within it, one thread a network."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import tenacity

from mrv_core.deadline import deadline
from mrv_core.driver import NetworkSettings
from mrv_core.errors import BackendError, BackendUnavailableError, MrvError

_logger = logging.getLogger(__name__)
_T = TypeVar("_T")

GRACE_S: Final = 0.5
"""Seconds a worker gets beyond its deadline to report its own error instead of being cut off."""
_FIRST_DELAY_S: Final = 0.2
_LONGEST_DELAY_S: Final = 10.0


class Patience:
    """Calls one network under its `timeout` and `retry_attempts`. Belongs to one thread at a time.

    Once a call has used up its attempts, the calls after it get one attempt each and share what is left of the
    timeout, until one succeeds: a network that is down does not make every row of a journal wait anew.

    Args:
        network: Configured name.
        settings: The network's settings.
        sleep: Called between attempts with seconds.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        network: str,
        settings: NetworkSettings,
        sleep: Callable[[float], None],
        clock: Callable[[], float],
    ) -> None:
        self.network = network
        self._settings = settings
        self._sleep = sleep
        self._clock = clock
        self._in_vain = False
        self.restart()

    def restart(self) -> None:
        """Begin the next anchor or verification with the whole timeout, unless the network is down."""
        if not self._in_vain:
            self._ends = self._clock() + self._settings.timeout

    @property
    def left_s(self) -> float:
        """Seconds until the deadline; negative after it."""
        return self._ends - self._clock()

    def expired(self) -> BackendUnavailableError:
        """Build the error for a deadline that passed."""
        return BackendUnavailableError(
            f"{self.network}: no answer within {self._settings.timeout:g} s",
            hint="what was queued is kept; run 'mrv flush' later, or raise 'timeout' of this network",
            retryable=True,
        )

    def call(self, function: Callable[[], _T]) -> _T:
        """Call, and call again after a retryable error: exponential delays with jitter, never beyond the deadline.

        Raises:
            BackendUnavailableError: the deadline has passed; nothing was called.
            MrvError: the last attempt's.
        """
        if self.left_s <= 0:
            raise self.expired()
        retrying = tenacity.Retrying(
            stop=self._is_over,
            wait=_delay,
            retry=tenacity.retry_if_exception(_is_retryable),
            before_sleep=self._log,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            with deadline(self.left_s):
                result = retrying(function)
        except MrvError as error:
            self._in_vain = self._in_vain or _is_retryable(error)
            raise
        self._in_vain = False
        return result

    def _is_over(self, state: tenacity.RetryCallState) -> bool:
        attempts = 1 if self._in_vain else self._settings.retry_attempts
        return state.attempt_number >= attempts or state.upcoming_sleep >= self.left_s

    def _log(self, state: tenacity.RetryCallState) -> None:
        _logger.warning("%s: %s; next attempt in %.1f s", self.network, _error_of(state), state.upcoming_sleep)


def _error_of(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None


def _is_retryable(error: BaseException) -> bool:
    return isinstance(error, BackendError) and error.retryable


_backoff = tenacity.wait_exponential(_FIRST_DELAY_S, _LONGEST_DELAY_S) + tenacity.wait_random(0, _FIRST_DELAY_S)


def _delay(state: tenacity.RetryCallState) -> float:
    """Return the next delay, or longer where the network asked for more time."""
    error = _error_of(state)
    asked = error.retry_after_s if isinstance(error, BackendError) else None
    return max(asked or 0.0, _backoff(state))


class Worker(threading.Thread, Generic[_T]):
    """A task for one network. A daemon: a network that hangs does not keep the interpreter from ending.

    Args:
        task: What to do; its result, or the `MrvError` it raises, is the worker's result.
        patience: The task's patience, which says how long the worker is waited for.
    """

    def __init__(self, task: Callable[[], _T], patience: Patience) -> None:
        super().__init__(name=f"mrv-{patience.network}", daemon=True)
        self._task = task
        self._patience = patience
        self._result: _T | MrvError = patience.expired()
        self._defect: BaseException | None = None
        self._given_up = False

    def start(self) -> None:
        """Start, or have an error as result where the system allows no further thread."""
        try:
            super().start()
        except RuntimeError as error:
            self._result = BackendUnavailableError(
                f"{self._patience.network}: {error}",
                hint="raise the limit of threads; what was queued is kept",
                retryable=True,
            )

    def run(self) -> None:
        """Do the task."""
        try:
            self._result = self._task()
        except MrvError as error:
            self._result = error
        except BaseException as error:  # not one of ours, so a defect
            self._defect = error
            if self._given_up:
                _logger.exception("%s: after its deadline", self._patience.network)

    def result(self) -> _T | MrvError:
        """Wait until the task has ended or its deadline has passed, and return what became of it.

        Raises:
            BaseException: what the task raised that is not one of our errors.
        """
        while self.is_alive() and (left := self._patience.left_s + GRACE_S) > 0:
            self.join(left)
        if self.is_alive():
            self._given_up = True
            return self._patience.expired()
        if self._defect is not None:
            raise self._defect
        return self._result
