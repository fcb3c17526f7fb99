"""What the audit records of bots. Stars, recent lists and uses are not recorded."""

from bedrock_chat.audit.verbs import flag, ids, number, one_of, register
from bots.models import Scope

CREATE = register("create", target="bot", values={"allow_cloning": flag})
EDIT = register("edit", target="bot", values={"allow_cloning": flag})
CLONE = register("clone", target="bot", values={"source": ids})
IMPORT = register("import", target="bot", values={"allow_cloning": flag})
EXPORT = register("export", target="bot")
RESTORE = register("restore", target="bot", values={"version": number})
DELETE = register("delete", target="bot")
REMOVE_GUARDRAIL = register("remove left-over guardrail", target="bot", values={"guardrails": ids})
SYNC_KNOWLEDGE = register("sync knowledge", target="bot", values={"full": flag})
CANCEL_SYNC = register("cancel sync", target="bot")
REMOVE_FILE = register("remove file", target="bot", values={"digests": ids})
SHARE = register("share", target="bot", values={"scope": one_of(lambda: Scope.values), "users": ids, "groups": ids})
PIN = register("pin", target="bot", values={"order": number})
UNPIN = register("unpin", target="bot", values={"order": number})
HOLD = register("hold", target="bot")
RELEASE = register("release", target="bot")
SET_RETENTION = register("set retention", target="bot", values={"days": number})
REMOVE_RETENTION = register("remove retention", target="bot", values={"days": number})
TRANSFER = register("transfer", target="bot", values={"from_owner": ids, "to_owner": ids})
