"""All scenarios, in the order in which they run."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from chaos.scenarios.channel import cut_channel
from chaos.scenarios.clocks import clocks_apart
from chaos.scenarios.concurrency import many_connections_at_once, one_expired_token
from chaos.scenarios.deletion import deleted_while_refreshed
from chaos.scenarios.disconnects import clients_that_disconnect
from chaos.scenarios.faults import bank_faults, wrong_secret
from chaos.scenarios.kills import random_kills
from chaos.scenarios.lost_answers import lost_answers
from chaos.scenarios.outages import database_down_before_save, outages, stopped_with_a_spool
from chaos.scenarios.pauses import frozen_replicas
from chaos.scenarios.steps import kills_at_every_step
from chaos.stage import Stage


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario, with its name for `--only` and a title to print."""

    name: str
    title: str
    run: Callable[[Stage], Awaitable[None]]


# Scenarios with replicas of the same shape follow each other, because restarting them takes longer than most scenarios.
SCENARIOS = (
    Scenario("concurrency", "3 replicas x 500 concurrent queries on one expired token", one_expired_token),
    Scenario("expiry", "200 connections expire at once, and the bank takes 2 s", many_connections_at_once),
    Scenario("disconnects", "clients disconnect while they wait", clients_that_disconnect),
    Scenario("deletion", "a connection is deleted during its refresh", deleted_while_refreshed),
    Scenario("channel", "revocation with and without the notification channel", cut_channel),
    Scenario("clocks", "replicas whose clocks differ by minutes", clocks_apart),
    Scenario("kills", "replicas are killed at random times during refreshes, and restarted", random_kills),
    Scenario("steps", "kills at every named step of the protocol", kills_at_every_step),
    Scenario("pauses", "a replica is paused for longer than its lease, and resumed", frozen_replicas),
    Scenario("outages", "PostgreSQL is stopped and restarted during refreshes", outages),
    Scenario("away", "PostgreSQL is down between the bank's response and the save", database_down_before_save),
    Scenario("spool", "replicas with a spool are stopped and killed", stopped_with_a_spool),
    Scenario(
        "lost-answers",
        "responses are lost after the bank has rotated the token, with and without a grace period",
        lost_answers,
    ),
    Scenario("faults", "the bank responds with 500, 429, garbage, half a response or nothing", bank_faults),
    Scenario("secret", "a wrong client secret is deployed to every replica, and corrected", wrong_secret),
)
