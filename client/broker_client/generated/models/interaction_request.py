from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="InteractionRequest")


@_attrs_define
class InteractionRequest:
    """What the bank's error USER_INTERACTION_REQUIRED says in its `extensions`.

    Attributes:
        interaction_url (str): `userInteractionUrl`: a page of the bank's, as it came.
        interaction_id (str): `id`.
        return_url (None | str | Unset): Where the browser goes afterwards, with `interaction` and `status`; must be on
            the allow-list.
    """

    interaction_url: str
    interaction_id: str
    return_url: None | str | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        interaction_url = self.interaction_url

        interaction_id = self.interaction_id

        return_url: None | str | Unset
        if isinstance(self.return_url, Unset):
            return_url = UNSET
        else:
            return_url = self.return_url

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "interaction_url": interaction_url,
                "interaction_id": interaction_id,
            }
        )
        if return_url is not UNSET:
            field_dict["return_url"] = return_url

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        interaction_url = d.pop("interaction_url")

        interaction_id = d.pop("interaction_id")

        def _parse_return_url(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        return_url = _parse_return_url(d.pop("return_url", UNSET))

        interaction_request = cls(
            interaction_url=interaction_url,
            interaction_id=interaction_id,
            return_url=return_url,
        )

        return interaction_request
