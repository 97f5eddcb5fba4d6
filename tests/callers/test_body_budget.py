import pytest

from app.callers.body_budget import BodyBudget, BodyLimits
from app.errors import BrokerUnavailable, RateLimited


def test_the_bytes_of_one_tenant_and_of_all_tenants_are_limited() -> None:
    budget = BodyBudget(BodyLimits(total=100, per_tenant=60))
    budget.reserve("a", 60)
    with pytest.raises(RateLimited):
        budget.reserve("a", 1)
    budget.reserve("b", 40)
    with pytest.raises(BrokerUnavailable):
        budget.reserve("c", 1)
    budget.release("a", 60)
    budget.reserve("c", 60)
    budget.release("b", 40)
    budget.release("c", 60)
    budget.reserve("a", 60)
