"""The obvious proxy in Python: FastAPI and one shared httpx client, with bodies held in memory."""

import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import httpx
from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response

_EXPECTED = hashlib.sha256(os.environ["PEER_KEY"].encode()).hexdigest()
_UPSTREAM = os.environ["PEER_UPSTREAM"] + "/graphql"


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=256, max_keepalive_connections=256)) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=_lifespan)


async def _caller(authorization: Annotated[str, Header()]) -> None:
    key = authorization.removeprefix("Bearer ")
    if hashlib.sha256(key.encode()).hexdigest() != _EXPECTED:
        raise HTTPException(401)


@app.post("/graphql", dependencies=[Depends(_caller)])
async def graphql(request: Request) -> Response:
    """Forward a query."""
    response = await request.app.state.client.post(
        _UPSTREAM,
        content=await request.body(),
        headers={"authorization": "Bearer a-token", "content-type": "application/json"},
    )
    return Response(response.content, response.status_code, media_type=response.headers.get("content-type"))
