from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.graph_ql_error_errors_item_extensions import (
        GraphQLErrorErrorsItemExtensions,
    )


T = TypeVar("T", bound="GraphQLErrorErrorsItem")


@_attrs_define
class GraphQLErrorErrorsItem:
    """
    Attributes:
        message (str):
        extensions (GraphQLErrorErrorsItemExtensions | Unset):
    """

    message: str
    extensions: GraphQLErrorErrorsItemExtensions | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        message = self.message

        extensions: dict[str, Any] | Unset = UNSET
        if not isinstance(self.extensions, Unset):
            extensions = self.extensions.to_dict()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "message": message,
            }
        )
        if extensions is not UNSET:
            field_dict["extensions"] = extensions

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.graph_ql_error_errors_item_extensions import (
            GraphQLErrorErrorsItemExtensions,
        )

        d = dict(src_dict)
        message = d.pop("message")

        _extensions = d.pop("extensions", UNSET)
        extensions: GraphQLErrorErrorsItemExtensions | Unset
        if isinstance(_extensions, Unset):
            extensions = UNSET
        else:
            extensions = GraphQLErrorErrorsItemExtensions.from_dict(_extensions)

        graph_ql_error_errors_item = cls(
            message=message,
            extensions=extensions,
        )

        graph_ql_error_errors_item.additional_properties = d
        return graph_ql_error_errors_item

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
