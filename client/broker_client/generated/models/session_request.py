from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.session_request_metadata_type_0 import SessionRequestMetadataType0


T = TypeVar("T", bound="SessionRequest")


@_attrs_define
class SessionRequest:
    """What to link.

    Attributes:
        user_id (str): Your own id of the user.
        scopes (list[str] | None | Unset): The scopes to request; by default those that the broker is configured with.
            `openid` is always requested.
        return_url (None | str | Unset): Where the browser goes afterwards, with `session_id` and `status`; must be on
            the allow-list.
        connection_id (None | str | Unset): Renew this connection; it keeps its id.
        require_confirmation (bool | None | Unset): Keep the link unusable until it is confirmed with the browser's
            code. Default: False.
        metadata (None | SessionRequestMetadataType0 | Unset): Kept with the session and its connection.
    """

    user_id: str
    scopes: list[str] | None | Unset = UNSET
    return_url: None | str | Unset = UNSET
    connection_id: None | str | Unset = UNSET
    require_confirmation: bool | None | Unset = False
    metadata: None | SessionRequestMetadataType0 | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        from ..models.session_request_metadata_type_0 import SessionRequestMetadataType0

        user_id = self.user_id

        scopes: list[str] | None | Unset
        if isinstance(self.scopes, Unset):
            scopes = UNSET
        elif isinstance(self.scopes, list):
            scopes = self.scopes

        else:
            scopes = self.scopes

        return_url: None | str | Unset
        if isinstance(self.return_url, Unset):
            return_url = UNSET
        else:
            return_url = self.return_url

        connection_id: None | str | Unset
        if isinstance(self.connection_id, Unset):
            connection_id = UNSET
        else:
            connection_id = self.connection_id

        require_confirmation: bool | None | Unset
        if isinstance(self.require_confirmation, Unset):
            require_confirmation = UNSET
        else:
            require_confirmation = self.require_confirmation

        metadata: dict[str, Any] | None | Unset
        if isinstance(self.metadata, Unset):
            metadata = UNSET
        elif isinstance(self.metadata, SessionRequestMetadataType0):
            metadata = self.metadata.to_dict()
        else:
            metadata = self.metadata

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "user_id": user_id,
            }
        )
        if scopes is not UNSET:
            field_dict["scopes"] = scopes
        if return_url is not UNSET:
            field_dict["return_url"] = return_url
        if connection_id is not UNSET:
            field_dict["connection_id"] = connection_id
        if require_confirmation is not UNSET:
            field_dict["require_confirmation"] = require_confirmation
        if metadata is not UNSET:
            field_dict["metadata"] = metadata

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.session_request_metadata_type_0 import SessionRequestMetadataType0

        d = dict(src_dict)
        user_id = d.pop("user_id")

        def _parse_scopes(data: object) -> list[str] | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                scopes_type_0 = cast(list[str], data)

                return scopes_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[str] | None | Unset, data)

        scopes = _parse_scopes(d.pop("scopes", UNSET))

        def _parse_return_url(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        return_url = _parse_return_url(d.pop("return_url", UNSET))

        def _parse_connection_id(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        connection_id = _parse_connection_id(d.pop("connection_id", UNSET))

        def _parse_require_confirmation(data: object) -> bool | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(bool | None | Unset, data)

        require_confirmation = _parse_require_confirmation(
            d.pop("require_confirmation", UNSET)
        )

        def _parse_metadata(data: object) -> None | SessionRequestMetadataType0 | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                metadata_type_0 = SessionRequestMetadataType0.from_dict(data)

                return metadata_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | SessionRequestMetadataType0 | Unset, data)

        metadata = _parse_metadata(d.pop("metadata", UNSET))

        session_request = cls(
            user_id=user_id,
            scopes=scopes,
            return_url=return_url,
            connection_id=connection_id,
            require_confirmation=require_confirmation,
            metadata=metadata,
        )

        return session_request
