"""Samples of the recording that are not reproduced exactly, each with its reason.

An entry of NOT_BUILT is removed when its part is built; one of DECIDED stays as long as the decision. An error is exact
if its status and shape are: the sentences are ours, and `detail` and `errors` are always both there.
"""

DECIDED: dict[str, list[str]] = {
    "There are no trailing slashes, and no redirects to the path without one: 404.": [
        "health-trailing-slash-redirect",
    ],
    (
        "A missing or invalid token is a 401 with WWW-Authenticate, where the recorded server failed with a 500 or let "
        "it pass; the token is checked before the body. The 401 has CORS headers like every response."
    ): [
        "auth-missing-token",
        "auth-malformed-token",
        "auth-no-scheme",
        "auth-wrong-scheme-valid-jwt",
        "auth-expired-token",
        "auth-wrong-audience",
        "auth-unknown-kid",
        "auth-bad-signature",
        "auth-wrong-issuer-accepted",
        "auth-openapi-with-no-token-validation-before-auth",
        "cors-missing-on-500",
        "auth-dependency-malformed-token",
    ],
    ("Invalid input is a 400 (recorded: 422, or a 500 where it was not foreseen), each field named in `errors`."): [
        "conv-parent-unknown",
        "conv-image-missing-mediatype",
        "conv-image-bad-base64",
        "conv-image-body-number",
        "conv-image-mediatype-no-slash",
        "conv-422-empty-object",
        "conv-422-unknown-model",
        "conv-422-null-conversation-id",
        "conv-422-unknown-content-type",
        "conv-422-content-string",
        "conv-422-wrong-types",
        "conv-422-malformed-json",
        "conv-non-utf8-body",
        "conv-role-arbitrary",
        "conv-search-422",
        "feedback-down-without-category",
        "user-search-422",
        "bot-create-firecrawl-no-config",
        "bot-create-firecrawl-config-omitted",
        "bot-create-firecrawl-bad-max",
        "bot-create-422-missing",
        "bot-create-budget-too-small",
        "bot-create-s3url-no-slash",
        "presigned-url-422",
        "uploaded-file-delete-422",
        "bot-star-422",
        "bot-list-limit-not-int",
        "bot-visibility-partial-missing-lists",
        "bot-read-after-4-digit-pin",
        "pub-422-quota-limit-zero",
        "pub-422-quota-bad-period",
        "pub-quota-limit-string",
        "pub-throttle-rate-without-burst",
        "pub-throttle-negative",
        "pub-origin-invalid",
        "pub-origin-invalid-snake",
        "pub-bypass-negative-throttle-bad-origin-accepted",
        "pub-apikey-create-422",
        "admin-published-bots-bad-token",
        "admin-published-bots-limit-0",
        "published-422-model",
    ],
    "A secret is answered as a mask.": [
        "bot-create-firecrawl",
    ],
    "A bot that was refused is not there.": [
        "bot-read-after-firecrawl-omitted",
    ],
    "The id of a bot is given once: the second POST is refused, and changes neither its title nor its times.": [
        "bot-summary-owner",
        "bot-list-private-starred-ignored",
    ],
    "An edit keeps what it does not send.": [
        "bot-patch-422-missing-prompt-caching",
    ],
    "A star is answered with null, and not with what a database says.": [
        "bot-star",
        "bot-star-alias",
        "bot-star-alias-2",
    ],
    "An agent's id has ten letters and digits, as all of Bedrock's have; the recorded one had two.": [
        "related-docs-agent",
    ],
    "`isStarred` is the caller's own star, everywhere.": [
        "bot-list-pinned",
    ],
    "Whoever may not use a bot learns nothing of it from a turn: 404.": [
        "conv-with-unknown-bot",
        "conv-with-private-bot-of-other",
    ],
    "Only its owner and Admin delete a bot.": [
        "bot-delete-not-owner",
    ],
    "Search needs no OpenSearch.": [
        "conv-search-no-opensearch",
        "store-search-no-opensearch",
        "store-search-empty-query",
    ],
    "Positive feedback needs no category, and works in a conversation of any size.": [
        "feedback-up-without-category",
        "conv-large-get-after-feedback",
    ],
    "A body that does not say it is JSON is a 415.": [
        "conv-422-text-plain",
        "conv-422-form",
        "conv-content-type-absent",
    ],
    (
        "An empty message is refused before a model would refuse it: 400. (An absent parentMessageId is no fault: it "
        "counts as null.)"
    ): [
        "conv-empty-content-list",
        "conv-422-missing-parent",
        "published-empty-content-accepted",
    ],
    ("A model's fault is a 502, and the question survives it: the conversation is there and can be asked again."): [
        "conv-bedrock-access-denied",
        "conv-bedrock-stream-error",
        "conv-after-failed-first-turn",
    ],
    (
        "The order is the recorded one; conversations whose only turn was refused here are not listed, one whose "
        "turns failed is."
    ): [
        "conv-list",
    ],
    "Earlier text is never lost: a continuation runs without reasoning and joins the answer it continues.": [
        "conv-continue-generate-with-reasoning",
    ],
    "To continue in a conversation that does not exist is a 404.": [
        "conv-continue-generate-unknown-conversation",
    ],
    "Parallel turns are all kept, as siblings.": [
        "conv-parallel-turns-lost-update",
    ],
    "A conversation whose id holds slashes can be read like any other.": [
        "conv-get-id-with-slash",
    ],
    "Who may create no bots learns only of people that a bot has brought them together with.": [
        "user-get-by-plain-user",
    ],
    "The bot's owner alone publishes it: 403 for Admin.": [
        "pub-create-by-admin-not-owner",
    ],
    "Publishing makes a first key.": [
        "pub-get",
        "pub-get-with-key",
    ],
    "A page of published bots holds published bots.": [
        "admin-published-bots-limit-1",
    ],
    "The id of a message names a question, and `system` is none: 404.": [
        "published-get-message-system",
    ],
    "A published turn that failed is a 409 with the reason, and not a 404 for ever.": [
        "published-get-message-after-failed-turn",
    ],
}
"""Decision → samples whose recorded status or body it replaces."""

STATUSES: dict[str, int] = {
    "user-get-by-plain-user": 404,
    "pub-create-by-admin-not-owner": 403,
    "published-get-message-system": 404,
    "published-get-message-after-failed-turn": 409,
}
"""Sample of DECIDED → its status here, where several would be sound."""

NOT_BUILT: dict[str, list[str]] = {}
"""The part still to be built → samples that need it."""
