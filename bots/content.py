"""What an edit makes of a bot: pure functions over a bot's content, with its secrets in the open."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, cast

import orjson

from bedrock_chat.encryption import encrypting
from bedrock_chat.wire.errors import BadRequest, NotFound
from bots.configuration import (
    NO_KNOWLEDGE,
    SPELLINGS,
    WIRE_KEYS,
    Configuration,
    FileEntry,
    GenerationParams,
    Json,
    Knowledge,
    Tool,
    files_of,
    tools_without_key,
)
from bots.knowledge import refusing
from bots.models import BotContent

MOST_FILES: Final = 1_000
NOTHING_UPLOADED: Final[Mapping[str, FileEntry]] = MappingProxyType({})
MASK: Final = "********"
"""What clients read in place of a secret. Sent back, it means the secret that is stored."""

MOST_BYTES: Final = 2_000_000
"""Of a configuration as JSON. Each turn with the bot reads it, in its transaction, and each version keeps all of it: so
lists that are each within their bounds must not all be full.
"""


@dataclass(frozen=True, slots=True)
class Content:
    """What a version keeps. `secrets` has the key of each tool that has one, by the tool's name."""

    title: str = ""
    description: str = ""
    instruction: str = ""
    configuration: Configuration = field(
        default_factory=lambda: Configuration(
            generation_params=None,
            tools=[],
            knowledge=NO_KNOWLEDGE,
            bedrock_knowledge_base=None,
            bedrock_guardrails=None,
            quick_starters=[],
            inactive_models=[],
            prompt_caching_enabled=True,
            display_retrieved_chunks=False,
            files={},
        )
    )
    secrets: Mapping[str, str] = field(default_factory=dict)


def read(row: BotContent) -> Content:
    """The content of a bot or of a version. Raises EncryptionError if it has secrets that cannot be read."""
    secrets = secrets_of(row.encrypted_secrets)
    return Content(row.title, row.description, row.instruction, configuration_of(row), secrets)


def secrets_of(encrypted_secrets: str) -> dict[str, str]:
    """The secrets of a row by the names of their tools. Raises EncryptionError if they cannot be read."""
    secrets: dict[str, str] = orjson.loads(encrypting.decrypt(encrypted_secrets)) if encrypted_secrets else {}
    return secrets


def configuration_of(row: BotContent) -> Configuration:
    """A row's configuration, complete: the oldest ones have no `files`.

    Secrets that an operator gave up are gone, so no tool has its key then.
    """
    stored: Configuration = row.configuration
    configuration: Configuration = {**stored, "files": files_of(stored)}
    if row.encrypted_secrets or not configuration["tools"]:
        return configuration
    return {**configuration, "tools": _with_keys(configuration["tools"], {})}


def write(content: Content, row: BotContent) -> None:
    """Sets the columns of a row that the transaction around this will store. Raises EncryptionError."""
    row.title, row.description, row.instruction = content.title, content.description, content.instruction
    row.configuration = content.configuration
    # Encrypted anew for each row: a copied token could outlive its key.
    row.encrypted_secrets = encrypting.encrypt(orjson.dumps(dict(content.secrets)).decode()) if content.secrets else ""


