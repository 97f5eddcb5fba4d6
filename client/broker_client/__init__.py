"""A typed client of the Stitch token broker.

`Broker` and `AsyncBroker` are what most services need. Every call of the broker is in `broker_client.generated.api`,
to be made with `Broker.call`; what goes over the wire is in `broker_client.generated.models`.
"""

from broker_client.answers import Answer, BrokerError, Interaction
from broker_client.asynchronous import AsyncBroker
from broker_client.synchronous import Broker

__all__ = ["Answer", "AsyncBroker", "Broker", "BrokerError", "Interaction"]
