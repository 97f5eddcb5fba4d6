from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.session_status import SessionStatus

if TYPE_CHECKING:
    from ..models.session_error import SessionError
    from ..models.session_view_metadata import SessionViewMetadata


T = TypeVar("T", bound="SessionView")


@_attrs_define
class SessionView:
    """One attempt to link an account.

    Attributes:
        id (str):
        status (SessionStatus): The status of a login.
        user_id (str):
        scopes (list[str]):
        authorization_url (None | str): Leads straight to the bank; null once the login is no longer pending.
        connect_url (None | str): Leads to the bank through the broker, which binds the browser; null once no longer
            pending.
        return_url (None | str):
        connection_id (None | str):
        error (None | SessionError):
        metadata (SessionViewMetadata):
        created_at (datetime.datetime):
        expires_at (datetime.datetime):
        ended_at (datetime.datetime | None):
    """

    id: str
    status: SessionStatus
    user_id: str
    scopes: list[str]
    authorization_url: None | str
    connect_url: None | str
    return_url: None | str
    connection_id: None | str
    error: None | SessionError
    metadata: SessionViewMetadata
    created_at: datetime.datetime
    expires_at: datetime.datetime
    ended_at: datetime.datetime | None
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.session_error import SessionError

        id = self.id

        status = self.status.value

        user_id = self.user_id

        scopes = self.scopes

        authorization_url: None | str
        authorization_url = self.authorization_url

        connect_url: None | str
        connect_url = self.connect_url

        return_url: None | str
        return_url = self.return_url

        connection_id: None | str
        connection_id = self.connection_id

        error: dict[str, Any] | None
        if isinstance(self.error, SessionError):
            error = self.error.to_dict()
        else:
            error = self.error

        metadata = self.metadata.to_dict()

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
                "user_id": user_id,
                "scopes": scopes,
                "authorization_url": authorization_url,
                "connect_url": connect_url,
                "return_url": return_url,
                "connection_id": connection_id,
                "error": error,
                "metadata": metadata,
                "created_at": created_at,
                "expires_at": expires_at,
                "ended_at": ended_at,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.session_error import SessionError
        from ..models.session_view_metadata import SessionViewMetadata

        d = dict(src_dict)
        id = d.pop("id")

        status = SessionStatus(d.pop("status"))

        user_id = d.pop("user_id")

        scopes = cast(list[str], d.pop("scopes"))

        def _parse_authorization_url(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        authorization_url = _parse_authorization_url(d.pop("authorization_url"))

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

        def _parse_connection_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        connection_id = _parse_connection_id(d.pop("connection_id"))

        def _parse_error(data: object) -> None | SessionError:
            if data is None:
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                error_type_0 = SessionError.from_dict(data)

                return error_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | SessionError, data)

        error = _parse_error(d.pop("error"))

        metadata = SessionViewMetadata.from_dict(d.pop("metadata"))

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

        session_view = cls(
            id=id,
            status=status,
            user_id=user_id,
            scopes=scopes,
            authorization_url=authorization_url,
            connect_url=connect_url,
            return_url=return_url,
            connection_id=connection_id,
            error=error,
            metadata=metadata,
            created_at=created_at,
            expires_at=expires_at,
            ended_at=ended_at,
        )

        session_view.additional_properties = d
        return session_view

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
