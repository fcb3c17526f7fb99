/** A block of code: its language, a button that copies it, and its colours. */

import highlighter from "../libraries/highlight.js";
import { byId, el } from "../elements.js";
import { words } from "../words.js";
import { element, text } from "./parsing.js";

const LONGEST_COLOURED = 50_000;
const ALWAYS_COLOURED = 2000;
const GROWTH = 1.1;

/** What the highlighter finds becomes nodes, and never a text of markup. It calls these methods by either name. */
class Scopes {
  root = [];
  stack = [this.root];

  addText(data) {
    const last = this.stack.at(-1).at(-1);
    if (last?.kind === "text") last.data += data;
    else this.stack.at(-1).push(text(data));
  }

  startScope(name) {
    const [first, ...others] = name.split(".");
    const made = element("span", { class: [`hljs-${first}`, ...others.map((other) => `${other}_`)].join(" ") }, []);
    this.stack.at(-1).push(made);
    this.stack.push(made.children);
  }

  openNode(name) {
    this.startScope(name);
  }

  endScope() {
    this.stack.pop();
  }

  closeNode() {
    this.endScope();
  }

  __addSublanguage({ root }) {
    this.stack.at(-1).push(element("span", {}, root));
  }

  finalize() {}

  toHTML() {
    return "";
  }
}

highlighter.configure({ __emitter: Scopes });

export class CodeBlock {
  nodes = [];
  coloured = [];
  colouredLength = 0;

  constructor(language, patch) {
    Object.assign(this, { language, patch, content: el("code"), data: "" });
    this.isKnown = highlighter.getLanguage(language) !== undefined;
    const copy = el("button.wide", { type: "button", onclick: () => this.copy() }, words.copy);
    const head = el("div.code-head", {}, el("span", {}, language), navigator.clipboard ? copy : null);
    this.element = el("div.code", {}, head, el("pre", { tabIndex: 0 }, this.content));
  }

  /** Code that grows is coloured anew when it has grown by a tenth, so that long code costs little more than short. */
  show(data, isOpen) {
    if (data === this.data && (isOpen || this.colouredLength === data.length)) return;
    const isDue = !isOpen || data.length < ALWAYS_COLOURED || data.length > this.colouredLength * GROWTH;
    if (!data.startsWith(this.data)) Object.assign(this, { coloured: [], colouredLength: 0 });
    if (this.isKnown && isDue && data.length <= LONGEST_COLOURED) {
      const found = highlighter.highlight(data, { language: this.language, ignoreIllegals: true });
      this.coloured = found.errorRaised ? [text(data)] : found._emitter.root;
      this.colouredLength = data.length;
    }
    const rest = data.slice(this.colouredLength);
    const nodes = [...this.coloured, ...(rest ? [text(rest)] : [])];
    this.patch(this.content, this.nodes, nodes);
    Object.assign(this, { nodes, data });
  }

  async copy() {
    await navigator.clipboard.writeText(this.data);
    byId("said").textContent = words.copied;
  }
}
