"""Types that the schemas of all topics share: bounded texts, metadata, pages and problems."""

import json
from collections.abc import Iterator
from typing import Annotated, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, StringConstraints

from app.base.strict_json import is_storable_in_postgresql

Item = TypeVar("Item")
EXAMPLE_TIME = "2026-03-01T09:30:00Z"
# PostgreSQL writes out the zeros of an exponent. Larger integers are not exact in every reader (RFC 8259 section 6).
_MIN_NUMBER, _MAX_NUMBER = 1e-15, 2**53
_MAX_METADATA_LENGTH = 4_096


def storable_text(value: str) -> str:
    """Raise ValueError unless PostgreSQL can store the text."""
    if not is_storable_in_postgresql(value):
        raise ValueError("must not contain U+0000 or half of a surrogate pair")
    return value


def _check_metadata(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if any(number and not _MIN_NUMBER <= abs(number) <= _MAX_NUMBER for number in _numbers(value)):
        raise ValueError(f"may contain numbers from {_MIN_NUMBER} to {_MAX_NUMBER}; send others as text")
    text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    if len(text) > _MAX_METADATA_LENGTH:
        raise ValueError(f"may have {_MAX_METADATA_LENGTH} characters as JSON")
    if "\\u0000" in text or not is_storable_in_postgresql(text):
        raise ValueError("must not contain U+0000 or half of a surrogate pair")
    return value


def _numbers(value: JsonValue) -> Iterator[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for child in value:
            yield from _numbers(child)
    elif isinstance(value, int | float):
        yield value


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic takes it for a refusal
    return value


# A number; no string that contains one, and no boolean.
Number = BeforeValidator(_number)
Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=255),
    AfterValidator(storable_text),
    Field(json_schema_extra={"pattern": "^[^\\u0000]*$"}),
]
# RFC 6749 section 3.3: printable ASCII without space, quote and backslash.
Scope = Annotated[str, StringConstraints(pattern=r"^[\x21\x23-\x5B\x5D-\x7E]{1,64}$")]
Metadata = Annotated[dict[str, JsonValue], AfterValidator(_check_metadata)]


class Strict(BaseModel):
    """A request body. Unknown members are rejected. Null is the same as leaving an optional member out."""

    model_config = ConfigDict(extra="forbid")


class PageView(BaseModel, Generic[Item]):
    """Some items, and the cursor of the next page."""

    items: list[Item]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null at the end.")


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str = Field(examples=["urn:stitch-token-broker:error:permission_denied"])
    title: str
    status: int
    detail: str = Field(description="What is wrong and what to do, for people.")
    code: str = Field(description="Stable, for programs.")
    request_id: str = Field(description="The same as in the broker's log.")
