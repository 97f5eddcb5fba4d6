import pytest

from app.callers.body_budget import BodyBudget
from app.errors import BrokerUnavailable, RateLimited


def test_a_tenant_and_all_together_keep_only_so_much() -> None:
    budget = BodyBudget(most=100, most_of_tenant=60)
    budget.take("a", 60)
    with pytest.raises(RateLimited):
        budget.take("a", 1)
    budget.take("b", 40)
    with pytest.raises(BrokerUnavailable):
        budget.take("c", 1)
    budget.give_back("a", 60)
    budget.take("c", 60)
    budget.give_back("b", 40)
    budget.give_back("c", 60)
    budget.take("a", 60)
