"""Answers that are lost after the bank has rotated: nobody but the lost answer knows the new token."""

from chaos.load import summary
from chaos.stage import BRISK, Stage

_GRACE = 300
_COUNT = 2
"""Few, so that no replica sees enough failures to leave the bank alone."""


async def lost_answers(stage: Stage) -> None:
    """Recorded as unknown, tried again after the lease, and then refreshed, or reported as lost."""
    replicas = await stage.replicas(BRISK)
    for grace, expected in ((0, "refresh_outcome_lost"), (_GRACE, "refreshed")):
        # As long as the old access token is good, callers notice nothing.
        expired, expiring = await stage.link(_COUNT), await stage.link(_COUNT, seconds_left=25)
        links = expired + expiring
        await stage.cluster.bank.misbehave(refresh_reuse_grace=grace, token={"lose_answer": True, "times": len(links)})
        answers = [
            await stage.cluster.caller.query(replicas[number % len(replicas)], link)
            for number, link in enumerate(links)
        ]
        stage.note(f"grace {grace} s: {summary(answers)}")
        stage.expect(
            all(answer.status == 504 for answer in answers[:_COUNT]), "an unknown outcome was not answered with 504"
        )
        stage.expect(
            all(answer.is_good for answer in answers[_COUNT:]), "a good access token was not used: " + summary(answers)
        )
        outcomes = await stage.cluster.links.outcomes(links)
        stage.expect(outcomes == ["unknown"] * len(links), f"lost answers were recorded as {set(outcomes)}")
        stage.inherent_losses += 0 if grace else len(links)
        for link in expiring:
            await stage.expire(link)
        for link in links:
            await stage.insist(link)
        outcomes = (await stage.cluster.links.outcomes(links))[len(links) :]
        stage.expect(outcomes == [expected] * len(links), f"with a grace of {grace} s the second try is {outcomes}")
