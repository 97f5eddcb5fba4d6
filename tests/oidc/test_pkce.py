import pytest

from app.errors import InvalidRequest
from app.oidc.pkce import check_verifier, code_challenge


def test_the_challenge_is_that_of_rfc_7636_appendix_b() -> None:
    assert code_challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == (
        "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    )


@pytest.mark.parametrize("verifier", ["a" * 42, "a" * 129, "a" * 43 + "+", "é" * 43, "a" * 43 + "\n", ""])
def test_a_verifier_with_another_form_is_refused(verifier: str) -> None:
    with pytest.raises(InvalidRequest):
        check_verifier(verifier)


@pytest.mark.parametrize("verifier", ["a" * 43, "a" * 128, "-._~" * 11])
def test_a_verifier_with_the_right_form_passes(verifier: str) -> None:
    check_verifier(verifier)
