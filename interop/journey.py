"""The order of the steps."""

from chaos.processes import Child
from chaos.replicas import BROKER
from chaos.waiting import until
from interop import steps
from interop.report import Report, expect
from interop.steps import Scene


async def walk(report: Report, scene: Scene) -> None:
    """Play all steps. Raises Failed with the first that does not hold."""
    with report.step("broker doctor finds nothing wrong"):
        await _doctor(scene)
    with report.step("the address of the login carries what it must, and no more"):
        await steps.the_browser_carries_what_it_must(scene)
    with report.step("session, login, consent, callback, id_token"):
        connection_id = await steps.an_account_is_linked(scene)
    with report.step("a query is answered"):
        await scene.broker.answers(connection_id, subject=steps.SUBJECT, version=1)
    with report.step("a cancelled login"):
        await steps.a_login_can_be_cancelled(scene)
    with report.step("a refused token: 20 queries, one refresh with rotation"):
        await steps.a_refused_token_is_replaced_once(scene, connection_id)
    with report.step("a token whose time is over is refreshed before it is sent"):
        await steps.an_old_token_is_replaced_before_it_is_refused(scene, connection_id)
    with report.step("a login after the provider's signing key was rotated"):
        await steps.a_new_signing_key_is_fetched(scene)
    if scene.variant.fapi:
        with report.step("a token without a proof of its key is refused"):
            await steps.a_stolen_token_is_worth_nothing_without_its_key(scene, connection_id)
        with report.step("a new nonce of the GraphQL server"):
            await steps.a_new_nonce_is_followed(scene, connection_id)
    with report.step("reuse of a refresh token is detected, and ends the consent"):
        await steps.reuse_is_detected(scene, connection_id)
    with report.step("the consent is renewed in place"):
        await steps.a_consent_is_renewed(scene, connection_id)
    with report.step("revocation at the provider"):
        await steps.a_connection_is_revoked(scene, connection_id)


async def _doctor(scene: Scene) -> None:
    """The command as an operator runs it, with the settings of the broker."""
    log = scene.home.directory / f"doctor-{scene.variant.client_id}.log"
    log.unlink(missing_ok=True)
    environment = scene.home.environment(scene.variant, scene.other_side)
    child = await Child.start(BROKER, "doctor", environment=environment, log=log)
    await until("broker doctor", lambda: not child.is_alive)
    expect("FAIL" not in child.last_words(40), child.last_words(40))
