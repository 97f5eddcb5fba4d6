"""`broker pkce`: for those who compare a pair by hand."""

from typing import Annotated

import typer

from app.base.randomness import opaque_value
from app.cli.output import AsJson, show
from app.errors import InvalidRequest
from app.oidc.authorization import check_verifier, code_challenge

group = typer.Typer(no_args_is_help=True, help="PKCE pairs (RFC 7636), for those who compare by hand.")


@group.command()
def new(as_json: AsJson = False) -> None:
    """Make a verifier and its challenge."""
    verifier = opaque_value()
    show({"code_verifier": verifier, "code_challenge": code_challenge(verifier)}, as_json=as_json)


# One value in sixty-four begins with a hyphen, and is no option.
@group.command(context_settings={"ignore_unknown_options": True})
def check(
    verifier: Annotated[str, typer.Argument(help="The code_verifier.")],
    challenge: Annotated[str, typer.Argument(help="The code_challenge, by S256.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Tell whether a verifier and a challenge belong together."""
    check_verifier(verifier)
    if code_challenge(verifier) != challenge:
        raise InvalidRequest(f"they do not belong together; the verifier's challenge is {code_challenge(verifier)}")
    if as_json:
        show({"code_verifier": verifier, "code_challenge": challenge}, as_json=True)
    else:
        typer.echo("they belong together")
