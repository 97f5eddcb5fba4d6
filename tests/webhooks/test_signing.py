"""Signatures, checked by the reference library of Standard Webhooks."""

import time

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from app.webhooks.signing import new_secret, signed_headers

BODY = '{"type": "session.completed", "data": {"user_id": "ünser-42"}}'.encode()


def test_a_receiver_accepts_a_signed_message() -> None:
    secret = new_secret()
    headers = signed_headers([secret], "evt_1", int(time.time()), BODY)
    assert Webhook(secret.get_secret_value()).verify(BODY, headers)["type"] == "session.completed"


@pytest.mark.parametrize(
    ("body", "changes"),
    [
        (BODY.replace(b"42", b"43"), {}),
        (BODY, {"webhook-id": "evt_2"}),
        (BODY, {"webhook-timestamp": str(int(time.time()) - 1)}),
        (BODY, {"webhook-signature": "v1,AAAA"}),
    ],
)
def test_a_receiver_rejects_a_changed_message(body: bytes, changes: dict[str, str]) -> None:
    secret = new_secret()
    headers = signed_headers([secret], "evt_1", int(time.time()), BODY) | changes
    with pytest.raises(WebhookVerificationError):
        Webhook(secret.get_secret_value()).verify(body, headers)


def test_during_a_rotation_either_secret_verifies_and_no_other() -> None:
    new, old, other = new_secret(), new_secret(), new_secret()
    headers = signed_headers([new, old], "evt_1", int(time.time()), BODY)
    for secret in (new, old):
        assert Webhook(secret.get_secret_value()).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(other.get_secret_value()).verify(BODY, headers)


def test_secrets_have_the_standard_format_and_are_not_shown_in_their_repr() -> None:
    secret = new_secret()
    assert secret.get_secret_value().startswith("whsec_")
    assert secret.get_secret_value() not in repr(secret)
    assert secret != new_secret()
