"""Contains all the data models used in inputs/outputs"""

from .api_key_request import ApiKeyRequest
from .api_key_view import ApiKeyView
from .audit_event_view import AuditEventView
from .audit_event_view_detail import AuditEventViewDetail
from .caller_request import CallerRequest
from .caller_view import CallerView
from .confirmation_request import ConfirmationRequest
from .connection_status import ConnectionStatus
from .connection_view import ConnectionView
from .connection_view_metadata import ConnectionViewMetadata
from .delivery_status import DeliveryStatus
from .delivery_view import DeliveryView
from .delivery_view_data import DeliveryViewData
from .event_type import EventType
from .graph_ql_error import GraphQLError
from .graph_ql_error_errors_item import GraphQLErrorErrorsItem
from .graph_ql_error_errors_item_extensions import GraphQLErrorErrorsItemExtensions
from .graph_ql_error_errors_item_extensions_code import (
    GraphQLErrorErrorsItemExtensionsCode,
)
from .graph_ql_request import GraphQLRequest
from .graph_ql_request_variables_type_0 import GraphQLRequestVariablesType0
from .healthz_response_healthz import HealthzResponseHealthz
from .interaction_error import InteractionError
from .interaction_request import InteractionRequest
from .interaction_status import InteractionStatus
from .interaction_view import InteractionView
from .new_api_key_view import NewApiKeyView
from .new_caller_view import NewCallerView
from .new_webhook_view import NewWebhookView
from .page_view_api_key_view import PageViewApiKeyView
from .page_view_audit_event_view import PageViewAuditEventView
from .page_view_caller_view import PageViewCallerView
from .page_view_connection_view import PageViewConnectionView
from .page_view_delivery_view import PageViewDeliveryView
from .page_view_session_view import PageViewSessionView
from .page_view_webhook_view import PageViewWebhookView
from .permission import Permission
from .problem import Problem
from .refresh_request import RefreshRequest
from .session_error import SessionError
from .session_request import SessionRequest
from .session_request_metadata_type_0 import SessionRequestMetadataType0
from .session_status import SessionStatus
from .session_view import SessionView
from .session_view_metadata import SessionViewMetadata
from .token_request import TokenRequest
from .token_view import TokenView
from .webhook_request import WebhookRequest
from .webhook_view import WebhookView

__all__ = (
    "ApiKeyRequest",
    "ApiKeyView",
    "AuditEventView",
    "AuditEventViewDetail",
    "CallerRequest",
    "CallerView",
    "ConfirmationRequest",
    "ConnectionStatus",
    "ConnectionView",
    "ConnectionViewMetadata",
    "DeliveryStatus",
    "DeliveryView",
    "DeliveryViewData",
    "EventType",
    "GraphQLError",
    "GraphQLErrorErrorsItem",
    "GraphQLErrorErrorsItemExtensions",
    "GraphQLErrorErrorsItemExtensionsCode",
    "GraphQLRequest",
    "GraphQLRequestVariablesType0",
    "HealthzResponseHealthz",
    "InteractionError",
    "InteractionRequest",
    "InteractionStatus",
    "InteractionView",
    "NewApiKeyView",
    "NewCallerView",
    "NewWebhookView",
    "PageViewApiKeyView",
    "PageViewAuditEventView",
    "PageViewCallerView",
    "PageViewConnectionView",
    "PageViewDeliveryView",
    "PageViewSessionView",
    "PageViewWebhookView",
    "Permission",
    "Problem",
    "RefreshRequest",
    "SessionError",
    "SessionRequest",
    "SessionRequestMetadataType0",
    "SessionStatus",
    "SessionView",
    "SessionViewMetadata",
    "TokenRequest",
    "TokenView",
    "WebhookRequest",
    "WebhookView",
)