def edited(
    before: Content,
    sent: Mapping[str, Any],
    uploaded: Mapping[str, FileEntry] = NOTHING_UPLOADED,
    *,
    known: Configuration | None = None,
) -> Content:
    """The content after an edit. `sent` has the fields that the client sent, validated; an absent one keeps its value.

    Null keeps the knowledge, the knowledge base and the guardrails; it gives all others what a new bot has. `uploaded`
    are the files, by name, that were uploaded for this edit. `known` has the knowledge that is not new, where that is
    not in `before`.

    Raises BadRequest for a mask where no secret is stored, for tools of the same name, if no model is left active, for
    knowledge that `refuse_new` refuses, and for a configuration of more than MOST_BYTES; NotFound for a file that was
    not uploaded.
    """
    configuration = before.configuration.copy()
    secrets = before.secrets
    if "generation_params" in sent:
        configuration["generation_params"] = cast(GenerationParams | None, sent["generation_params"])
    if "agent" in sent:
        configuration["tools"], secrets = _tools((sent["agent"] or {}).get("tools") or [], before)
    if sent.get("knowledge") is not None:
        knowledge, files = _knowledge(before.configuration, sent["knowledge"], uploaded)
        configuration["knowledge"], configuration["files"] = knowledge, files
    if sent.get("bedrock_knowledge_base") is not None:
        configuration["bedrock_knowledge_base"] = _knowledge_base(
            before.configuration["bedrock_knowledge_base"], sent["bedrock_knowledge_base"]
        )
    if sent.get("bedrock_guardrails") is not None:
        configuration["bedrock_guardrails"] = sent["bedrock_guardrails"]
    if "conversation_quick_starters" in sent:
        configuration["quick_starters"] = sent["conversation_quick_starters"] or []
    if "active_models" in sent:
        configuration["inactive_models"] = _inactive_models(sent["active_models"])
    for flag in ("prompt_caching_enabled", "display_retrieved_chunks"):
        if flag in sent:
            configuration[flag] = sent[flag]
    for bound in ("tool_rounds", "tool_seconds"):
        if bound in sent:
            configuration[bound] = sent[bound]
    refusing.refuse_new(known or before.configuration, configuration)
    if len(orjson.dumps(configuration)) > MOST_BYTES:
        raise BadRequest(f"Tools, knowledge and all else beside the instruction are more than {MOST_BYTES:,} bytes.")
    return Content(
        title=sent.get("title", before.title),
        description=(sent["description"] or "") if "description" in sent else before.description,
        instruction=sent.get("instruction", before.instruction),
        configuration=configuration,
        secrets=secrets,
    )


def imported(
    sent: Mapping[str, Any], uploaded: Mapping[str, FileEntry] = NOTHING_UPLOADED, today: Content | None = None
) -> Content:
    """The content of a new bot, or of today's, as somebody has written it down: without secrets and guardrails' ARNs.

    Nothing that is not written stays but what is never written: a tool has the key that is stored under its name, or
    keeps its place without one, and guardrails have today's ARN. Raises what `edited` raises.
    """
    today = today or Content()
    sent = dict(sent)
    tools = [_without_key(tool, today.secrets) for tool in (sent.get("agent") or {}).get("tools") or []]
    sent["agent"] = {"tools": tools}
    if sent.get("bedrock_guardrails") is not None:
        own: Json = dict(today.configuration["bedrock_guardrails"] or {})
        names = ("guardrail_arn", "guardrail_version")
        sent["bedrock_guardrails"] = {**sent["bedrock_guardrails"], **{name: own.get(name, "") for name in names}}
    blank = Content()
    configuration: Configuration = {**blank.configuration, "tools": _with_keys(cast(Sequence[Tool], tools), {})}
    start = replace(blank, configuration=configuration, secrets=today.secrets)
    return edited(start, sent, uploaded, known=today.configuration)


def _without_key(tool: Json, secrets: Mapping[str, str]) -> Json:
    if (config := tool.get("firecrawl_config")) is None:
        return tool
    key = MASK if tool["name"] in secrets else ""
    return {**tool, "firecrawl_config": {**config, "api_key": key}}


def without_secrets(row: BotContent) -> Content:
    """The content of a bot or of a version, where a tool that needs a key keeps its place without one."""
    configuration = configuration_of(row)
    keyless: Configuration = {**configuration, "tools": _with_keys(configuration["tools"], {})}
    return Content(row.title, row.description, row.instruction, keyless)


def cloned(row: BotContent) -> Content:
    """What a copy begins with: no secrets, and guardrails with thresholds alone."""
    content = without_secrets(row)
    if (guardrails := content.configuration["bedrock_guardrails"]) is None:
        return content
    guardrails = {**guardrails, "guardrail_arn": "", "guardrail_version": ""}
    return replace(content, configuration={**content.configuration, "bedrock_guardrails": guardrails})


def restored(version: Content, today: Content) -> Content:
    """A version's content with today's secrets.

    A tool whose key is not stored today keeps its place without one: a key that was taken out never comes back.
    """
    tools = version.configuration["tools"]
    secrets = {tool["name"]: today.secrets[tool["name"]] for tool in tools if tool["name"] in today.secrets}
    configuration = version.configuration.copy()
    configuration["tools"] = _with_keys(tools, secrets)
    return replace(version, configuration=configuration, secrets=secrets)


def changed_fields(before: Content, after: Content) -> list[str]:
    """The names of the fields that differ, as the wire has them in snake_case, and `secrets`."""
    names = [name for name in ("title", "description", "instruction") if getattr(before, name) != getattr(after, name)]
    configurations = before.configuration, after.configuration
    names += [name for name in after.configuration if configurations[0].get(name) != configurations[1].get(name)]
    if before.secrets != after.secrets:
        names.append("secrets")
    return names


