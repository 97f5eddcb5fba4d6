"""A typed client of the Stitch token broker.

Most services need only `Broker` or `AsyncBroker`. All operations of the API are in `broker_client.generated.api`; pass
them to `Broker.call`. Their requests and responses are in `broker_client.generated.models`.
"""

from broker_client.asynchronous import AsyncBroker
from broker_client.responses import Answer, BrokerError, Interaction
from broker_client.synchronous import Broker

__all__ = ["Answer", "AsyncBroker", "Broker", "BrokerError", "Interaction"]
