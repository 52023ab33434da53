# SPDX-License-Identifier: MIT
"""The MRVRegistry contract, which keeps hashes of records by submitter and MRV id. See `ContractQueries`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mrv_backends_eth import registry_contract as registry
from mrv_backends_eth import values
from mrv_backends_eth.contract import Submission, decode_submission
from mrv_backends_eth.contract_queries import ContractQueries, Event, Statement
from mrv_backends_eth.registry_evidence import RegistryEvidence, verify_registry_evidence
from mrv_backends_eth.state_evidence import ProvenRecord
from mrv_core.errors import FormatError, SubmissionRejectedError, VerificationError
from mrv_core.hashing import Digest
from mrv_core.models import Metadata
from mrv_core.mrv.record import is_mrv_id

if TYPE_CHECKING:
    from mrv_backends_eth.writing import Writer

MRV_ID = "mrv_id"
"""Key of the metadata that makes an anchor one of a record with an id."""
_ALGORITHM = "sha256"


class RegistryQueries(ContractQueries):
    """MRVRegistry: `registerMRV(mrvId, hash)`. The text of a statement is the id."""

    contract = "MRVRegistry"
    setting = "registry_address"
    code_hashes = registry.CODE_HASHES
    repeats_silently = True
    instead = "leave out registry_address, so that records are anchored as everything else"

    def statement(self, commitment: Digest, metadata: Metadata) -> Statement:
        """Return the record's hash and id; what else the metadata say is not sent. See `ContractQueries`."""
        mrv_id = metadata.get(MRV_ID)
        if not is_mrv_id(mrv_id):
            raise FormatError(f"{mrv_id!r:.80} is no id that MRVRegistry takes")
        if commitment.algorithm != _ALGORITHM:
            raise FormatError(f"MRVRegistry takes SHA-256 hashes, not {commitment.algorithm}")
        return Statement(commitment, mrv_id)

    def payload(self, writer: Writer, statement: Statement) -> bytes:
        """Return a call of `registerMRV`. See `ContractQueries`."""
        return writer.register_mrv(statement.text, statement.commitment.value)

    def read_call(self, data: bytes) -> Statement | None:
        """Read a call of `registerMRV`. See `ContractQueries`."""
        called = registry.decode_register_mrv(data)
        return None if called is None else Statement(Digest(_ALGORITHM, called[1]), called[0])

    def read_event(self, topics: Sequence[bytes], data: bytes) -> Event | None:
        """Read an `MRVRegistered`. See `ContractQueries`."""
        if list(topics[:1]) != [registry.MRV_REGISTERED]:
            return None
        try:
            submitter, value, mrv_id = registry.decode_registered(topics, data)
        except VerificationError:
            return None
        return Event(submitter, Statement(Digest(_ALGORITHM, value), mrv_id))

    def facts(self, statement: Statement) -> dict[str, Any]:
        """Return the id. See `ContractQueries`."""
        return {MRV_ID: statement.text}

    def topics(self, submitter: bytes, statement: Statement) -> list[bytes]:
        """Return event, key, submitter and hash. See `ContractQueries`."""
        key = registry.key_of(statement.text)
        return [registry.MRV_REGISTERED, key, submitter.rjust(32, b"\0"), statement.commitment.value]

    def record_slots(self, submitter: bytes, statement: Statement) -> list[bytes]:
        """Return the two words of a record: hash; time and block. See `ContractQueries`."""
        key = registry.key_of(statement.text)
        return [registry.record_slot(submitter, key), registry.time_slot(submitter, key)]

    def decode_record(self, words: Sequence[int], statement: Statement, submitter: bytes) -> Submission | None:
        """Read them. See `ContractQueries`."""
        held, time = words
        if held == 0:
            return None
        if held.to_bytes(32, "big") != statement.commitment.value:
            raise SubmissionRejectedError(
                f"{self._network}: {values.address_text(submitter)} registered another hash as {statement.text}: "
                f"{_ALGORITHM}:{held:064x}",
                hint="a corrected record has an id of its own, and names the old one with supersedes",
            )
        return decode_submission(time)

    def proof_slots(self, submitter: bytes, statement: Statement) -> list[bytes]:
        """Return the words of the record, and that of the id. See `ContractQueries`."""
        return [*self.record_slots(submitter, statement), registry.id_slot(registry.key_of(statement.text))]

    def make_evidence(self, common: Mapping[str, Any], statement: Statement, proofs: Sequence[Any]) -> RegistryEvidence:
        """See `ContractQueries`."""
        hash_proof, time_proof, id_proof = proofs
        return RegistryEvidence(
            **common, mrv_id=statement.text, hash_proof=hash_proof, time_proof=time_proof, id_proof=id_proof
        )

    def prove(self, evidence: Mapping[str, Any], commitment: Digest) -> ProvenRecord:
        """See `ContractQueries`."""
        if commitment.algorithm != _ALGORITHM:
            raise VerificationError(f"MRVRegistry keeps SHA-256 hashes, not {commitment}")
        return verify_registry_evidence(RegistryEvidence.read(evidence), commitment.value)
