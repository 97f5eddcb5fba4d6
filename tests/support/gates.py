"""Delaying a call until the test allows it to continue, so that no test depends on how fast anything is."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest


class Gate:
    """Stops the calls of a method, either before the method runs or after it, until the test opens the gate."""

    def __init__(self) -> None:
        self._reached = asyncio.Event()
        self._opened = asyncio.Event()

    async def wait_until_reached(self) -> None:
        """Wait until a call has stopped at the gate."""
        async with asyncio.timeout(20):
            await self._reached.wait()

    def open(self) -> None:
        """Let all calls pass."""
        self._opened.set()

    async def stop(self) -> None:
        """Wait until the gate is open. Called by what the gate stops."""
        self._reached.set()
        await self._opened.wait()


def stop_before(monkeypatch: pytest.MonkeyPatch, target: object, method: str) -> Gate:
    """Stop each call of `target.method` before it runs."""
    gate, original = Gate(), _method(target, method)

    async def gated(*arguments: Any, **options: Any) -> Any:
        await gate.stop()
        return await original(*arguments, **options)

    monkeypatch.setattr(target, method, gated)
    return gate


def stop_after(monkeypatch: pytest.MonkeyPatch, target: object, method: str) -> Gate:
    """Stop each call of `target.method` after it has run, before its caller gets the result."""
    gate, original = Gate(), _method(target, method)

    async def gated(*arguments: Any, **options: Any) -> Any:
        result = await original(*arguments, **options)
        await gate.stop()
        return result

    monkeypatch.setattr(target, method, gated)
    return gate


def _method(target: object, name: str) -> Callable[..., Awaitable[Any]]:
    method: Callable[..., Awaitable[Any]] = getattr(target, name)
    return method
