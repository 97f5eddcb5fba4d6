from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.connection_status import ConnectionStatus

if TYPE_CHECKING:
    from ..models.connection_view_metadata import ConnectionViewMetadata


T = TypeVar("T", bound="ConnectionView")


@_attrs_define
class ConnectionView:
    """One user's consent at the bank.

    Attributes:
        id (str):
        status (ConnectionStatus): What a connection can be used for.
        user_id (str):
        scopes (list[str]): What the user granted.
        subject (str): The bank's id of the user.
        version (int): Counts the token generations, from 1.
        refreshable (bool):
        access_token_expires_at (datetime.datetime | None):
        created_at (datetime.datetime):
        last_refreshed_at (datetime.datetime | None):
        last_used_at (datetime.datetime | None):
        reauthorization_reason (None | str): `invalid_grant`, `refresh_outcome_lost` or `not_refreshable`.
        metadata (ConnectionViewMetadata):
    """

    id: str
    status: ConnectionStatus
    user_id: str
    scopes: list[str]
    subject: str
    version: int
    refreshable: bool
    access_token_expires_at: datetime.datetime | None
    created_at: datetime.datetime
    last_refreshed_at: datetime.datetime | None
    last_used_at: datetime.datetime | None
    reauthorization_reason: None | str
    metadata: ConnectionViewMetadata
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        status = self.status.value

        user_id = self.user_id

        scopes = self.scopes

        subject = self.subject

        version = self.version

        refreshable = self.refreshable

        access_token_expires_at: None | str
        if isinstance(self.access_token_expires_at, datetime.datetime):
            access_token_expires_at = self.access_token_expires_at.isoformat()
        else:
            access_token_expires_at = self.access_token_expires_at

        created_at = self.created_at.isoformat()

        last_refreshed_at: None | str
        if isinstance(self.last_refreshed_at, datetime.datetime):
            last_refreshed_at = self.last_refreshed_at.isoformat()
        else:
            last_refreshed_at = self.last_refreshed_at

        last_used_at: None | str
        if isinstance(self.last_used_at, datetime.datetime):
            last_used_at = self.last_used_at.isoformat()
        else:
            last_used_at = self.last_used_at

        reauthorization_reason: None | str
        reauthorization_reason = self.reauthorization_reason

        metadata = self.metadata.to_dict()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "status": status,
                "user_id": user_id,
                "scopes": scopes,
                "subject": subject,
                "version": version,
                "refreshable": refreshable,
                "access_token_expires_at": access_token_expires_at,
                "created_at": created_at,
                "last_refreshed_at": last_refreshed_at,
                "last_used_at": last_used_at,
                "reauthorization_reason": reauthorization_reason,
                "metadata": metadata,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.connection_view_metadata import ConnectionViewMetadata

        d = dict(src_dict)
        id = d.pop("id")

        status = ConnectionStatus(d.pop("status"))

        user_id = d.pop("user_id")

        scopes = cast(list[str], d.pop("scopes"))

        subject = d.pop("subject")

        version = d.pop("version")

        refreshable = d.pop("refreshable")

        def _parse_access_token_expires_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                access_token_expires_at_type_0 = datetime.datetime.fromisoformat(data)

                return access_token_expires_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        access_token_expires_at = _parse_access_token_expires_at(
            d.pop("access_token_expires_at")
        )

        created_at = datetime.datetime.fromisoformat(d.pop("created_at"))

        def _parse_last_refreshed_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                last_refreshed_at_type_0 = datetime.datetime.fromisoformat(data)

                return last_refreshed_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        last_refreshed_at = _parse_last_refreshed_at(d.pop("last_refreshed_at"))

        def _parse_last_used_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                last_used_at_type_0 = datetime.datetime.fromisoformat(data)

                return last_used_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        last_used_at = _parse_last_used_at(d.pop("last_used_at"))

        def _parse_reauthorization_reason(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        reauthorization_reason = _parse_reauthorization_reason(
            d.pop("reauthorization_reason")
        )

        metadata = ConnectionViewMetadata.from_dict(d.pop("metadata"))

        connection_view = cls(
            id=id,
            status=status,
            user_id=user_id,
            scopes=scopes,
            subject=subject,
            version=version,
            refreshable=refreshable,
            access_token_expires_at=access_token_expires_at,
            created_at=created_at,
            last_refreshed_at=last_refreshed_at,
            last_used_at=last_used_at,
            reauthorization_reason=reauthorization_reason,
            metadata=metadata,
        )

        connection_view.additional_properties = d
        return connection_view

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
