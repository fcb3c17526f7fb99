"""The kernel's models, gathered from its parts."""

from bedrock_chat.alerts.models import OpenAlert
from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.bedrock.overrides.models import LastFault, ModelOverride
from bedrock_chat.blobs.models import Blob, BlobReference, BlobRemoval, UsedUploadLink
from bedrock_chat.encryption.models import EncryptionKey
from bedrock_chat.identity.models import OperatorSession, SecondFactor, SigningKey, User
from bedrock_chat.jobs.models import Job, Worker
from bedrock_chat.ledger.budgets.models import Budget, BudgetCounter, Reservation
from bedrock_chat.ledger.models import ModelCall, ToolCall
from bedrock_chat.ledger.rollups.models import (
    DayLatency,
    DayUsage,
    DimensionFault,
    DimensionUsage,
    GroupMember,
    LateEnd,
    Latency,
    Progress,
    QuarterHour,
    QuarterUsage,
    Refusal,
)
from bedrock_chat.people.models import Erasure
from bedrock_chat.retention.models import BotRetention, Hold
from bedrock_chat.search.models import SearchDocument, SearchWord
from bedrock_chat.search.vectors.models import Vector, VectorBits, VectorIndex

__all__ = [
    "AuditEntry",
    "Blob",
    "BlobReference",
    "BlobRemoval",
    "BotRetention",
    "Budget",
    "BudgetCounter",
    "DayLatency",
    "DayUsage",
    "DimensionFault",
    "DimensionUsage",
    "EncryptionKey",
    "Erasure",
    "GroupMember",
    "Hold",
    "Job",
    "LastFault",
    "LateEnd",
    "Latency",
    "ModelCall",
    "ModelOverride",
    "OpenAlert",
    "OperatorSession",
    "Progress",
    "QuarterHour",
    "QuarterUsage",
    "Refusal",
    "Reservation",
    "SearchDocument",
    "SearchWord",
    "SecondFactor",
    "SigningKey",
    "ToolCall",
    "UsedUploadLink",
    "User",
    "Vector",
    "VectorBits",
    "VectorIndex",
    "Worker",
]
