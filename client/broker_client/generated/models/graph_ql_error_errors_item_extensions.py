from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.graph_ql_error_errors_item_extensions_code import (
    GraphQLErrorErrorsItemExtensionsCode,
)
from ..types import UNSET, Unset

T = TypeVar("T", bound="GraphQLErrorErrorsItemExtensions")


@_attrs_define
class GraphQLErrorErrorsItemExtensions:
    """
    Attributes:
        code (GraphQLErrorErrorsItemExtensionsCode):
        reason (str): A more specific code.
        request_id (str):
        retry_after (int | Unset): Seconds.
    """

    code: GraphQLErrorErrorsItemExtensionsCode
    reason: str
    request_id: str
    retry_after: int | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        code = self.code.value

        reason = self.reason

        request_id = self.request_id

        retry_after = self.retry_after

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "code": code,
                "reason": reason,
                "request_id": request_id,
            }
        )
        if retry_after is not UNSET:
            field_dict["retry_after"] = retry_after

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        code = GraphQLErrorErrorsItemExtensionsCode(d.pop("code"))

        reason = d.pop("reason")

        request_id = d.pop("request_id")

        retry_after = d.pop("retry_after", UNSET)

        graph_ql_error_errors_item_extensions = cls(
            code=code,
            reason=reason,
            request_id=request_id,
            retry_after=retry_after,
        )

        graph_ql_error_errors_item_extensions.additional_properties = d
        return graph_ql_error_errors_item_extensions

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
