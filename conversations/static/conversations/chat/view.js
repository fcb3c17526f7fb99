/** Messages as elements. */

import { el, icon, replace, whenIdle } from "./elements.js";
import { Prose } from "./notes.js";
import { textOf } from "./tree.js";
import { Tools } from "./tools.js";
import { words } from "./words.js";

const FENCED = /^```[^`\n]*\n([^]*?)(?:\n```[^\S\n]*(?:\n|$)|$(?![^]))/m;

const MOST_AT_ONCE = 20;

const NONE = [];

let written = new WeakMap();
let used = new WeakMap();
let unwritten = [];
let isWriting = false;

/** An answer is made into elements once. `keep` tells of those that are there already. */
export const keep = (message, article, prose) => written.set(message, { article, prose });
export const forget = () => ([written, used] = [new WeakMap(), new WeakMap()]);

function elementsOf(message) {
  if (!written.has(message)) {
    const prose = new Prose();
    keep(message, el("article.answer"), prose);
    unwritten.push(() => prose.show(textOf(message), true));
  }
  return written.get(message);
}

/** Writes the newest answers, and those before them, which are out of sight, when there is nothing else to do. */
export function write() {
  unwritten.splice(-MOST_AT_ONCE).forEach((writeOne) => writeOne());
  if (!isWriting) writeRest();
}

function writeRest() {
  isWriting = unwritten.length > 0;
  if (isWriting) whenIdle(() => [unwritten.pop()?.(), writeRest()]);
}

/** What a user wrote stays as it was typed; code between fences stands apart. */
function plain(text) {
  const parts = text.split(FENCED).map((part, at) => {
    if (at % 2) return el("pre", { tabIndex: 0 }, el("code", {}, part));
    return part.trim() ? el("p", {}, part.replace(/^\n+|\n+$/g, "")) : null;
  });
  return el("div.plain", {}, ...parts);
}

export function file(block) {
  if (block.contentType !== "image") return el("span.file", {}, icon("file"), block.fileName);
  return el("img", { src: `data:${block.mediaType};base64,${block.body}`, alt: words.image });
}

export function reasoning(text, open) {
  return el("details.reasoning", { open }, el("summary", {}, words.think), el("p", {}, text));
}

export function question(message, actions, isEdited) {
  const files = message.content.filter((block) => ["image", "attachment"].includes(block.contentType));
  const text = textOf(message);
  return el(
    isEdited ? "article.question.edited" : "article.question",
    {},
    el("h2.unseen", {}, words.you),
    files.length ? el("div.files", {}, ...files.map(file)) : null,
    text ? el("div.bubble", {}, plain(text)) : null,
    actions,
  );
}

export function answer(message, modelName, actions) {
  const thoughts = message.content.filter((block) => block.contentType === "reasoning" && block.text);
  const end = { stopped: words.stopped, interrupted: words.interrupted }[message.stopReason];
  const { article, prose } = elementsOf(message);
  prose.know(message.documents);
  replace(article, [
    el("h2.name", {}, modelName),
    ...thoughts.map((block) => reasoning(block.text, false)),
    ...(message.thinkingLog?.length || message.documents?.length ? [toolsOf(message)] : []),
    prose.element,
    ...(end ? [el("p.note", {}, end)] : []),
    ...warnings(message.warnings),
    actions,
  ]);
  article.ariaBusy = null;
  return article;
}

/** Made once: somebody may have opened a part of it. */
function toolsOf(message) {
  const { thinkingLog, documents = NONE } = message;
  if (used.get(message)?.documents !== documents) used.set(message, new Tools(thinkingLog ?? [], documents));
  return used.get(message).element;
}

/** What was asked for and does not happen, in sentences of the server. */
export function warnings(sentences = []) {
  return sentences.map((sentence) => el("p.note.warning", {}, icon("failure"), el("span", {}, sentence)));
}
