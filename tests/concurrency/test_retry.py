from app.concurrency.retry import insist
from app.errors import ConfigurationError, DatabaseUnavailable
from tests.support.logs import logged_here


async def test_it_repeats_through_outages_and_until_there_is_a_result() -> None:
    refused = ConfigurationError("the database refuses the broker's account")
    answers: list[str | Exception | None] = [DatabaseUnavailable("away"), None, refused, "saved"]

    async def work() -> str | None:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with logged_here() as logs:
        assert await insist(work, "con_1") == "saved"
    told = [line["about"] for line in logs if line["event"] == "waiting_for_database"]
    assert told == ["con_1"] * 2
