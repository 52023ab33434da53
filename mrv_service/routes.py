# SPDX-License-Identifier: MIT
"""The API under /api/v1: records, bundles, their verifications, and the log of all of them.

Every answer that is no success is a problem document (RFC 9457).
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Header, Path, Query, Request, Response

from mrv_core.merkle import MAX_TREE_SIZE
from mrv_service.access import Reader, Writer
from mrv_service.bundles import BundlePage, Bundles, BundleSummary
from mrv_service.documents import JSON_BODY, Body, IfNoneMatch, document
from mrv_service.idempotency import IdempotencyKeys
from mrv_service.log import LogConsistency, LogHead, LogInclusion, RegistryLog
from mrv_service.problems import MEDIA_TYPE, ProblemError
from mrv_service.records import Filter, RecordPage, Records, RecordSummary
from mrv_service.tokens import Token
from mrv_service.verifications import Kind, Verification, Verifications

PREFIX = "/api/v1"
_NO_NUL = "^[^\\x00]*$"  # which PostgreSQL takes in no text

_MrvId = Annotated[str, Path(pattern="^[!-.0-~]{1,128}$", description="Id of a record.")]
_Hash = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="SHA-256 of a bundle's bytes.")]
_Key = Annotated[str | None, Header(alias="Idempotency-Key", description="The same for the same request.")]
_Cursor = Annotated[str | None, Query(description="`next` of the page before.")]
_Limit = Annotated[int | None, Query(ge=1, le=1000, description="Most items on the page.")]
_Search = Annotated[
    str | None, Query(max_length=200, pattern=_NO_NUL, description="A text in the id or one of the names.")
]
_Size = Annotated[int, Query(ge=1, le=MAX_TREE_SIZE, description="Entries of the log.")]
_Name = Annotated[str | None, Query(max_length=1000, pattern=_NO_NUL)]


def _problems(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    schema = {"type": "object", "required": ["type", "title", "status", "detail"]}
    always = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS)
    return {
        int(status): {"description": status.phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in (*always, *statuses)
    }


_WRITE = _problems(
    HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY
)
_ONE = _problems(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)
_LIST = _problems(HTTPStatus.UNPROCESSABLE_ENTITY)
_BYTES: dict[int | str, dict[str, Any]] = {
    **_ONE,
    304: {"description": "The client has it."},
    200: {"description": "The bytes.", "content": {"application/json": {"schema": {"type": "object"}}}},
}

router = APIRouter(prefix=PREFIX)


def _records(request: Request) -> Records:
    found: Records = request.app.state.records
    return found


def _bundles(request: Request) -> Bundles:
    found: Bundles = request.app.state.bundles
    return found


def _keys(request: Request) -> IdempotencyKeys:
    found: IdempotencyKeys = request.app.state.idempotency_keys
    return found


def _log(request: Request) -> RegistryLog:
    found: RegistryLog = request.app.state.log
    return found


def _verifications(request: Request) -> Verifications:
    found: Verifications = request.app.state.verifications
    return found


def _page_size(request: Request, limit: int | None) -> int:
    most: int = request.app.state.settings.page_size
    return most if limit is None else min(limit, most)


def _submitted(
    request: Request,
    response: Response,
    token: Token,
    kind: str,
    body: bytes,
    key: str | None,
    add: Callable[[bytes, str], tuple[str, bool]],
) -> str:
    """Add what was submitted, once for each key, say where it is, and return its name."""
    created = False

    def make() -> str:
        nonlocal created
        name, created = add(body, token.id)
        return name

    # The database keeps the hash of this beside the key: it stays as it is, or old keys are refused.
    name = _keys(request).location(token.id, key, kind.encode() + body, make)
    response.status_code = HTTPStatus.CREATED if created else HTTPStatus.OK
    response.headers["Location"] = f"{PREFIX}/{kind}s/{quote(name, safe='')}"
    return name


# --- records --------------------------------------------------------------------------------------------------------


@router.post(
    "/records",
    status_code=HTTPStatus.CREATED,
    responses={200: {"model": RecordSummary, "description": "It was here before."}, **_WRITE},
    openapi_extra=JSON_BODY,
    tags=["records"],
)
def submit_record(request: Request, response: Response, token: Writer, body: Body, key: _Key = None) -> RecordSummary:
    """Submit a record: the bytes of its file. The same bytes are the same record; others of its id are refused."""
    return _records(request).summary(_submitted(request, response, token, "record", body, key, _records(request).add))


@router.get("/records", responses=_LIST, tags=["records"])
def list_records(
    request: Request,
    token: Reader,
    q: _Search = None,
    experiment: _Name = None,
    model: _Name = None,
    dataset: _Name = None,
    status: Annotated[str | None, Query(pattern="^(completed|interrupted)$")] = None,
    hash: Annotated[str | None, Query(pattern="^[0-9a-f]{64}$")] = None,
    cursor: _Cursor = None,
    limit: _Limit = None,
) -> RecordPage:
    """List records, the newest first."""
    wanted = Filter(q=q, experiment=experiment, model=model, dataset=dataset, status=status, hash=hash)
    return _records(request).page(wanted, cursor, _page_size(request, limit))


@router.get("/records/{mrv_id}", responses=_ONE, tags=["records"])
def show_record(request: Request, token: Reader, mrv_id: _MrvId) -> RecordSummary:
    """Say what is here of a record."""
    return _records(request).summary(mrv_id)


@router.get("/records/{mrv_id}/content", responses=_BYTES, response_class=Response, tags=["records"])
def fetch_record(request: Request, token: Reader, mrv_id: _MrvId, if_none_match: IfNoneMatch = None) -> Response:
    """Fetch a record's file, byte by byte."""
    data = _records(request).content(mrv_id)
    return document(request, data, "application/json", if_none_match, unchanging=True)


