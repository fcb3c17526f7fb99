"""Each kind of job with its handler, and when periodic ones run: settings, which name functions by their paths."""

JOBS: dict[str, str] = {
    "remove blobs": "bedrock_chat.blobs.removal.remove_unreferenced",
    "remove uploads": "bedrock_chat.blobs.uploads.remove_unclaimed",
    "index conversations": "conversations.search.indexing.index_new",
    "compact search": "bedrock_chat.search.index.compact",
    "sync bot": "bots.syncing.sync",
    "sync knowledge": "bots.knowledge.syncing.sync",
    "purge knowledge": "bots.knowledge.deleting.purge",
    "look after knowledge": "bots.knowledge.upkeep.look_after",
    "published turn": "publication.running.run",
    "index bots": "store.indexing.index_new",
    "forget bot": "store.indexing.forget_one",
    "rank bots": "store.ranking.refresh",
    "sweep guardrails": "bots.guardrail_sweep.sweep",
    "end lost turns": "publication.running.end_lost",
    "remove idempotency keys": "publication.idempotency.removal.remove",
    "begin budget": "bedrock_chat.ledger.budgets.reconciling.begin",
    "reconcile budgets": "bedrock_chat.ledger.budgets.reconciling.reconcile",
    "return reservations": "bedrock_chat.ledger.budgets.expiring.return_expired",
    "roll up": "bedrock_chat.ledger.rollups.making.roll_up",
    "look for alerts": "bedrock_chat.alerts.opening.look",
    "send alerts": "bedrock_chat.alerts.sending.send",
    "erase person": "bedrock_chat.people.erasing.run",
    "forget erasures": "bedrock_chat.people.erasing.forget",
    "forget exports": "conversations.operating.exports.forget",
    "prune": "bedrock_chat.retention.pruning.run_policies",
}
"""Kind of job → its handler, a function that takes the claimed job."""
JOB_SCHEDULE: dict[str, float] = {
    "remove blobs": 600,
    "remove uploads": 3600,
    "index conversations": 2,
    "compact search": 86_400,
    "sweep guardrails": 3600,
    "look after knowledge": 60,
    "index bots": 2,
    "rank bots": 600,
    "end lost turns": 30,
    "remove idempotency keys": 300,
    "reconcile budgets": 86_400,
    "return reservations": 30,
    "roll up": 60,
    "look for alerts": 60,
    "prune": 21_600,
}
"""Kind of job → seconds between its runs."""
JOB_SHARES: dict[str, float] = {
    "sync knowledge": 0.25,
    "purge knowledge": 0.25,
}
"""Kind of job → the part of a worker's places that such jobs may take, one place at least. Others may take all."""
JOBS_THAT_NEVER_DIE: frozenset[str] = frozenset({"purge knowledge"})
"""Kinds of job that are tried each hour in the end: what was removed must not stay. Periodic jobs never die either."""
