"""Signatures, judged by the reference library of Standard Webhooks."""

import time

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from app.webhooks.signing import new_secret, signed_headers

BODY = '{"type": "session.completed", "data": {"user_id": "ünser-42"}}'.encode()


def test_a_receiver_accepts_what_was_signed() -> None:
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
def test_a_receiver_refuses_what_was_changed(body: bytes, changes: dict[str, str]) -> None:
    secret = new_secret()
    headers = signed_headers([secret], "evt_1", int(time.time()), BODY) | changes
    with pytest.raises(WebhookVerificationError):
        Webhook(secret.get_secret_value()).verify(body, headers)


def test_while_a_secret_is_replaced_either_is_enough_and_no_other() -> None:
    new, old, other = new_secret(), new_secret(), new_secret()
    headers = signed_headers([new, old], "evt_1", int(time.time()), BODY)
    for secret in (new, old):
        assert Webhook(secret.get_secret_value()).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(other.get_secret_value()).verify(BODY, headers)


def test_secrets_have_the_form_of_the_standard_and_do_not_print() -> None:
    secret = new_secret()
    assert secret.get_secret_value().startswith("whsec_")
    assert secret.get_secret_value() not in repr(secret)
    assert secret != new_secret()
