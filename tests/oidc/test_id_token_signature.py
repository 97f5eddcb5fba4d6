import asyncio
import hashlib
import hmac
import itertools
import json
from collections.abc import Callable

import pytest
from joserfc.jwk import ECKey, RSAKey

from app.errors import BankError
from tests.oidc.issuer import (
    Issuer,
    encoded,
    signed,
    unsigned,
)
from tests.support.hostile import json_reply


async def test_an_unsigned_token_is_refused(issuer: Issuer) -> None:
    for algorithm in ("none", "None", "NONE", ""):
        assert await issuer.refusal_of(unsigned({"alg": algorithm}, issuer.claims())) == "id_token_algorithm"
    assert await issuer.refusal_of(unsigned({"alg": "none", "kid": "one"}, issuer.claims())) == "id_token_algorithm"


async def test_the_public_key_is_not_accepted_as_a_shared_secret(issuer: Issuer) -> None:
    document = issuer.key.as_dict(private=False)
    for secret in (issuer.key.as_pem(private=False), issuer.key.as_der(private=False), json.dumps(document).encode()):
        for algorithm, method in (("HS256", hashlib.sha256), ("HS512", hashlib.sha512)):
            signing_input = encoded({"alg": algorithm, "kid": "one"}) + b"." + encoded(issuer.claims())
            forged = signing_input + b"." + encoded(hmac.digest(secret, signing_input, method))
            assert await issuer.refusal_of(forged.decode()) == "id_token_algorithm"


async def test_an_algorithm_that_is_not_on_the_list_is_refused(issuer: Issuer) -> None:
    assert await issuer.refusal_of(signed(issuer.claims(), issuer.key, {"alg": "RS512"})) == "id_token_algorithm"


async def test_the_algorithm_must_fit_the_key(issuer: Issuer) -> None:
    assert await issuer.refusal_of(signed(issuer.claims(), issuer.key, {"alg": "PS256"})) == "id_token_key"
    elliptic = ECKey.generate_key("P-256", {"kid": "one"})
    assert await issuer.refusal_of(signed(issuer.claims(), elliptic)) == "id_token_key"


async def test_other_allowed_algorithms_pass_with_keys_of_their_type(issuer: Issuer) -> None:
    issuer.publish(issuer.key, alg=None)
    assert await issuer.accepts(signed(issuer.claims(), issuer.key, {"alg": "PS256"}))
    elliptic = ECKey.generate_key("P-256", {"kid": "elliptic"})
    issuer.publish(elliptic)
    assert await issuer.accepts(signed(issuer.claims(), elliptic))


async def test_an_encryption_key_is_not_used_for_signatures(issuer: Issuer) -> None:
    issuer.publish(issuer.key, use="enc")
    assert await issuer.refusal_of(signed(issuer.claims(), issuer.key)) == "id_token_key"


async def test_another_key_with_the_same_id_is_refused(issuer: Issuer, other_key: RSAKey) -> None:
    forged = signed(issuer.claims(), other_key, {"kid": "one"})
    assert await issuer.refusal_of(forged) == "id_token_signature"


async def test_an_unknown_key_is_refused_after_the_keys_were_fetched_again(issuer: Issuer, other_key: RSAKey) -> None:
    assert await issuer.refusal_of(signed(issuer.claims(), other_key)) == "id_token_key"
    assert issuer.hostile.count("/jwks") == 2


async def test_a_key_in_the_token_is_not_trusted(issuer: Issuer, other_key: RSAKey) -> None:
    for header in (
        {"jwk": other_key.as_dict(private=False)},
        {"jku": f"{issuer.hostile.url}/evil"},
        {"x5u": f"{issuer.hostile.url}/evil"},
    ):
        forged = signed(issuer.claims(), other_key, {"kid": "one", **header})
        assert await issuer.refusal_of(forged) in ("id_token_signature", "id_token_malformed")
    assert issuer.hostile.count("/evil") == 0


async def test_without_a_key_id_the_only_key_is_used(issuer: Issuer) -> None:
    assert await issuer.accepts(signed(issuer.claims(), issuer.key, {"kid": None}))


@pytest.mark.parametrize("kid", [None, ""])
async def test_without_a_key_id_each_suitable_key_is_tried(issuer: Issuer, other_key: RSAKey, kid: str | None) -> None:
    unpublished = RSAKey.generate_key(2048)
    issuer.publish(ECKey.generate_key("P-256"), ECKey.generate_key("P-384"), other_key, issuer.key)
    assert await issuer.accepts(signed(issuer.claims(), issuer.key, {"kid": kid}))
    assert await issuer.accepts(signed(issuer.claims(), other_key, {"kid": kid}))
    assert await issuer.refusal_of(signed(issuer.claims(), unpublished, {"kid": kid})) == "id_token_signature"


async def test_a_key_that_is_published_twice_is_used(issuer: Issuer) -> None:
    issuer.publish(issuer.key, issuer.key)
    assert await issuer.accepts(signed(issuer.claims(), issuer.key))
    assert await issuer.accepts(signed(issuer.claims(), issuer.key, {"kid": None}))


async def test_two_keys_with_the_same_id_are_both_tried(issuer: Issuer, other_key: RSAKey) -> None:
    issuer.publish(issuer.key, other_key, kid="one")
    for key in (issuer.key, other_key):
        assert await issuer.accepts(signed(issuer.claims(), key, {"kid": "one"}))


