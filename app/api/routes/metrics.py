"""`/metrics`, unless it is bound elsewhere with METRICS_PORT."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from app.observability.metrics import render_metrics

router = APIRouter(tags=["Look into it"])


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics() -> Response:
    """Return the metrics in Prometheus' text format."""
    return Response(render_metrics(), headers={"content-type": CONTENT_TYPE_LATEST})
