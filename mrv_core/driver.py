# SPDX-License-Identifier: MIT
"""What a network driver is. pluggy finds drivers; this Protocol is the driver."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

from pydantic import ConfigDict, Field

from mrv_core.hashing import Digest
from mrv_core.models import (
    DigestField,
    DriverStatus,
    ExaminedReceipt,
    Metadata,
    Model,
    Prepared,
    Receipt,
    TimeField,
    VerifiedAnchor,
)

if TYPE_CHECKING:
    from mrv_core.provenance_tree import MLProvenanceMerkleTree, NodeProof, TreeState

EMBEDDED = "embedded"
"""Value of a network's address setting (`rpc_url`, `url`) that selects the network inside this folder."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a driver can honestly claim; the conformance suite skips by these, never by name.

    Attributes:
        attests_time: Whether inclusion proves that the commitment existed no later than some time.
        embedded: Whether the network lives in this process or folder, so nobody else vouches for it.
        mines_later: Whether a submitted anchor starts PENDING and needs `upgrade` to move on.
        time_tolerance_s: Seconds by which a later block may have an earlier time, by the network's own rules.
        replaces: Whether the driver is a `ReplacingDriver`.
        searches: Whether the driver is a `SearchingDriver`.
        pipelines: Whether the driver is a `PipeliningDriver`.
        registers: Whether the driver is a `RegisteringDriver`.
    """

    attests_time: bool
    embedded: bool
    mines_later: bool = False
    time_tolerance_s: int = 0
    replaces: bool = False
    searches: bool = False
    pipelines: bool = False
    registers: bool = False


class NetworkSettings(Model):
    """Settings every network section has; a driver's own settings model derives from it.

    Attributes:
        enabled: Whether the network is used when no networks are named.
        driver: Name of the driver; the section's own name where it is left out.
        timeout: Total seconds for one anchor or one verification on this network, retries included.
        retry_attempts: How often a retryable failure is tried in all, within `timeout`.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)

    environment: ClassVar[Mapping[str, str]] = {}
    """Environment variables that override a setting, later ones winning: variable name to key."""

    enabled: bool = True
    driver: str | None = None
    timeout: float = Field(default=30, gt=0, le=3600)
    retry_attempts: int = Field(default=3, ge=1, le=100)

    @property
    def names_registry(self) -> bool:
        """Whether a registry of records is named, be the rest of the settings right or wrong."""
        return False


@dataclass(frozen=True, slots=True)
class DriverContext:
    """Everything a driver is built from.

    Attributes:
        network: Configured name of the network, put into receipts.
        settings: The network's section, an instance of the driver's settings model.
        store_dir: Folder for what the driver keeps. It may not exist; reading methods never create it.
    """

    network: str
    settings: Any
    store_dir: Path


class AnchorDriver(Protocol):
    """One configured network. Thread-safe. Never sleeps, never retries, never logs secrets.

    Core promises: commitments are digests of this project; `submit` gets exactly what `prepare` returned, possibly
    from another process; on one network `prepare` and `submit` never run at the same time from one journal.
    A driver raises `BackendError` when it could not ask or send (`retryable=True` when trying again may help),
    `AnchorNotFoundError` when the network answered and has no such anchor, `AnchorConflictError` from `submit` and
    `upgrade` when what was prepared can never be included any more, and `VerificationError` when what it found is
    wrong. It lets no exception of a library out.
    """

    name: ClassVar[str]
    capabilities: Capabilities

    def __init__(self, context: DriverContext) -> None: ...

    def prepare(self, commitment: Digest, metadata: Metadata) -> Prepared:
        """Build and sign; the reference is known; nothing is sent."""

    def submit(self, prepared: Prepared) -> Receipt:
        """Hand over the prepared bytes. Idempotent: "already known" is success."""

    def lookup(self, reference: str) -> Receipt:
        """Find an anchor again from its bare transaction id or CID."""

    def upgrade(self, receipt: Receipt) -> Receipt:
        """Look again and attach evidence. May move either way: a reorg returns it to PENDING."""

    def verify(self, receipt: Receipt, commitment: Digest) -> VerifiedAnchor:
        """Check against local settings, never against anything the receipt says about where to ask.

        Everything the receipt claims is compared: network id, commitment, reference, block time, evidence.
        """

    def status(self) -> DriverStatus:
        """Say whether the network can be used now. Raises nothing that means "not reachable"."""

    def close(self) -> None:
        """Release connections and files. Calling it twice is harmless."""


class ReplacingDriver(AnchorDriver, Protocol):
    """A driver that can outbid its own transaction while it waits (`Capabilities.replaces`)."""

    def replace(self, prepared: Prepared, receipt: Receipt | None) -> Prepared | None:
        """Build and sign a replacement of an anchor that pays too little to be included; nothing is sent.

        Only one of the two can ever be included. Core journals the replacement before it is submitted, and keeps the
        older one: whichever is included closes the anchor.

        Args:
            prepared: What was submitted last.
            receipt: Its pending receipt, which may have waited too long; None where the network refused to take it,
                in a `SubmissionRejectedError` that is retryable.

        Returns:
            The replacement, with a reference of its own, or None where waiting is better or the cap is reached.
        """


class SearchingDriver(AnchorDriver, Protocol):
    """A driver that finds our own anchor of a commitment without knowing its reference (`Capabilities.searches`)."""

    def find(self, commitment: Digest, metadata: Metadata) -> Receipt | None:
        """Search the network for an anchor of this commitment by our own key or wallet, the oldest first.

        Used to rebuild a lost journal. Returns None only where the network was searched and has none.

        Raises:
            SubmissionRejectedError: it has something else of ours in its place, and would refuse this.
        """


