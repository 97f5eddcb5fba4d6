import pytest
from joserfc.jwk import ECKey, RSAKey

from app.errors import BankResponseInvalid
from app.oidc.jwks import parse_jwks


@pytest.fixture(scope="module")
def rsa() -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": "rsa"})


@pytest.fixture(scope="module")
def elliptic() -> ECKey:
    return ECKey.generate_key("P-256", {"kid": "ec"})


def test_only_the_public_members_of_a_published_private_key_are_imported(rsa: RSAKey, elliptic: ECKey) -> None:
    """Recovering the prime factors of a private key from `n` and `d` would block the event loop for seconds."""
    without_factors = {name: value for name, value in rsa.as_dict(private=True).items() if name not in {"p", "q"}}
    found = parse_jwks({"keys": [without_factors, elliptic.as_dict(private=True)]}).keys
    assert [(key.kid, key.is_private) for key in found] == [("rsa", False), ("ec", False)]
    assert [key.as_dict(private=False)["kid"] for key in found] == ["rsa", "ec"]


@pytest.mark.parametrize(
    "changes",
    [{"n": "A" * 1_367}, {"e": "A" * 256}, {"kid": "x" * 256}, {"n": 1}, {"n": None}, {"kty": ["RSA"]}],
    ids=["modulus", "exponent", "kid", "number", "null", "list"],
)
def test_an_oversized_or_malformed_entry_is_ignored(rsa: RSAKey, changes: dict[str, object]) -> None:
    good = rsa.as_dict(private=False)
    assert [key.kid for key in parse_jwks({"keys": [{**good, **changes}, good]}).keys] == ["rsa"]
    with pytest.raises(BankResponseInvalid):
        parse_jwks({"keys": [{**good, **changes}]})


@pytest.mark.parametrize("empty", [None, ""])
def test_a_null_or_empty_member_is_absent(rsa: RSAKey, empty: object) -> None:
    jwk = {name: value for name, value in rsa.as_dict(private=False).items() if name not in ("use", "alg")}
    (key,) = parse_jwks({"keys": [{**jwk, "use": empty, "alg": empty, "crv": empty}]}).keys
    assert (key.kid, key.get("use"), key.get("alg")) == ("rsa", None, None)


@pytest.mark.parametrize("document", [{}, {"keys": {}}, {"keys": []}, {"keys": [1, "x", None, []]}])
def test_a_document_without_keys_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(BankResponseInvalid):
        parse_jwks(document)