@router.put("/records/{mrv_id}/receipts", responses={**_WRITE, **_ONE}, openapi_extra=JSON_BODY, tags=["records"])
def put_receipts(request: Request, token: Writer, mrv_id: _MrvId, body: Body) -> RecordSummary:
    """Add receipts of a record that was submitted with the same token, or one of its name.

    Each must hold by itself; of one network the one that is further along stays.
    """
    _records(request).put_receipts(mrv_id, body, token)
    return _records(request).summary(mrv_id)


@router.get("/records/{mrv_id}/receipts", responses=_BYTES, response_class=Response, tags=["records"])
def fetch_receipts(request: Request, token: Reader, mrv_id: _MrvId, if_none_match: IfNoneMatch = None) -> Response:
    """Fetch the receipts of a record."""
    data = _records(request).receipts(mrv_id)
    if data is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "nobody gave receipts of this record")
    return document(request, data, "application/json", if_none_match, unchanging=False)


@router.put(
    "/records/{mrv_id}/samples",
    responses={**_WRITE, **_ONE},
    openapi_extra={"requestBody": {"required": True, "content": {"text/csv": {"schema": {"type": "string"}}}}},
    tags=["records"],
)
def put_samples(request: Request, token: Writer, mrv_id: _MrvId, body: Body) -> RecordSummary:
    """Add the samples of a record that was submitted with the same token, or one of its name."""
    _records(request).put_samples(mrv_id, body, token)
    return _records(request).summary(mrv_id)


@router.get(
    "/records/{mrv_id}/samples",
    responses={**_ONE, 304: {"description": "The client has it."}, 200: {"content": {"text/csv": {}}}},
    response_class=Response,
    tags=["records"],
)
def fetch_samples(request: Request, token: Reader, mrv_id: _MrvId, if_none_match: IfNoneMatch = None) -> Response:
    """Fetch the samples of a record."""
    data = _records(request).samples(mrv_id)
    if data is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "nobody gave the samples of this record")
    return document(request, data, "text/csv", if_none_match, unchanging=True)


@router.post(
    "/records/{mrv_id}/verification",
    status_code=HTTPStatus.ACCEPTED,
    responses=_ONE,
    tags=["verifications"],
)
def request_record_verification(request: Request, response: Response, token: Writer, mrv_id: _MrvId) -> Verification:
    """Ask for a verification of a record on this registry's networks; a watcher does it. The location shows it."""
    _records(request).summary(mrv_id)
    response.headers["Location"] = f"{PREFIX}/records/{quote(mrv_id, safe='')}/verification"
    return _verifications(request).request(Kind.RECORD, mrv_id)


