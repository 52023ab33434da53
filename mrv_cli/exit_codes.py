# SPDX-License-Identifier: MIT
"""What the exit status of `mrv` means: one table for verdicts, one for errors."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Final

from mrv_core.errors import (
    AnchorConflictError,
    AnchorNotFoundError,
    BackendError,
    ConfigurationError,
    ContentChangedError,
    FormatError,
    MrvError,
    RunStateError,
    StorageError,
    VerificationError,
)
from mrv_core.models import Verdict


class ExitCode(IntEnum):
    """Exit status of every command; the numbers are part of the interface."""

    VALID = 0
    WRONG = 1
    USAGE = 2
    PENDING = 3
    COULD_NOT_CHECK = 4
    NOT_FOUND = 5


OF_VERDICT: Final = {
    Verdict.VALID: ExitCode.VALID,
    Verdict.TAMPERED: ExitCode.WRONG,
    Verdict.DISAGREE: ExitCode.WRONG,
    Verdict.PENDING: ExitCode.PENDING,
    Verdict.UNREACHABLE: ExitCode.COULD_NOT_CHECK,
    Verdict.NOT_FOUND: ExitCode.NOT_FOUND,
}

OF_ERROR: Final[Sequence[tuple[type[MrvError], ExitCode]]] = (
    (VerificationError, ExitCode.WRONG),
    (ConfigurationError, ExitCode.USAGE),
    (FormatError, ExitCode.USAGE),
    (RunStateError, ExitCode.USAGE),
    (BackendError, ExitCode.COULD_NOT_CHECK),
    (StorageError, ExitCode.COULD_NOT_CHECK),
    (ContentChangedError, ExitCode.COULD_NOT_CHECK),
    (AnchorConflictError, ExitCode.COULD_NOT_CHECK),
    (AnchorNotFoundError, ExitCode.NOT_FOUND),
)


def exit_code_of(error: BaseException) -> ExitCode:
    """Return the exit status for an error; a defect of this program could not check anything."""
    return next((code for kind, code in OF_ERROR if isinstance(error, kind)), ExitCode.COULD_NOT_CHECK)