async def test_a_key_that_is_published_without_an_id_is_used_for_a_token_that_has_one(issuer: Issuer) -> None:
    issuer.publish(issuer.key, kid=None)
    assert await issuer.accepts(signed(issuer.claims(), issuer.key, {"kid": "one"}))


@pytest.mark.parametrize("kid", ["one", None])
async def test_a_key_that_was_replaced_under_its_old_id_is_found(
    issuer: Issuer, other_key: RSAKey, kid: str | None
) -> None:
    assert await issuer.accepts(signed(issuer.claims(), issuer.key, {"kid": kid}))
    issuer.publish(other_key, kid=kid)
    assert await issuer.accepts(signed(issuer.claims(), other_key, {"kid": kid}))
    assert issuer.hostile.count("/jwks") == 2
    assert await issuer.refusal_of(signed(issuer.claims(), issuer.key, {"kid": kid})) == "id_token_signature"


async def test_invalid_signatures_cause_one_request_for_the_keys(issuer: Issuer, other_key: RSAKey) -> None:
    assert await issuer.accepts(signed(issuer.claims(), issuer.key))
    forged = [issuer.refusal_of(signed(issuer.claims(), other_key, {"kid": "one"})) for _ in range(20)]
    assert set(await asyncio.gather(*forged)) == {"id_token_signature"}
    assert issuer.hostile.count("/jwks") == 2


async def test_a_withdrawn_key_is_refused_after_five_minutes_at_the_latest(issuer: Issuer, other_key: RSAKey) -> None:
    assert await issuer.accepts(signed(issuer.claims(), issuer.key))
    issuer.publish(other_key)
    issuer.clock.advance(301)
    assert await issuer.refusal_of(signed(issuer.claims(), issuer.key)) == "id_token_key"


async def test_a_rotated_key_is_found(issuer: Issuer, other_key: RSAKey) -> None:
    assert await issuer.accepts(signed(issuer.claims(), issuer.key))
    issuer.publish(other_key)
    issuer.clock.advance(2)
    assert await issuer.accepts(signed(issuer.claims(), other_key))
    assert await issuer.refusal_of(signed(issuer.claims(), issuer.key)) == "id_token_key"


async def test_an_outage_of_the_jwks_is_not_a_refusal_of_the_id_token(issuer: Issuer) -> None:
    issuer.hostile.replies["/jwks"] = json_reply({}, 503)
    with pytest.raises(BankError):
        await issuer.accepts(signed(issuer.claims(), issuer.key))


Forge = Callable[[Issuer], str]


@pytest.mark.parametrize(
    "forge",
    [
        lambda _: "",
        lambda _: "a.b",
        lambda _: "a.b.c",
        lambda _: "....",
        lambda issuer: signed(issuer.claims(), issuer.key) + ".x",
        lambda issuer: unsigned([], issuer.claims()),
        lambda issuer: unsigned(["alg"], issuer.claims()),
        lambda issuer: unsigned("alg", issuer.claims()),
        lambda issuer: unsigned(b"\xff", issuer.claims()),
        lambda issuer: unsigned(b"", issuer.claims()),
        lambda issuer: signed([1], issuer.key),
        lambda issuer: signed(b"not JSON", issuer.key),
        lambda issuer: signed(b"\xff", issuer.key),
        lambda issuer: signed(b"", issuer.key),
        lambda issuer: unsigned({"alg": None}, issuer.claims()),
        lambda issuer: unsigned({"kid": "one"}, issuer.claims()),
        lambda issuer: unsigned({"alg": "RS256", "kid": ["one"]}, issuer.claims()),
        lambda issuer: unsigned({"alg": "RS256", "kid": "one", "crit": ["x"], "x": 1}, issuer.claims()),
        lambda issuer: unsigned({"alg": "RS256", "kid": "one", "b64": False}, issuer.claims()),
        lambda issuer: unsigned({"alg": "RS256", "kid": "one"}, issuer.claims(), b"\x00" * 256),
        lambda issuer: unsigned({"alg": "RS256", "kid": "one"}, issuer.claims(), b""),
        lambda issuer: unsigned({"alg": "RS256", "kid": "one"}, issuer.claims()) + "\u00e9",
        lambda issuer: "\ud800." + unsigned({"alg": "RS256", "kid": "one"}, issuer.claims()),
        lambda issuer: signed(b"[" * 100_000, issuer.key),
        lambda issuer: unsigned(b"[" * 100_000, {}),
    ],
    ids=itertools.count(),
)
async def test_any_text_is_refused_with_a_code(issuer: Issuer, forge: Forge) -> None:
    assert (await issuer.refusal_of(forge(issuer))).startswith("id_token_")


@pytest.mark.parametrize("parameters", [{"ver": "1.0"}, {"x5c": ["x" * 2_000]}])
async def test_unknown_header_parameters_are_ignored(issuer: Issuer, parameters: dict[str, object]) -> None:
    assert await issuer.accepts(signed(issuer.claims(), issuer.key, parameters)) == "the user"


@pytest.mark.parametrize("algorithm", [["RS256"], {}])
async def test_an_algorithm_that_is_not_a_string_is_refused(issuer: Issuer, algorithm: object) -> None:
    token = unsigned({"alg": algorithm, "kid": "one"}, issuer.claims())
    assert (await issuer.refusal_of(token)).startswith("id_token_")


async def test_a_changed_claim_invalidates_the_signature(issuer: Issuer) -> None:
    header, _, signature = signed(issuer.claims(), issuer.key).split(".")
    forged = f"{header}.{encoded(issuer.claims(sub='another')).decode()}.{signature}"
    assert await issuer.refusal_of(forged) == "id_token_signature"
