"""Responses are lost after the bank has rotated the token. Only the lost response contained the new token."""

from chaos.load import summary
from chaos.stage import SHORT_LEASES, Stage

_GRACE = 300
# So few that no circuit breaker opens.
_COUNT = 2


async def lost_answers(stage: Stage) -> None:
    """The outcome is recorded as unknown. A second attempt after the lease succeeds, or reports the loss."""
    replicas = await stage.replicas(SHORT_LEASES)
    for grace, expected in ((0, "refresh_outcome_lost"), (_GRACE, "refreshed")):
        # While the old access token is valid, queries succeed.
        expired, expiring = await stage.link(_COUNT), await stage.link(_COUNT, seconds_left=25)
        links = expired + expiring
        await stage.cluster.bank.set_faults(refresh_reuse_grace=grace, token={"lose_answer": True, "times": len(links)})
        answers = [
            await stage.cluster.caller.query(replicas[number % len(replicas)], link)
            for number, link in enumerate(links)
        ]
        stage.log(f"grace {grace} s: {summary(answers)}")
        stage.expect(all(answer.status == 504 for answer in answers[:_COUNT]), "an unknown outcome did not return 504")
        stage.expect(
            all(answer.is_good for answer in answers[_COUNT:]), "a valid access token was not used: " + summary(answers)
        )
        outcomes = await stage.cluster.links.outcomes(links)
        stage.expect(outcomes == ["unknown"] * len(links), f"lost answers were recorded as {set(outcomes)}")
        stage.unavoidable_losses += 0 if grace else len(links)
        for link in expiring:
            await stage.expire(link)
        for link in links:
            await stage.query_until_final(link)
        outcomes = (await stage.cluster.links.outcomes(links))[len(links) :]
        stage.expect(outcomes == [expected] * len(links), f"with a grace of {grace} s the second try is {outcomes}")
