/** Messages as elements. What a model or a user wrote becomes text nodes, never markup. */

import { textOf } from "./tree.js";
import { words } from "./words.js";

const MAYBE_FENCE = /^(`{1,2}|```[^`\n]*\n?)$/;
const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

/** `el("p.note", {title: "…"}, child, …)`; children that are null are left out. */
export function el(name, properties, ...children) {
  const [tag, ...classes] = name.split(".");
  const made = Object.assign(document.createElement(tag), properties);
  if (classes.length) made.className = classes.join(" ");
  made.append(...children.filter((child) => child != null));
  return made;
}

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("aria-hidden", "true");
  svg.appendChild(document.createElementNS(SVG, "use")).setAttribute("href", `#icon-${name}`);
  return svg;
}

/** A button that is an icon alone. Its `key` finds it again when the list around it is made anew. */
export function iconButton(name, label, onclick, key = name, disabled = false) {
  const made = el("button.icon", { type: "button", ariaLabel: label, title: label, onclick, disabled }, icon(name));
  made.dataset.key = key;
  return made;
}

/** Text that grows, with ``` fences as blocks of code. A line that may become a fence waits until that is certain. */
class Prose {
  element = el("div.prose");
  held = "";
  isLineBegun = false;
  isCode = false;
  node = null;

  append(text) {
    for (const piece of text.match(/[^\n]*\n|[^\n]+/g) ?? []) {
      this.held += piece;
      if (!this.isLineBegun && MAYBE_FENCE.test(this.held)) {
        if (!piece.endsWith("\n")) continue;
        this.isCode = !this.isCode;
        this.node = null;
      } else {
        this.write(this.held);
        this.isLineBegun = !piece.endsWith("\n");
      }
      this.held = "";
    }
    return this;
  }

  /** Nothing follows, so what was held was no fence, or the last one. */
  end() {
    if (!this.held.startsWith("```")) this.write(this.held);
    return this.element;
  }

  write(text) {
    if (!this.node) {
      if (!this.isCode) text = text.replace(/^\n+/, "");
      if (!text) return;
      this.node = document.createTextNode("");
      this.element.append(
        this.isCode ? el("pre", { tabIndex: 0 }, el("code", {}, this.node)) : el("p", {}, this.node),
      );
    }
    this.node.appendData(text);
  }
}

export function file(block) {
  if (block.contentType !== "image") return el("span.file", {}, icon("file"), block.fileName);
  return el("img", { src: `data:${block.mediaType};base64,${block.body}`, alt: words.image });
}

function reasoning(text, open) {
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
    text ? el("div.bubble", {}, new Prose().append(text).end()) : null,
    actions,
  );
}

export function answer(message, modelName, actions) {
  const thoughts = message.content.filter((block) => block.contentType === "reasoning" && block.text);
  const end = { stopped: words.stopped, interrupted: words.interrupted }[message.stopReason];
  return el(
    "article.answer",
    {},
    el("h2.name", {}, modelName),
    ...thoughts.map((block) => reasoning(block.text, false)),
    new Prose().append(textOf(message)).end(),
    end ? el("p.note", {}, end) : null,
    actions,
  );
}

/** An answer that is being written. However many events come, a frame costs one painting, of what is new. */
export class LiveAnswer {
  body = el("div");
  status = el("p.status", {}, words.answering);

  /** `base` is what the answer held before, where this turn continues one. */
  constructor(modelName, base) {
    this.base = base;
    this.element = el("article.answer", { ariaBusy: "true" }, el("h2.name", {}, modelName), this.body, this.status);
    this.begin();
  }

  /** The answer is told anew, whatever was told before: all of it, or what joins the answer before. */
  begin(continues = true, base = this.base) {
    Object.assign(this, { continues, base, text: "", thought: "", painted: "", prose: null, reasoning: null });
    this.body.replaceChildren();
    this.paintSoon();
  }

  hear(kind, text) {
    this[kind === "text" ? "text" : "thought"] += text;
    this.say(kind === "text" ? words.answering : words.thinking);
    this.paintSoon();
  }

  say(status) {
    this.status.textContent = status;
  }

  get whole() {
    if (!this.continues) return this.text;
    return this.text ? this.base.trimEnd() + this.text : this.base;
  }

  get content() {
    const thoughts = this.thought ? [{ contentType: "reasoning", text: this.thought }] : [];
    return [...thoughts, { contentType: "text", body: this.whole }];
  }

  paintSoon() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.paint();
    });
  }

  paint() {
    const { thought, whole } = this;
    if (thought) {
      if (!this.reasoning) this.body.prepend((this.reasoning = reasoning("", true)));
      const shown = this.reasoning.lastChild.firstChild;
      shown.appendData(thought.slice(shown.length));
      if (whole && !this.painted) this.reasoning.open = false;
    }
    if (!this.prose || !whole.startsWith(this.painted)) {
      this.prose?.element.remove();
      this.prose = new Prose();
      this.painted = "";
      this.body.append(this.prose.element);
    }
    this.prose.append(whole.slice(this.painted.length));
    this.painted = whole;
  }
}