@router.get("/records/{mrv_id}/verification", responses=_ONE, tags=["verifications"])
def show_record_verification(request: Request, token: Reader, mrv_id: _MrvId) -> Verification:
    """Show the newest verification of a record."""
    found = _verifications(request).newest(Kind.RECORD, mrv_id)
    if found is None:
        _records(request).summary(mrv_id)
        raise _not_verified()
    return found


@router.get("/records/{mrv_id}/inclusion", responses=_ONE, tags=["log"])
def prove_record_inclusion(request: Request, token: Reader, mrv_id: _MrvId, size: _Size) -> LogInclusion:
    """Prove that a record is in the log of a size."""
    return _log(request).inclusion(Kind.RECORD, mrv_id, size)


# --- bundles --------------------------------------------------------------------------------------------------------


@router.post(
    "/bundles",
    status_code=HTTPStatus.CREATED,
    responses={200: {"model": BundleSummary, "description": "It was here before."}, **_WRITE},
    openapi_extra=JSON_BODY,
    tags=["bundles"],
)
def submit_bundle(request: Request, response: Response, token: Writer, body: Body, key: _Key = None) -> BundleSummary:
    """Submit the bundle of a run: the bytes of its file."""
    return _bundles(request).summary(_submitted(request, response, token, "bundle", body, key, _bundles(request).add))


@router.get("/bundles", responses=_LIST, tags=["bundles"])
def list_bundles(
    request: Request,
    token: Reader,
    q: _Search = None,
    run_id: _Name = None,
    cursor: _Cursor = None,
    limit: _Limit = None,
) -> BundlePage:
    """List bundles, the newest first."""
    return _bundles(request).page(q, run_id, cursor, _page_size(request, limit))


@router.get("/bundles/{name}", responses=_ONE, tags=["bundles"])
def show_bundle(request: Request, token: Reader, name: _Hash) -> BundleSummary:
    """Say what is here of a bundle."""
    return _bundles(request).summary(name)


@router.get("/bundles/{name}/content", responses=_BYTES, response_class=Response, tags=["bundles"])
def fetch_bundle(request: Request, token: Reader, name: _Hash, if_none_match: IfNoneMatch = None) -> Response:
    """Fetch a bundle's file, byte by byte."""
    return document(request, _bundles(request).content(name), "application/json", if_none_match, unchanging=True)


@router.post(
    "/bundles/{name}/verification",
    status_code=HTTPStatus.ACCEPTED,
    responses=_ONE,
    tags=["verifications"],
)
def request_bundle_verification(request: Request, response: Response, token: Writer, name: _Hash) -> Verification:
    """Ask for a verification of a bundle on this registry's networks; a watcher does it. The location shows it."""
    _bundles(request).summary(name)
    response.headers["Location"] = f"{PREFIX}/bundles/{name}/verification"
    return _verifications(request).request(Kind.BUNDLE, name)


@router.get("/bundles/{name}/verification", responses=_ONE, tags=["verifications"])
def show_bundle_verification(request: Request, token: Reader, name: _Hash) -> Verification:
    """Show the newest verification of a bundle."""
    found = _verifications(request).newest(Kind.BUNDLE, name)
    if found is None:
        _bundles(request).summary(name)
        raise _not_verified()
    return found


@router.get("/bundles/{name}/inclusion", responses=_ONE, tags=["log"])
def prove_bundle_inclusion(request: Request, token: Reader, name: _Hash, size: _Size) -> LogInclusion:
    """Prove that a bundle is in the log of a size."""
    return _log(request).inclusion(Kind.BUNDLE, name, size)


# --- the log --------------------------------------------------------------------------------------------------------


@router.get("/log", responses=_problems(), tags=["log"])
def show_log_head(request: Request, token: Reader) -> LogHead:
    """Show how much is in the log of all that was accepted, and its root."""
    return _log(request).head()


@router.get("/log/consistency", responses=_LIST, tags=["log"])
def prove_log_consistency(request: Request, token: Reader, first: _Size, second: _Size) -> LogConsistency:
    """Prove that the log of one size is the beginning of that of another."""
    return _log(request).consistency(first, second)


def _not_verified() -> ProblemError:
    return ProblemError(
        HTTPStatus.NOT_FOUND,
        "nobody verified it here yet",
        hint="ask for it with POST, and see to it that 'mrv watch' runs",
    )
