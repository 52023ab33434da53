# SPDX-License-Identifier: MIT
"""`mrv token`: who may use a registry."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mrv_cli.options import JsonOption
from mrv_cli.output import console, guarded, note, print_json
from mrv_cli.registry import BaseOption, database_of, needed
from mrv_core.errors import ConfigurationError

ACCESS_EXAMPLES = """\b
Examples:
  mrv token create "training cluster" --scope write
  mrv token list
  mrv token revoke 1f0c2a7e9b44
"""

token_app = typer.Typer(no_args_is_help=True, help="Make, list and revoke the tokens of a registry.")


@token_app.command("create", epilog=ACCESS_EXAMPLES)
@guarded
def create_token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the token is for.", show_default=False)],
    scope: Annotated[list[str], typer.Option("--scope", metavar="SCOPE", help="What it allows: read, write.")],
    base_dir: BaseOption = Path("registry"),
    as_json: JsonOption = False,
) -> None:
    """Make a token, and print it: it is shown this once, and kept nowhere."""
    with needed():
        from mrv_service import tokens
        from mrv_service.tokens import Scope
    unknown = sorted(set(scope) - set(Scope))
    if unknown:
        raise ConfigurationError(f"there is no scope {unknown[0]!r:.40}", hint=f"scopes: {', '.join(Scope)}")
    database = database_of(base_dir)
    is_again = any(each.name == name for each in tokens.all_tokens(database))
    made, text = tokens.create(database, name, [Scope(each) for each in scope])
    if is_again:
        note("there was a token of this name before: the new one adds receipts and samples to its records, too")
    if as_json:
        print_json({"id": made.id, "name": made.name, "scopes": sorted(made.scopes), "token": text})
        return
    console().print(text, soft_wrap=True, markup=False, highlight=False)
    note(f"id {made.id}; it is not shown again")


@token_app.command("list", epilog=ACCESS_EXAMPLES)
@guarded
def list_tokens(base_dir: BaseOption = Path("registry"), as_json: JsonOption = False) -> None:
    """List the tokens: what each is for, and never the token itself."""
    from mrv_core.report.terminal import line

    with needed():
        from mrv_service import tokens
    found = tokens.all_tokens(database_of(base_dir))
    if as_json:
        print_json({"tokens": [{**asdict(each), "scopes": sorted(each.scopes)} for each in found]})
        return
    for each in found:
        state = "revoked" if each.revoked_at else " ".join(sorted(each.scopes))
        console().print(line(f"{each.id}  {each.created_at}  {state:<10}  {each.name}"), soft_wrap=True)
    if not found:
        note("there is no token")


@token_app.command("revoke", epilog=ACCESS_EXAMPLES)
@guarded
def revoke_token(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the token, not the token.", show_default=False)],
    base_dir: BaseOption = Path("registry"),
) -> None:
    """Revoke a token, for good and at once."""
    with needed():
        from mrv_service import tokens
    if not tokens.revoke(database_of(base_dir), token_id):
        raise ConfigurationError("there is no token of this id that is valid", hint="see 'mrv token list'")
    note(f"revoked {token_id}")
