import structlog

from app.errors import DatabaseUnavailable
from app.services.insist import insist


async def test_it_repeats_through_outages_and_until_there_is_a_result() -> None:
    answers: list[str | Exception | None] = [DatabaseUnavailable("away"), None, DatabaseUnavailable("away"), "saved"]

    async def work() -> str | None:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with structlog.testing.capture_logs() as logs:
        assert await insist(work, "con_1") == "saved"
    assert [(line["event"], line["about"]) for line in logs] == [("waiting_for_database", "con_1")] * 2
