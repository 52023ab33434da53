# SPDX-License-Identifier: MIT
"""Who may do what: bearer tokens (RFC 6750) with scopes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from mrv_service import tokens
from mrv_service.problems import ProblemError
from mrv_service.tokens import Scope, Token

_bearer = HTTPBearer(auto_error=False, description="A token of 'mrv token create'.")
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]

PUBLIC = Token("", "anybody", frozenset({Scope.READ}), "", None)
"""Who reads where everybody may."""


def require(scope: Scope) -> Callable[..., Awaitable[Token]]:
    """Return the dependency that lets a request through whose token has a scope, and returns the token."""

    async def check(request: Request, credentials: _Credentials) -> Token:
        settings = request.app.state.settings
        is_public = scope is Scope.READ and settings.reads == "public"
        if credentials is None and is_public:
            return PUBLIC
        token = None
        if credentials is not None:
            token = await run_in_threadpool(tokens.find, request.app.state.database, credentials.credentials)
        if token is None:
            raise ProblemError(
                HTTPStatus.UNAUTHORIZED,
                "no token, or one that is not valid",
                hint="make one with 'mrv token create', and send it as 'Authorization: Bearer …'",
                headers={"WWW-Authenticate": 'Bearer realm="mrv"'},
            )
        if scope not in token.scopes and not is_public:  # a token to write takes nothing away that anybody may
            raise ProblemError(
                HTTPStatus.FORBIDDEN,
                f"the token has not the scope {scope}",
                headers={"WWW-Authenticate": f'Bearer realm="mrv", error="insufficient_scope", scope="{scope}"'},
            )
        return token

    return check


Reader = Annotated[Token, Depends(require(Scope.READ))]
Writer = Annotated[Token, Depends(require(Scope.WRITE))]
