"""`broker pkce`: PKCE values, for debugging a login by hand."""

from typing import Annotated

import typer

from app.base.randomness import random_urlsafe_text
from app.cli.output import AsJson, show
from app.errors import InvalidRequest
from app.oidc.pkce import check_verifier, code_challenge


def new(as_json: AsJson = False) -> None:
    """Generate a verifier and its challenge."""
    verifier = random_urlsafe_text()
    show({"code_verifier": verifier, "code_challenge": code_challenge(verifier)}, as_json=as_json)


def check(
    verifier: Annotated[str, typer.Argument(help="The code_verifier.")],
    challenge: Annotated[str, typer.Argument(help="The code_challenge, made with S256.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Check that a challenge belongs to a verifier."""
    check_verifier(verifier)
    if code_challenge(verifier) != challenge:
        raise InvalidRequest(f"they do not belong together; the verifier's challenge is {code_challenge(verifier)}")
    if as_json:
        show({"code_verifier": verifier, "code_challenge": challenge}, as_json=True)
    else:
        typer.echo("they belong together")
