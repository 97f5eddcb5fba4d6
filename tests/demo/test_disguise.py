from app.demo.disguise import Disguise


def test_what_was_hidden_is_shown_by_its_length_only() -> None:
    disguise = Disguise()
    assert disguise.hide("a+b/c=") == "a+b/c="
    assert disguise.apply("x a+b/c= y a%2Bb/c%3D z a%2Bb%2Fc%3D") == " ".join(
        ["x", "••• (6 characters)", "y", "••• (6 characters)", "z", "••• (6 characters)"]
    )


def test_a_secret_that_contains_another_leaves_nothing_of_itself() -> None:
    disguise = Disguise()
    disguise.hide("secret")
    disguise.hide("a-secret-longer")
    assert disguise.apply("a-secret-longer") == "••• (15 characters)"


def test_the_parameters_that_only_bank_browser_and_broker_may_know_are_hidden() -> None:
    disguise = Disguise()
    url = disguise.hide_parameters("http://bank/authorize?client_id=c&state=s1&nonce=n1&code_challenge=h1&code=d1")
    assert disguise.apply(url) == (
        "http://bank/authorize?client_id=c&state=••• (2 characters)&nonce=••• (2 characters)"
        "&code_challenge=••• (2 characters)&code=••• (2 characters)"
    )


def test_nothing_hidden_means_nothing_changed() -> None:
    disguise = Disguise()
    disguise.hide("")
    assert disguise.apply("text") == "text"