def _tools(sent: Sequence[Json], before: Content) -> tuple[list[Tool], dict[str, str]]:
    """The tools as they are stored, and the secrets among them."""
    secrets: dict[str, str] = {}
    names: set[str] = set()
    keyless = set(tools_without_key(before.configuration))
    for position, tool in enumerate(sent):
        name = tool["name"]
        if name in names:
            raise BadRequest(f"agent.tools.{position}.name: the bot has another tool with this name.")
        names.add(name)
        if (config := tool.get("firecrawl_config")) is None:
            continue
        key, where = config["api_key"], f"agent.tools.{position}.firecrawlConfig.apiKey"
        if key == MASK and name not in before.secrets:
            raise BadRequest(f"{where}: no key is stored; send the key itself.")
        if not key and name not in keyless:
            raise BadRequest(f"{where}: Firecrawl needs a key.")
        if key:
            secrets[name] = before.secrets[name] if key == MASK else key
    return _with_keys(cast(Sequence[Tool], sent), secrets), secrets


def _with_keys(tools: Sequence[Tool], secrets: Mapping[str, str]) -> list[Tool]:
    """The tools, each of which says whether it has its key, and none of which holds it."""
    stored: list[Tool] = []
    for tool in tools:
        config = tool.get("firecrawl_config")
        if config is not None:
            has_key = tool["name"] in secrets
            stored.append({**tool, "firecrawl_config": {"max_results": config["max_results"], "has_key": has_key}})
        else:
            stored.append(tool)
    return stored


def _knowledge(
    before: Configuration, sent: Json, uploaded: Mapping[str, FileEntry]
) -> tuple[Knowledge, dict[str, FileEntry]]:
    """The sources after an edit: addresses as they were sent, and of the files those that are kept or were uploaded.

    A creation sends `filenames`. An edit sends `unchanged_filenames`, without which all files are kept, and those that
    are added and deleted. An added one replaces the file of the same name; if it was not uploaded (again), the bot's
    own stays.
    """
    own = files_of(before)
    kept = sent.get("unchanged_filenames")
    if kept is None:
        kept = [name for name in before["knowledge"]["filenames"] if name not in (sent.get("deleted_filenames") or [])]
    added = dict.fromkeys([*(sent.get("filenames") or []), *(sent.get("added_filenames") or [])])
    files: dict[str, FileEntry] = {}
    for name in (*kept, *added):
        entry = (uploaded.get(name) if name in added else None) or own.get(name)
        if entry is None:
            raise NotFound(f"The file {name} has not been uploaded.")
        files[name] = entry
    if len(files) > MOST_FILES:
        raise BadRequest(f"knowledge: a bot has at most {MOST_FILES} files.")
    knowledge: Knowledge = {
        "source_urls": sent.get("source_urls") or [],
        "sitemap_urls": sent.get("sitemap_urls") or [],
        "filenames": list(files),
        "s3_urls": sent.get("s3_urls") or [],
    }
    return knowledge, files


def _knowledge_base(before: Json | None, sent: Json) -> Json:
    """The knowledge base as it was sent. An id that is not sent again stays: it names what the bot has learnt."""
    own_id = before and before.get("knowledge_base_id")
    return {**sent, "knowledge_base_id": sent.get("knowledge_base_id") or own_id or None}


def without_file(content: Content, sha256: str) -> Content:
    """The content without any file of these bytes; the same object if it has none."""
    configuration = configuration_without_file(content.configuration, sha256)
    return content if configuration is content.configuration else replace(content, configuration=configuration)


def configuration_without_file(before: Configuration, sha256: str) -> Configuration:
    """The configuration without any file of these bytes; the same object if it has none."""
    files = {name: entry for name, entry in files_of(before).items() if entry["sha256"] != sha256}
    if len(files) == len(files_of(before)):
        return before
    names = [name for name in before["knowledge"]["filenames"] if name in files]
    knowledge: Knowledge = {**before["knowledge"], "filenames": names}
    return {**before, "knowledge": knowledge, "files": files}


def _inactive_models(sent: Mapping[str, bool]) -> list[str]:
    """The keys of the models that are switched off. Unknown names are ignored."""
    inactive = {SPELLINGS[name] for name, active in sent.items() if name in SPELLINGS and not active}
    if len(inactive) == len(WIRE_KEYS):
        raise BadRequest("activeModels: a bot needs a model; leave at least one active.")
    return sorted(inactive)
