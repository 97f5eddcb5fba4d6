"""Every scenario, in the order in which they are played."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from chaos.scenarios.channel import cut_channel
from chaos.scenarios.clocks import clocks_apart
from chaos.scenarios.concurrency import many_connections_at_once, one_expired_token
from chaos.scenarios.deletion import deleted_while_refreshed
from chaos.scenarios.departures import clients_that_leave
from chaos.scenarios.faults import bank_out_of_order, wrong_secret
from chaos.scenarios.kills import random_kills
from chaos.scenarios.lost_answers import lost_answers
from chaos.scenarios.outages import away_between_answer_and_save, outages, stopped_with_a_spool
from chaos.scenarios.pauses import frozen_replicas
from chaos.scenarios.steps import kills_at_every_step
from chaos.stage import Stage


@dataclass(frozen=True, slots=True)
class Scenario:
    """A name for `--only`, a line to print, and what happens."""

    name: str
    title: str
    play: Callable[[Stage], Awaitable[None]]


# Those that want replicas of one shape follow each other, since starting them takes longer than most scenarios.
SCENARIOS = (
    Scenario("concurrency", "3 replicas x 500 concurrent queries on one expired token", one_expired_token),
    Scenario("expiry", "200 connections expire at once, and the bank takes 2 s", many_connections_at_once),
    Scenario("departures", "clients that disconnect while they wait", clients_that_leave),
    Scenario("deletion", "a connection deleted while its refresh is under way", deleted_while_refreshed),
    Scenario("channel", "revocation, with the notification channel up and cut", cut_channel),
    Scenario("clocks", "replicas whose clocks are minutes apart", clocks_apart),
    Scenario("kills", "replicas killed at random moments during refreshes, and started again", random_kills),
    Scenario("steps", "kills at every named step of the protocol", kills_at_every_step),
    Scenario("pauses", "a replica that stands still for longer than its lease, and goes on", frozen_replicas),
    Scenario("outages", "PostgreSQL cut off and started again during refreshes", outages),
    Scenario("away", "PostgreSQL away between the bank's answer and the save", away_between_answer_and_save),
    Scenario("spool", "replicas stopped and killed while they hold a spool", stopped_with_a_spool),
    Scenario("lost-answers", "answers lost after the bank has rotated, without and with a grace", lost_answers),
    Scenario("faults", "the bank answers 500, 429, garbage, half an answer, nothing", bank_out_of_order),
    Scenario("secret", "a wrong client secret is deployed to every replica, and mended", wrong_secret),
)
