"""What each page of the console filters by."""

from bedrock_chat.alerts.models import OpenAlert
from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.bedrock.overrides.models import ModelOverride
from bedrock_chat.blobs.models import Blob
from bedrock_chat.identity.models import OperatorSession, SecondFactor, User
from bedrock_chat.jobs.models import Job, Worker
from bedrock_chat.ledger.budgets.models import Budget
from bedrock_chat.ledger.models import ModelCall, ToolCall
from bedrock_chat.ledger.rollups.models import Refusal
from bedrock_chat.people.models import Erasure
from bots.knowledge.models import Document, Knowledge
from bots.models import Bot, BotGuardrail
from conversations.models import Conversation, ConversationExport, RatedConversation, RatedMessage
from publication.models import ApiKey, Gate, Publication, TurnRequest
from store.models import Listing

OWN_FILTERS = {
    User: {"is_active__exact", "is_active__isnull", "is_staff__exact", "is_staff__isnull"},
    Job: {"state__exact", "state__isnull", "kind"},
    Worker: set(),
    ModelOverride: set(),
    Erasure: set(),
    OpenAlert: {"severity__exact", "severity__isnull"},
    ModelCall: {
        *("days", "from", "to", "model", "purpose", "fault", "priced"),
        *("payer", "user", "bot", "key", "publication", "conversation"),
    },
    Refusal: {"days", "from", "to", "limit", "payer", "bot", "key"},
    ToolCall: {
        *("days", "from", "to", "outcome", "kind", "tool", "server"),
        *("payer", "user", "bot", "key", "conversation"),
    },
    Budget: {
        *("payer_kind__exact", "payer_kind__isnull", "period__exact", "period__isnull"),
        *("unit__exact", "unit__isnull", "is_hard__exact", "is_hard__isnull"),
    },
    Bot: {
        "scope__exact",
        "scope__isnull",
        "pinned",
        "published",
        "orphans",
        "sync_status__exact",
        "sync_status__isnull",
    },
    BotGuardrail: {"state"},
    Knowledge: {"status", "bot"},
    Document: {"state", "kind", "bot"},
    Blob: set(),
    Gate: set(),
    Conversation: {"days", "from", "to", "bot", "user", "publication", "model"},
    RatedMessage: {"thumbs", "days", "from", "to", "bot", "category"},
    RatedConversation: {"thumbs", "days", "from", "to", "bot", "category"},
    ConversationExport: set(),
    Publication: {"limits_scope__exact", "limits_scope__isnull", "quota_period__exact", "quota_period__isnull"},
    ApiKey: {"state", "ending"},
    TurnRequest: {"status", "model"},
    Listing: {"is_everybodys__exact", "is_everybodys__isnull"},
    OperatorSession: set(),
    SecondFactor: set(),
    AuditEntry: {"days", "from", "to", "verb", "target", "kind", "actor", "about"},
}
"""What the filters and date hierarchies of the pages make, as one reads it in their links."""
