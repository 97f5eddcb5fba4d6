"""`broker openapi`: the description of the HTTP API."""

import json
from typing import Annotated

import typer

from app.api.docs.postman import collection_of
from app.cli.output import AsJson
from app.main import create_api


def openapi(
    *,
    postman: Annotated[bool, typer.Option("--postman", help="Print a collection for Postman or Bruno.")] = False,
    as_json: AsJson = True,
) -> None:
    """Print the OpenAPI document, always as JSON."""
    document = create_api().openapi()
    typer.echo(json.dumps(collection_of(document) if postman else document, indent=2, ensure_ascii=not postman))
