from app.demo.redaction import Redactor


def test_a_secret_is_replaced_by_its_length() -> None:
    redactor = Redactor()
    assert redactor.add_secret("a+b/c=") == "a+b/c="
    assert redactor.redact("x a+b/c= y a%2Bb/c%3D z a%2Bb%2Fc%3D") == " ".join(
        ["x", "••• (6 characters)", "y", "••• (6 characters)", "z", "••• (6 characters)"]
    )


def test_a_secret_that_contains_another_leaves_nothing_of_itself() -> None:
    redactor = Redactor()
    redactor.add_secret("secret")
    redactor.add_secret("a-secret-longer")
    assert redactor.redact("a-secret-longer") == "••• (15 characters)"


def test_the_parameters_that_only_bank_browser_and_broker_may_know_are_hidden() -> None:
    redactor = Redactor()
    url = redactor.add_secret_parameters(
        "http://bank/authorize?client_id=c&state=s1&nonce=n1&code_challenge=h1&code=d1"
    )
    assert redactor.redact(url) == (
        "http://bank/authorize?client_id=c&state=••• (2 characters)&nonce=••• (2 characters)"
        "&code_challenge=••• (2 characters)&code=••• (2 characters)"
    )


def test_text_without_secrets_is_unchanged() -> None:
    redactor = Redactor()
    redactor.add_secret("")
    assert redactor.redact("text") == "text"
