# SPDX-License-Identifier: MIT
"""C2SP signed notes (c2sp.org/signed-note) with Ed25519, and the keys' own text forms.

    text of any number of lines

    — key-name base64(key id || signature)

A key's id is SHA-256(name || 0x0A || 0x01 || public key)[:4]: an identifier, not a proof of anything.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from mrv_core.errors import FormatError, VerificationError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MAX_NOTE_CHARACTERS: Final = 64 * 1024
"""Longest note looked at; it holds the 16 signatures that a verifier must accept, post-quantum ones excepted."""

_ED25519: Final = b"\x01"
_KEY_SIZE: Final = 32
_KEY_ID_SIZE: Final = 4
_SIGNATURE_PREFIX: Final = "— "
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_KEY_NAME = re.compile(r"[^\s+]+")
_PRIVATE_PREFIX: Final = "PRIVATE+KEY+"


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line: who says to have signed, by which key, and the signature itself."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class SignedNote:
    """A note taken apart; nothing about it is to be believed before `VerifierKey.open`.

    Attributes:
        text: The signed text with its last newline.
        signatures: The signature lines in their order.
    """

    text: str
    signatures: tuple[NoteSignature, ...]

    @classmethod
    def parse(cls, note: str) -> SignedNote:
        """Take a note apart at its last empty line.

        Raises:
            FormatError: too long, control characters, no signature, or a malformed signature line.
        """
        if len(note) > MAX_NOTE_CHARACTERS:
            raise FormatError(f"signed note: more than {MAX_NOTE_CHARACTERS} characters")
        if _CONTROL.search(note) or not _is_unicode(note):
            raise FormatError("signed note: control characters or invalid Unicode")
        text, separator, lines = note.rpartition("\n\n")
        if not separator or not text or not lines.endswith("\n"):
            raise FormatError("signed note: no text and signatures with an empty line between them")
        return cls(text + "\n", tuple(map(_parse_signature, lines[:-1].split("\n"))))


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """An Ed25519 public key with the name it signs under.

    Attributes:
        name: Key name, for a log its origin.
        public: The public key (32 bytes, RFC 8032).
    """

    name: str
    public: bytes

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read `name+id+key`: eight hexadecimal digits, and base64 of 0x01 and the public key.

        Raises:
            FormatError: another form or algorithm, or an id that is not the key's.
        """
        key = cls(*_parse_key(text, "verifier key"))
        if str(key) != text:
            raise FormatError("verifier key: its id is not that of its name and key")
        return key

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{_base64(_ED25519 + self.public)}"

    @property
    def key_id(self) -> bytes:
        """The four bytes that signature lines name the key by."""
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:_KEY_ID_SIZE]

    def open(self, note: SignedNote) -> str:
        """Return a note's text after checking that this key signed it; other keys' signatures are passed over.

        Raises:
            VerificationError: no signature by this key, or one that does not hold.
        """
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        mine = [line for line in note.signatures if (line.name, line.key_id) == (self.name, self.key_id)]
        if not mine:
            raise VerificationError(f"the checkpoint is not signed by {self.name} with key {self.key_id.hex()}")
        for line in mine:
            try:
                Ed25519PublicKey.from_public_bytes(self.public).verify(line.signature, note.text.encode())
            except InvalidSignature as error:
                raise VerificationError(f"the signature of {self.name} does not hold") from error
        return note.text


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 private key with the name it signs under. Its text form is a secret.

    Attributes:
        name: Key name, for a log its origin.
        seed: The private key (32 bytes, RFC 8032); never shown.
    """

    name: str
    seed: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> SigningKey:
        """Read the form that Go's `note` package writes: `PRIVATE+KEY+name+id+key`.

        Raises:
            FormatError: another form or algorithm, or an id that is not the key's; the message never holds the key.
        """
        if not text.startswith(_PRIVATE_PREFIX):
            raise FormatError("signing key: does not start with PRIVATE+KEY+")
        key = cls(*_parse_key(text.removeprefix(_PRIVATE_PREFIX), "signing key"))
        if key.to_text() != text:
            raise FormatError("signing key: its id is not that of its name and key")
        return key

    def to_text(self) -> str:
        """Return the secret text form."""
        return f"{_PRIVATE_PREFIX}{self.name}+{self.verifier.key_id.hex()}+{_base64(_ED25519 + self.seed)}"

    @property
    def verifier(self) -> VerifierKey:
        """The public half."""
        return VerifierKey(self.name, self._private().public_key().public_bytes_raw())

    def sign(self, text: str) -> str:
        """Return the note with this text and this key's signature. The text must end in a newline."""
        signature = self._private().sign(text.encode())
        return f"{text}\n{_SIGNATURE_PREFIX}{self.name} {_base64(self.verifier.key_id + signature)}\n"

    def _private(self) -> Ed25519PrivateKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self.seed)


def strict_base64(text: str, what: str) -> bytes:
    """Decode standard base64 with padding, accepting exactly one text for each value (RFC 4648, section 3.5).

    Raises:
        FormatError: other characters, wrong padding, or stray bits.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FormatError(f"{what}: not base64") from error
    if _base64(data) != text:
        raise FormatError(f"{what}: not the one base64 form of its bytes")
    return data


def _parse_signature(line: str) -> NoteSignature:
    fields = line.removeprefix(_SIGNATURE_PREFIX).split(" ")
    if not line.startswith(_SIGNATURE_PREFIX) or len(fields) != 2 or not _KEY_NAME.fullmatch(fields[0]):
        raise FormatError("signed note: malformed signature line")
    data = strict_base64(fields[1], "signed note")
    if len(data) <= _KEY_ID_SIZE:
        raise FormatError("signed note: signature is too short")
    return NoteSignature(fields[0], data[:_KEY_ID_SIZE], data[_KEY_ID_SIZE:])


def _parse_key(text: str, what: str) -> tuple[str, bytes]:
    fields = text.split("+", 2)  # base64 may hold a plus sign too
    if len(fields) != 3 or not _KEY_NAME.fullmatch(fields[0]) or not _is_unicode(fields[0]):
        raise FormatError(f"{what}: not of the form name+id+key")
    data = strict_base64(fields[2], what)
    if len(data) != 1 + _KEY_SIZE or not data.startswith(_ED25519):
        raise FormatError(f"{what}: not an Ed25519 key")
    return fields[0], data[1:]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
