from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.interaction_status import InteractionStatus

if TYPE_CHECKING:
    from ..models.interaction_error import InteractionError


T = TypeVar("T", bound="InteractionView")


@_attrs_define
class InteractionView:
    """A user's visit at the bank.

    Attributes:
        id (str):
        status (InteractionStatus): The status of an interaction.
        connection_id (str):
        interaction_id (str): The bank's id.
        connect_url (None | str): Send the user there; null once it has ended.
        return_url (None | str):
        error (InteractionError | None):
        created_at (datetime.datetime):
        expires_at (datetime.datetime):
        ended_at (datetime.datetime | None):
    """

    id: str
    status: InteractionStatus
    connection_id: str
    interaction_id: str
    connect_url: None | str
    return_url: None | str
    error: InteractionError | None
    created_at: datetime.datetime
    expires_at: datetime.datetime
    ended_at: datetime.datetime | None
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.interaction_error import InteractionError

        id = self.id

        status = self.status.value

        connection_id = self.connection_id

        interaction_id = self.interaction_id

        connect_url: None | str
        connect_url = self.connect_url

        return_url: None | str
        return_url = self.return_url

        error: dict[str, Any] | None
        if isinstance(self.error, InteractionError):
            error = self.error.to_dict()
        else:
            error = self.error

        created_at = self.created_at.isoformat()

        expires_at = self.expires_at.isoformat()

        ended_at: None | str
        if isinstance(self.ended_at, datetime.datetime):
            ended_at = self.ended_at.isoformat()
        else:
            ended_at = self.ended_at

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "status": status,
                "connection_id": connection_id,
                "interaction_id": interaction_id,
                "connect_url": connect_url,
                "return_url": return_url,
                "error": error,
                "created_at": created_at,
                "expires_at": expires_at,
                "ended_at": ended_at,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.interaction_error import InteractionError

        d = dict(src_dict)
        id = d.pop("id")

        status = InteractionStatus(d.pop("status"))

        connection_id = d.pop("connection_id")

        interaction_id = d.pop("interaction_id")

        def _parse_connect_url(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        connect_url = _parse_connect_url(d.pop("connect_url"))

        def _parse_return_url(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        return_url = _parse_return_url(d.pop("return_url"))

        def _parse_error(data: object) -> InteractionError | None:
            if data is None:
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                error_type_0 = InteractionError.from_dict(data)

                return error_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(InteractionError | None, data)

        error = _parse_error(d.pop("error"))

        created_at = datetime.datetime.fromisoformat(d.pop("created_at"))

        expires_at = datetime.datetime.fromisoformat(d.pop("expires_at"))

        def _parse_ended_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                ended_at_type_0 = datetime.datetime.fromisoformat(data)

                return ended_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        ended_at = _parse_ended_at(d.pop("ended_at"))

        interaction_view = cls(
            id=id,
            status=status,
            connection_id=connection_id,
            interaction_id=interaction_id,
            connect_url=connect_url,
            return_url=return_url,
            error=error,
            created_at=created_at,
            expires_at=expires_at,
            ended_at=ended_at,
        )

        interaction_view.additional_properties = d
        return interaction_view

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
