"""`/healthz` and `/readyz`: whether the process is alive and can serve."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from app.api.dependencies import Broker
from app.errors import DatabaseUnavailable

router = APIRouter(tags=["Look into it"])


def _example(value: dict[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"example": value}}}


@router.get("/healthz", summary="Is the process alive?", responses={200: _example({"status": "ok"})})
async def healthz() -> dict[str, str]:
    """Answer as long as the process runs. Says nothing about the database or the bank."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    summary="Can it serve?",
    responses={
        200: _example({"status": "ready", "checks": {"database": "ok", "notifications": "ok"}}),
        503: {"description": "Not now; the body says why."},
    },
)
async def readyz(runtime: Broker) -> JSONResponse:
    """Return whether this replica should receive requests, and what is wrong if not."""
    is_listening = runtime.core.notifications.is_listening
    checks = {"database": "ok", "notifications": "ok" if is_listening else "not heard, polling"}
    try:
        await runtime.core.database.ping()
    except DatabaseUnavailable:
        checks["database"] = "unavailable"
    if runtime.maintenance.gauges.is_storm:
        checks["refreshes"] = "suspended: invalid_grant_storm"
    if runtime.core.shutdown.is_set:
        checks["process"] = "stopping"
    ready = checks["database"] == "ok" and not runtime.core.shutdown.is_set
    return JSONResponse({"status": "ready" if ready else "not ready", "checks": checks}, 200 if ready else 503)
