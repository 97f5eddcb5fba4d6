from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="TokenRequest")


@_attrs_define
class TokenRequest:
    """How long the token must be valid.

    Attributes:
        min_ttl (int | None | Unset): In seconds. A token with less time left is refreshed first, if the bank's tokens
            live that long. Default: 0.
    """

    min_ttl: int | None | Unset = 0

    def to_dict(self) -> dict[str, Any]:
        min_ttl: int | None | Unset
        if isinstance(self.min_ttl, Unset):
            min_ttl = UNSET
        else:
            min_ttl = self.min_ttl

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if min_ttl is not UNSET:
            field_dict["min_ttl"] = min_ttl

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)

        def _parse_min_ttl(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        min_ttl = _parse_min_ttl(d.pop("min_ttl", UNSET))

        token_request = cls(
            min_ttl=min_ttl,
        )

        return token_request
