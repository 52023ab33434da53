# SPDX-License-Identifier: MIT
"""Every error a caller can meet, in one tree.

    MrvError
    ├─ ConfigurationError         settings, unknown driver, missing extra
    ├─ FormatError                malformed record, digest text or content (also ValueError)
    │   └─ UnsupportedTypeError   no digester knows this type (also TypeError)
    ├─ RunStateError              the run does not allow this step now
    ├─ StorageError               a file or folder of ours cannot be read or written
    ├─ ContentChangedError        content changed while it was read
    ├─ BackendError               could not check, could not send; `retryable`, `retry_after_s`
    │   ├─ BackendUnavailableError
    │   └─ SubmissionRejectedError
    ├─ AnchorNotFoundError        asked, and the network does not have it
    ├─ AnchorConflictError        something else took the anchor's place for good
    └─ VerificationError          checked, and wrong; malformed evidence included
        └─ RootMismatchError      `expected`, `computed`

"Wrong" (VerificationError), "could not check" (BackendError), "not there" (AnchorNotFoundError) and "not yet"
(a receipt's state PENDING) are four different outcomes; nothing converts one into another.
"""

from __future__ import annotations


class MrvError(Exception):
    """Base of every error this project raises on purpose.

    Args:
        message: One line: what is wrong, and where.
        hint: One line: what to do next. Shown on a line of its own by the command line.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigurationError(MrvError):
    """Settings are missing, misspelt or contradict each other; a driver or an extra is not there."""


class FormatError(MrvError, ValueError):
    """Text, JSON or content that does not have the form it must have."""


class UnsupportedTypeError(FormatError, TypeError):
    """No digester is registered for the type of this object."""


class RunStateError(MrvError):
    """The run does not allow this step now: data after an anchor, an epoch twice, a sealed run."""


class StorageError(MrvError):
    """A file or folder of ours cannot be read or written: missing, no permission, no space."""


class ContentChangedError(MrvError):
    """Content changed while it was being read, so no digest of it would mean anything."""


class BackendError(MrvError):
    """A network could not be asked or did not take what we sent. Says nothing about the commitment.

    Args:
        message: One line, with the network's masked name and never a URL with credentials.
        hint: What to do next.
        retryable: Whether the same call may succeed later without anything being changed.
        retry_after_s: Seconds the backend asked us to wait, if it did.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        retryable: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.retryable = retryable
        self.retry_after_s = retry_after_s


class BackendUnavailableError(BackendError):
    """The network cannot be reached or is not usable now."""


class SubmissionRejectedError(BackendError):
    """The network looked at what we sent and refused it."""


class AnchorNotFoundError(MrvError):
    """The network was asked, answered, and does not have this anchor."""


class AnchorConflictError(MrvError):
    """Something else took the place of what was prepared, for good: its nonce was used, its inputs were spent.

    The prepared bytes can never be included any more, so preparing anew cannot make two anchors of one.
    """


class VerificationError(MrvError):
    """Something was checked and is wrong. Malformed evidence is wrong evidence."""


class RootMismatchError(VerificationError):
    """A recomputed hash differs from the one it had to equal.

    Args:
        message: One line naming what was compared.
        expected: The committed value, hexadecimal or digest text.
        computed: The value recomputed now.
        hint: What to do next.
    """

    def __init__(self, message: str, *, expected: str, computed: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.expected = expected
        self.computed = computed
