"""`/v1/users`: erasing a user."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path

from app.api.dependencies import AuthenticatedRoute, Broker, requires
from app.api.error_examples import problems
from app.callers.admission import Admission
from app.callers.permissions import Permission

router = APIRouter(prefix="/v1/users", route_class=AuthenticatedRoute, tags=["Use a connection"])
Writer = Annotated[Admission, Depends(requires(Permission.CONNECTIONS_WRITE))]


@router.delete("/{user_id:path}", status_code=204, summary="Erase a user", responses=problems())
async def erase_user(
    caller: Writer, runtime: Broker, user_id: Annotated[str, Path(max_length=255, pattern=r"^[^\x00]+$")]
) -> None:
    """End all of a user's connections and erase the sessions. An unknown user is no error."""
    await runtime.connections.disconnect.erase_user(caller, user_id)
