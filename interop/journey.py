"""Runs all steps of one variant in order."""

from chaos.processes import Child
from chaos.replicas import BROKER
from chaos.waiting import until
from interop import steps
from interop.report import Report, expect
from interop.steps import VariantRun


async def run_journey(report: Report, run: VariantRun) -> None:
    """Run all steps. Raises CheckFailed at the first failure."""
    with report.step("broker doctor reports no problem"):
        await _run_doctor(run)
    with report.step("the authorization URL has the expected parameters and no others"):
        await steps.check_authorization_url(run)
    with report.step("session, login, consent, callback, id_token"):
        connection_id = await steps.link_account(run)
    with report.step("a query returns data"):
        await run.broker.expect_answer(connection_id, subject=steps.SUBJECT, version=1)
    with report.step("a cancelled login"):
        await steps.cancel_login(run)
    with report.step(f"a rejected token: {steps.CONCURRENT_QUERIES} queries, one refresh with rotation"):
        await steps.check_refresh_after_rejection(run, connection_id)
    with report.step("an expiring token is refreshed before it is sent"):
        await steps.check_refresh_before_expiry(run, connection_id)
    with report.step("a login after a rotation of the provider's signing key"):
        await steps.check_signing_key_rotation(run)
    if run.variant.fapi:
        with report.step("a token without a DPoP proof is rejected"):
            await steps.check_token_is_bound(run, connection_id)
        with report.step("a new DPoP nonce of the GraphQL server"):
            await steps.check_nonce_rotation(run, connection_id)
    with report.step("reuse of a refresh token is detected and ends the consent"):
        await steps.check_refresh_token_reuse(run, connection_id)
    with report.step("a new login renews the connection in place"):
        await steps.check_renewal(run, connection_id)
    with report.step("disconnecting revokes the tokens at the provider"):
        await steps.check_revocation(run, connection_id)


async def _run_doctor(run: VariantRun) -> None:
    """Run `broker doctor` as an operator does, with the settings of the broker."""
    log = run.harness.directory / f"doctor-{run.variant.client_id}.log"
    log.unlink(missing_ok=True)
    environment = run.harness.environment(run.variant, run.servers)
    child = await Child.start(BROKER, "doctor", environment=environment, log=log)
    await until("broker doctor", lambda: not child.is_alive)
    output = child.last_output(40)
    # The variants share one database, in which doctor rightly reports the connections of the others.
    failures = [line for line in output.splitlines() if "FAIL" in line and "linked by other clients" not in line]
    expect(not failures and "graphql:" in output, output)
