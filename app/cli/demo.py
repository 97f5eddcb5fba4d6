"""`broker demo`: the whole journey on one machine."""

from typing import Annotated

import typer

from app.demo.command import run_demo


def demo(
    *,
    keep_running: Annotated[
        bool, typer.Option("--keep-running", help="Start everything and leave it running, to try it by hand.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="The broker's port; a free one if it is in use.")] = 8000,
) -> None:
    """Show the whole journey on this machine, with its own database and bank.

    It needs no settings.
    """
    raise typer.Exit(run_demo(keep_running=keep_running, port=port))
