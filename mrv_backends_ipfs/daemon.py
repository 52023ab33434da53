# SPDX-License-Identifier: MIT
"""What is asked of an IPFS daemon: store, pin and deliver blocks. Its answers are checked, not believed."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Final, TypeVar

from mrv_backends_ipfs.address import rpc_url
from mrv_backends_ipfs.car import CarArchive, car_bytes
from mrv_backends_ipfs.cid import Cid
from mrv_backends_ipfs.evidence import check_block
from mrv_backends_ipfs.refusal import RefusedError
from mrv_backends_ipfs.settings import IpfsSettings
from mrv_core.deadline import deadline, seconds_left
from mrv_core.errors import (
    AnchorNotFoundError,
    BackendError,
    BackendUnavailableError,
    ConfigurationError,
    FormatError,
    MrvError,
    SubmissionRejectedError,
    VerificationError,
)
from mrv_core.transport import MAX_REPLY_BYTES, HttpTransport, TransportError

_T = TypeVar("_T")

_PUT_OPTIONS: Final = {"format": "raw", "cid-codec": "raw", "mhtype": "sha2-256", "version": "1"}
"""js-ipfs reads `format`, Kubo `cid-codec`; nothing is left to a default, which changes between versions."""
_LOOKING_SHARE: Final = 0.5
"""Part of the time left that the daemon may look for a block among its peers, before it is asked what it has."""
_MARGIN: Final = 1.25
"""How much longer than it was told to look the daemon is waited for."""


class Daemon:
    """An IPFS daemon, reached through its RPC API. Thread-safe.

    Args:
        settings: Address, credentials and timeout.
        max_bytes: Largest answer read.

    Attributes:
        name: Its masked name.
    """

    def __init__(self, settings: IpfsSettings, *, max_bytes: int = MAX_REPLY_BYTES) -> None:
        token = None if settings.api_token is None else settings.api_token.get_secret_value()
        self._transport = HttpTransport(
            rpc_url(settings.url), token=token, timeout_s=settings.timeout, max_bytes=max_bytes
        )
        self.name = self._transport.name
        self._timeout_s = settings.timeout
        self._connected: Any = None
        self._lock = threading.Lock()

    def put(self, cid: Cid, block: bytes, *, pin: bool) -> None:
        """Store a raw block, pinned where `pin` says so. Storing it again changes nothing.

        Raises:
            SubmissionRejectedError: the daemon stored it under another CID.
            BackendError: it could not be stored or pinned; it may be there all the same.
        """
        options = {**_PUT_OPTIONS, "pin": str(pin).lower()}
        answer = self._ask("block/put", lambda client: client.block.put(io.BytesIO(block), opts=options))
        stored = self._cid_in(answer.get("Key"), "block/put")
        if stored != cid:
            raise SubmissionRejectedError(
                f"{self.name} stores the block as {stored}, not as {cid}",
                hint="use a daemon that stores raw blocks with CIDv1 and sha2-256, such as Kubo",
            )
        if pin:
            self._pin(cid)

    def get(self, cid: Cid) -> bytes:
        """Return a block after recomputing its CID. The daemon may look for it among its peers, within limits.

        Raises:
            VerificationError: the bytes have another CID.
            AnchorNotFoundError: the daemon lists what it has, and the block is not there; nor did it find it.
            BackendError: the daemon could not be asked, or did not deliver what it has.
        """
        look_s = _LOOKING_SHARE * min(self._timeout_s, max(0.0, seconds_left()))
        options = {"timeout": f"{max(1, round(look_s * 1000))}ms"}
        try:
            with deadline(look_s * _MARGIN):
                block: bytes = self._call("block/get", lambda client: client.block.get(str(cid), opts=options))
        except BackendError as error:
            self._explain_missing(cid, error, look_s)
        with _naming(self.name):
            check_block(cid, block)
        return block

    def has(self, cid: Cid) -> bool:
        """Tell whether the block is in the daemon's own store, from the list of everything that is there.

        Raises:
            BackendError: the daemon could not be asked, or gave no whole list.
        """
        count = self._count_in(self._ask("repo/stat", lambda client: client.repo.stat()).get("NumObjects"))
        answers = self._call("refs/local", lambda client: [item.as_json() for item in client.unstable.refs.local()])
        if any(not isinstance(answer.get("Ref"), str) or answer.get("Err") for answer in answers):
            raise self._odd("refs/local")
        # A store knows multihashes only, and lists them as raw or under another codec.
        if any(digest == cid.digest for digest in _digests(answer["Ref"] for answer in answers)):
            return True
        if len(answers) < count:  # a list that breaks off between two lines looks like a whole one
            raise BackendUnavailableError(
                f"{self.name} lists {len(answers)} blocks and counts {count}", hint="try again", retryable=True
            )
        return False

    def pins(self, cid: Cid) -> bool:
        """Tell whether the daemon says that it pins the block. An answer that it failed is no such word.

        Raises:
            BackendError: the daemon could not be asked.
        """
        try:
            answer = self._ask("pin/ls", lambda client: client.pin.ls(str(cid), type="recursive"))
        except RefusedError:  # how daemons say that it is not pinned
            return False
        keys = answer.get("Keys")
        if not isinstance(keys, dict):
            raise self._odd("pin/ls")
        return any(digest == cid.digest for digest in _digests(keys))

    def describe(self) -> str:
        """Return in a few words what the daemon calls itself.

        Raises:
            BackendError: the daemon could not be asked.
        """
        agent = self._ask("id", lambda client: client.id()).get("AgentVersion")
        if not isinstance(agent, str):
            raise self._odd("id")
        return f"{self._transport.mask(agent, 80)} at {self.name}"

    def import_tree(self, root: Cid, blocks: Mapping[Cid, bytes]) -> None:
        """Store many linked blocks, with one pin on their root, and read every one of them back.

        Raises:
            VerificationError: what comes back are other blocks.
            BackendError: they could not all be stored; some may be there all the same.
        """
        archive = car_bytes(blocks, [root])
        options = {"pin-roots": "true"}
        answer = self._ask("dag/import", lambda client: client.dag.imprt(io.BytesIO(archive), opts=options))
        pinned = answer.get("Root")
        if not isinstance(pinned, dict) or self._cid_in(_link(pinned.get("Cid")), "dag/import") != root:
            raise self._odd("dag/import")
        if pinned.get("PinErrorMsg"):
            raise BackendError(
                f"{self.name} does not pin {root}: {self._transport.mask(str(pinned['PinErrorMsg']))}",
                hint="look into the daemon's log, and publish again",
                retryable=True,
            )
        self._check_tree(root, blocks)

    def close(self) -> None:
        """Close idle connections. The daemon stays usable."""
        self._transport.close()

    def _pin(self, cid: Cid) -> None:
        answer = self._ask("pin/add", lambda client: client.pin.add(str(cid)))
        pins = answer.get("Pins")
        if not isinstance(pins, list) or cid.digest not in _digests(pins):
            raise self._odd("pin/add")

    def _check_tree(self, root: Cid, blocks: Mapping[Cid, bytes]) -> None:
        exported = self._call("dag/export", lambda client: client.dag.export(str(root)))
        try:
            stored = CarArchive(exported).blocks()
        except FormatError as error:
            raise VerificationError(f"{self.name} delivers no whole archive of {root}: {error.message}") from error
        if stored != blocks:
            different = sum(stored.get(cid) != block for cid, block in blocks.items())
            raise VerificationError(f"{self.name} delivers other blocks below {root} than were stored: {different}")

    def _explain_missing(self, cid: Cid, error: BackendError, looked_s: float) -> None:
        """Find out whether a block that was not delivered is not there; otherwise raise why it was not delivered."""
        if not isinstance(error, RefusedError) and not (isinstance(error, TransportError) and error.maybe_delivered):
            raise error
        try:
            has = self.has(cid)
        except BackendError:
            raise error from None
        if has:
            raise error
        raise AnchorNotFoundError(
            f"{self.name} does not have the block {cid}, and found it nowhere within {looked_s:.1f} s",
            hint="nobody pins it any more; its receipt holds the whole block, and docs/networks/ipfs.md says how to "
            "store it again",
        )

    def _ask(self, command: str, function: Callable[[Any], Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._call(command, function).as_json()
        return answer

    def _call(self, command: str, function: Callable[[Any], _T]) -> _T:
        """Call the library; whatever it makes of an answer that passed our checks must not reach the caller."""
        client = self._client()
        try:
            return function(client)
        except MrvError:
            raise
        except Exception as error:
            # Its text is not repeated, nor is it kept as the cause, because nobody has checked what is in it.
            name = type(error).__name__
        raise BackendUnavailableError(
            f"{self.name}: {command}: the client library cannot use the answer ({name})",
            hint="check the address in the configuration: something else than the daemon's API may answer there",
        )

    def _client(self) -> Any:
        with self._lock:
            if self._connected is None:
                self._connected = _client_module().connect(self._transport)
            return self._connected

    def _cid_in(self, text: object, command: str) -> Cid:
        try:
            if isinstance(text, str):
                return Cid.parse(text)
        except FormatError:
            pass
        raise self._odd(command)

    def _count_in(self, value: object) -> int:
        """Return a number that Kubo writes as a number and js-ipfs as text."""
        text = str(value)
        if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,15}", text):
            raise self._odd("repo/stat")
        return int(text)

    def _odd(self, command: str) -> TransportError:
        return TransportError(
            f"{self.name}: {command}: the answer is not that of an IPFS daemon",
            maybe_delivered=True,
            hint="check the address in the configuration: something else than the daemon's API may answer there",
        )


def _client_module() -> ModuleType:
    try:
        from mrv_backends_ipfs import client
    except ModuleNotFoundError as error:
        problem = f"talking to an IPFS daemon needs the package {error.name!r}"
        raise ConfigurationError(problem, hint="pip install 'mrv-provenance[ipfs]'") from error
    except Exception as error:  # the library reads variables when it is imported, and fails on malformed ones
        problem = f"the package ipfshttpclient cannot be loaded ({type(error).__name__})"
        raise ConfigurationError(problem, hint="unset the variables PY_IPFS_HTTP_CLIENT_*") from error
    return client


@contextmanager
def _naming(name: str) -> Iterator[None]:
    try:
        yield
    except VerificationError as error:
        raise VerificationError(f"{name}: {error.message}", hint=error.hint) from error


def _digests(texts: Any) -> Iterator[bytes]:
    """Yield the SHA-256 digests in CIDs of any spelling; CIDs with other hash functions are passed over."""
    for text in texts:
        try:
            yield Cid.parse(text).digest
        except FormatError:
            continue


def _link(value: object) -> object:
    """Return the text of a DAG-JSON link, `{"/": CID}`."""
    return value.get("/") if isinstance(value, dict) else None
