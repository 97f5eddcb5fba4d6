import pytest

from app.base.strict_json import is_storable_in_postgresql, parse_json


@pytest.mark.parametrize("text", ["", "{", b"\xff", "[" * 100_000])
def test_anything_but_json_is_refused_with_one_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        parse_json(text)


@pytest.mark.parametrize(
    "text", ['{"a": 1, "a": 2}', '{"b": {"a": 1, "a": 1}}', "NaN", "[Infinity]", '"é"'.encode("latin-1")]
)
def test_strict_parsing_refuses_what_readers_understand_differently(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        parse_json(text, strict=True)


def test_strict_parsing_accepts_ordinary_json() -> None:
    assert parse_json('{"a": [1, {"a": "é"}]}'.encode(), strict=True) == {"a": [1, {"a": "é"}]}


@pytest.mark.parametrize(("text", "is_storable"), [("é😀", True), ("", True), ("a\x00", False), ("a\ud800", False)])
def test_texts_that_postgresql_cannot_store_are_recognised(text: str, is_storable: bool) -> None:
    assert is_storable_in_postgresql(text) is is_storable
