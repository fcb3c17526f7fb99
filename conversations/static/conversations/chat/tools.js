/** What tools did for an answer: their calls with inputs and results, and the documents that they brought. */

import { el, replace } from "./elements.js";
import { words } from "./words.js";

const ADDRESS = /^https?:/i;

/** `log` is a message's `thinkingLog`, or one that grows with events; `documents` are as `related-documents` has them. */
export class Tools {
  element = el("div.used");

  constructor(log = [], documents = []) {
    Object.assign(this, { log, documents });
    this.show();
  }

  /** A call, with the words before it where it is the first of its round. */
  use({ toolUseId, name, input }, before) {
    if (this.log.at(-1)?.role !== "assistant") this.log.push({ role: "assistant", content: before });
    this.log.at(-1).content.push({ contentType: "toolUse", body: { toolUseId, name, input } });
    this.show();
  }

  end({ toolUseId, status }) {
    if (this.log.at(-1)?.role !== "user") this.log.push({ role: "user", content: [] });
    this.log.at(-1).content.push({ contentType: "toolResult", body: { toolUseId, status, content: [] } });
    this.isDue = true;
  }

  find({ relatedDocument }) {
    this.documents.push(relatedDocument);
    this.isDue = true;
  }

  /** Shows what `end` and `find` have brought: all of it at once, since a round may bring hundreds of documents. */
  showNew() {
    if (this.isDue) this.show();
  }

  show() {
    this.isDue = false;
    const blocks = this.log.flatMap(({ content }) => content);
    const results = new Map(blocks.filter(isResult).map(({ body }) => [body.toolUseId, body]));
    const opened = new Set([...this.element.querySelectorAll("details[open]")].map(({ dataset }) => dataset.call));
    const made = blocks.map((block) => {
      if (block.contentType === "text" && block.body.trim()) return el("p.said", {}, block.body);
      return block.contentType === "toolUse" ? this.card(block.body, results.get(block.body.toolUseId)) : null;
    });
    made.forEach((part) => part?.dataset.call && (part.open = opened.has(part.dataset.call)));
    const beside = this.documents.filter(({ sourceId }) => !results.has(callOf(sourceId)));
    replace(this.element, [...made.filter(Boolean), ...sources(beside)]);
  }

  card({ toolUseId, name, input }, result) {
    const state = { success: words.toolDone, error: words.toolFailed }[result?.status] ?? words.toolRuns;
    const brought = this.documents.filter(({ sourceId }) => callOf(sourceId) === toolUseId);
    const texts = brought.length ? [] : (result?.content ?? []).map(textOf).map((text) => el("pre", { tabIndex: 0 }, text));
    const card = el(
      result?.status === "error" ? "details.tool.failed" : "details.tool",
      {},
      el("summary", {}, el("b", {}, name), ` ${state}`),
      el("h3", {}, words.toolInput),
      el("pre", { tabIndex: 0 }, JSON.stringify(input, null, 2)),
      result ? el("h3", {}, words.toolResult) : null,
      ...texts,
      ...brought.sort(bySource).map((one) => source(one)),
    );
    card.dataset.call = toolUseId;
    return card;
  }
}

const isResult = ({ contentType }) => contentType === "toolResult";
const callOf = (sourceId) => sourceId.replace(/@\d+$/, "");
const numberOf = ({ sourceId }) => Number(/@(\d+)$/.exec(sourceId)?.[1] ?? 0);
const bySource = (one, other) => numberOf(one) - numberOf(other);

/** The documents of an answer that no call brought: they were found before the model was asked. */
function sources(documents) {
  if (!documents.length) return [];
  return [el("details.tool", {}, el("summary", {}, words.sources(documents.length)), ...documents.sort(bySource).map((one) => source(one)))];
}

/** Where a document comes from, and what it says; `isFolded`: behind its name. A page of it is part of its address. */
export function source({ content, sourceName, sourceLink, pageNumber }, isFolded = false) {
  const name = (sourceName || sourceLink || words.document) + (pageNumber == null ? "" : ` (${words.page(pageNumber)})`);
  const href = pageNumber == null ? sourceLink : `${sourceLink}#page=${pageNumber}`;
  const opens = { href, target: "_blank", rel: "noopener noreferrer" };
  const isOpenable = ADDRESS.test(sourceLink ?? "");
  const passage = el("p", { tabIndex: 0 }, textOf(content));
  if (!isFolded) return el("section.source", {}, isOpenable ? el("a", opens, name) : el("b", {}, name), passage);
  const link = isOpenable ? el("a", opens, words.openSource) : null;
  return el("details.source", {}, el("summary", {}, name), passage, link);
}

/** A part of a result as text: what a source's id stands beside, an object, or what kind of file it is. */
function textOf({ text, json, format, image, document }) {
  if (json) return typeof json.content === "string" && "source_id" in json ? json.content : JSON.stringify(json, null, 2);
  if (image !== undefined || document !== undefined) return `(${format})`;
  return text ?? "";
}

/** Gives each answer the documents that belong to it: those of its calls, and those found before it was written. */
export function assign(map, documents) {
  for (const [id, message] of Object.entries(map)) {
    if (message.role !== "assistant") continue;
    const uses = (message.thinkingLog ?? []).flatMap(({ content }) => content).filter((block) => block.contentType === "toolUse");
    const own = new Set([id, ...uses.map(({ body }) => body.toolUseId)]);
    message.documents = documents.filter(({ sourceId }) => own.has(callOf(sourceId)));
  }
}
