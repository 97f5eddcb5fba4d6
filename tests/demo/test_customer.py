import httpx
import pytest

from app.demo.customer import Customer
from app.demo.expectations import Unexpected

LOGIN = {"username": "thandi", "password": "thandi-123"}
CANCEL = '<form method="post" action="/cancel"><button name="decision" value="cancel">Cancel</button></form>'


def customer_whose_bank_answers(status: int = 200) -> tuple[Customer, list[httpx.Request]]:
    """A customer at a browser that reaches nothing but a list of its requests."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(status)

    customer = Customer(LOGIN, {("bank", "fnb"), ("decision", "allow")})
    customer.browser = httpx.Client(transport=httpx.MockTransport(answer))
    return customer, seen


def page(html: str) -> httpx.Response:
    return httpx.Response(200, text=html, request=httpx.Request("GET", "http://bank.test/connect/authorize?x=1"))


def test_the_form_that_can_be_filled_in_is_chosen_not_the_one_that_cancels() -> None:
    customer, seen = customer_whose_bank_answers()
    form = '<form method="post" action="login"><input name="username"><input name="password"><button>Go</button></form>'
    sent = customer.submit(page(CANCEL + form))
    assert (sent.method, sent.url) == ("POST", "http://bank.test/connect/login")
    assert seen[0].content == b"username=thandi&password=thandi-123"


def test_the_button_that_the_customer_wants_is_pressed_among_others() -> None:
    customer, seen = customer_whose_bank_answers()
    buttons = "".join(f'<button name="bank" value="{bank}">x</button>' for bank in ("capitec", "fnb"))
    hidden = '<input type="hidden" name="interaction" value="1">'
    customer.submit(page(f'<form method="post" action="/login/bank">{hidden}{buttons}</form>{CANCEL}'))
    assert seen[0].content == b"interaction=1&bank=fnb"


def test_several_values_of_one_name_are_all_sent() -> None:
    customer, seen = customer_whose_bank_answers()
    boxes = "".join(f'<input type="checkbox" name="account" value="{number}" checked>' for number in (1, 2))
    customer.submit(page(f'<form method="post" action="/c">{boxes}<button name="decision" value="allow"></form>'))
    assert seen[0].content == b"account=1&account=2&decision=allow"


def test_a_form_of_method_get_is_sent_in_the_address() -> None:
    customer, seen = customer_whose_bank_answers()
    customer.submit(page('<form action="/search"><button name="bank" value="fnb">x</button></form>'))
    assert str(seen[0].url) == "http://bank.test/search?bank=fnb"


def test_a_redirect_is_returned_and_not_followed() -> None:
    customer, seen = customer_whose_bank_answers(303)
    sent = customer.submit(page('<form method="post" action="/c"><button name="decision" value="allow"></form>'))
    assert (sent.response.status_code, len(seen)) == (303, 1)


@pytest.mark.parametrize(
    "html",
    [
        pytest.param("<h1>Out of order</h1>", id="no form"),
        pytest.param(CANCEL, id="only one that cancels"),
        pytest.param('<form><input name="pin"><button>Go</button></form>', id="a field that the customer cannot fill"),
    ],
)
def test_a_page_that_the_customer_cannot_go_on_from_is_reported(html: str) -> None:
    customer, seen = customer_whose_bank_answers()
    with pytest.raises(Unexpected, match="a form that the customer can fill in"):
        customer.submit(page(html))
    assert not seen
