from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.audit_event_view_detail import AuditEventViewDetail


T = TypeVar("T", bound="AuditEventView")


@_attrs_define
class AuditEventView:
    """One action in the audit log.

    Attributes:
        position (int): Identifies the event: counts your tenant's events from 1, without gaps.
        occurred_at (datetime.datetime):
        actor (str): A caller's id, `broker`, or `operator` for the command line.
        action (str):
        session_id (None | str):
        connection_id (None | str):
        request_id (None | str):
        detail (AuditEventViewDetail):
        hash_ (str): SHA-256 of this event and the hash of the one before.
    """

    position: int
    occurred_at: datetime.datetime
    actor: str
    action: str
    session_id: None | str
    connection_id: None | str
    request_id: None | str
    detail: AuditEventViewDetail
    hash_: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        position = self.position

        occurred_at = self.occurred_at.isoformat()

        actor = self.actor

        action = self.action

        session_id: None | str
        session_id = self.session_id

        connection_id: None | str
        connection_id = self.connection_id

        request_id: None | str
        request_id = self.request_id

        detail = self.detail.to_dict()

        hash_ = self.hash_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "position": position,
                "occurred_at": occurred_at,
                "actor": actor,
                "action": action,
                "session_id": session_id,
                "connection_id": connection_id,
                "request_id": request_id,
                "detail": detail,
                "hash": hash_,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.audit_event_view_detail import AuditEventViewDetail

        d = dict(src_dict)
        position = d.pop("position")

        occurred_at = datetime.datetime.fromisoformat(d.pop("occurred_at"))

        actor = d.pop("actor")

        action = d.pop("action")

        def _parse_session_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        session_id = _parse_session_id(d.pop("session_id"))

        def _parse_connection_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        connection_id = _parse_connection_id(d.pop("connection_id"))

        def _parse_request_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        request_id = _parse_request_id(d.pop("request_id"))

        detail = AuditEventViewDetail.from_dict(d.pop("detail"))

        hash_ = d.pop("hash")

        audit_event_view = cls(
            position=position,
            occurred_at=occurred_at,
            actor=actor,
            action=action,
            session_id=session_id,
            connection_id=connection_id,
            request_id=request_id,
            detail=detail,
            hash_=hash_,
        )

        audit_event_view.additional_properties = d
        return audit_event_view

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