class PipeliningDriver(AnchorDriver, Protocol):
    """A driver that prepares and sends many anchors in a few calls (`Capabilities.pipelines`)."""

    def are_new(self, anchors: Sequence[tuple[Digest, Metadata]]) -> list[bool]:
        """Tell of each commitment whether our key has certainly not anchored it, and has nothing of it on its way.

        What is not to go in a group gets False.
        """

    def prepare_many(self, anchors: Sequence[tuple[Digest, Metadata]]) -> list[Prepared]:
        """Build and sign, in this order, as if each were sent before the next is prepared; nothing is sent."""

    def submit_many(self, prepared: Sequence[Prepared]) -> list[Receipt | None]:
        """Hand over in this order. None stands for what the network does not have afterwards, for whatever reason.

        Idempotent as `submit`; what became of a None is found out by submitting it alone.
        """


class Registration(Model):
    """What somebody registered under an MRV id.

    Attributes:
        commitment: Hash of a record.
        submitter: Who registered it, in the network's own spelling.
        registered_at: Time that the network attests.
        is_expected: Whether the settings expect registrations of this submitter; None where they expect nobody's.
    """

    commitment: DigestField
    submitter: str
    registered_at: TimeField
    is_expected: bool | None


class Registered(Model):
    """What a network has of a record under its MRV id.

    Attributes:
        receipt: Of the record, where who is expected to register it has; anybody, where the settings expect nobody.
        others: What else is registered under the id, as far as it was asked for: what expected submitters registered,
            and what was the first of all.
        submitters: How many have registered the id.
    """

    receipt: Receipt | None
    others: tuple[Registration, ...]
    submitters: int


class RegisteringDriver(AnchorDriver, Protocol):
    """A driver of a network that keeps records by their MRV id, so that nobody needs a receipt to find one.

    `Capabilities.registers` says so. It anchors by the id whatever has one: the metadata `mrv_id`.
    """

    def find_registered(self, mrv_id: str, commitment: Digest) -> Registered:
        """Ask the network what is registered under an id.

        Args:
            mrv_id: The id.
            commitment: Hash of the record that it should be.

        Raises:
            BackendError: it could not be asked.
        """


class Deployment(Model):
    """A deployed contract.

    Attributes:
        format: Version of this format.
        contract: Name of the contract.
        address: Where it is, in the network's own spelling.
        chain_id: EIP-155 chain id.
        code_hash: Hash of the code that is there, `0x` and hexadecimal digits.
        transaction: Reference of the deployment.
        block_number: Block of the deployment.
    """

    format: Literal["mrv-deployment/1"] = "mrv-deployment/1"
    contract: str
    address: str
    chain_id: int
    code_hash: str
    transaction: str
    block_number: int


@runtime_checkable
class DeployingDriver(AnchorDriver, Protocol):
    """A driver of a network on which a contract has to be deployed first."""

    def deploy_contract(self, contract: str) -> Deployment:
        """Deploy a contract of this project by name, wait until it is there, and check its code.

        Raises:
            ConfigurationError: no such contract, no key, or another chain than the configured one.
            BackendError: it could not be deployed.
        """


class Published(Protocol):
    """A published tree."""

    @property
    def cid(self) -> object:
        """Name of the root block; `str` of it is what `fetch_leaf` takes."""

    @property
    def root(self) -> Digest:
        """The run's root."""

    @property
    def blocks(self) -> int:
        """Number of blocks."""

    @property
    def size(self) -> int:
        """Bytes of all blocks."""


class Fetched(Protocol):
    """One node of a published tree."""

    @property
    def root(self) -> Digest:
        """The root that the proof leads to."""

    @property
    def proof(self) -> NodeProof:
        """The node with its way to the root."""

    @property
    def json(self) -> str | None:
        """The canonical JSON of a leaf of kind `json`, where it was published."""


@runtime_checkable
class PublishingDriver(AnchorDriver, Protocol):
    """A driver of a network that can hold the tree of a run itself, node by node."""

    def publish_tree(self, tree: MLProvenanceMerkleTree, state: TreeState | str, *, values: bool = False) -> Published:
        """Publish a tree: its labels, kinds and digests become public for ever, and its JSON values if wanted."""

    def fetch_leaf(self, root_cid: str, path: str, root: Digest | None = None) -> Fetched:
        """Fetch one node by its path name, and check its way to the root."""


@dataclass(frozen=True, slots=True)
class TrustedFacts:
    """What a verifier knows from a source of their own, for checking evidence without asking any network.

    Attributes:
        block_hashes: Hashes of blocks, 64 lower-case hexadecimal digits as explorers show them, without `0x`.
        log_keys: Keys of transparency logs, as C2SP vkeys.
        min_work: Least expected number of hashes, as a power of two, that a block header must have cost; None where
            work alone shall not convince.
    """

    block_hashes: frozenset[str] = frozenset()
    log_keys: frozenset[str] = frozenset()
    min_work: int | None = None


Examine: TypeAlias = "Callable[[Receipt, Digest, TrustedFacts], ExaminedReceipt]"
"""What `DriverFactory.examiner` names: a pure function that checks a receipt without settings, files or network.

It takes nothing from the receipt on trust. Raises `VerificationError` where anything in it is wrong.
"""
