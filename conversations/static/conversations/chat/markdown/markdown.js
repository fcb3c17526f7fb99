/** A text in Markdown that may still grow. Blocks that are complete are left alone; the last one is shown anew. */

import { el } from "../elements.js";
import { parse } from "./parsing.js";
import { patch } from "./patching.js";

export class Markdown {
  element = el("div.prose");

  sources = new Set();

  constructor() {
    this.begin("");
  }

  /** The sources that are named, by the order in which they are, each with its number. */
  get cited() {
    return this.env.cited ?? new Map();
  }

  /** Takes the ids of the sources that the text may name. A text that names any is shown anew. */
  know(sources) {
    const { source } = this;
    this.sources = this.env.sources = sources;
    if (!source.includes("[^")) return;
    this.begin("");
    this.show(source, this.isWhole);
  }

  /** `offset` is where the last block begins, whose nodes are `tail`. */
  begin(source) {
    this.element.replaceChildren();
    Object.assign(this, { source, offset: 0, tail: [], env: { sources: this.sources }, isWhole: false });
  }

  /** Shows a text. With `isWhole` nothing follows. */
  show(text, isWhole = false) {
    const source = text.includes("\r") ? text.replace(/\r\n?/g, "\n") : text;
    const isReferredTo = isWhole && Object.keys(this.env.references ?? {}).length > 0 && this.offset > 0;
    if (!source.startsWith(this.source) || isReferredTo) this.begin(source);
    Object.assign(this, { source, isWhole });
    const tail = source.slice(this.offset);
    const nodes = parse(tail, this.env);
    if (!isWhole && nodes.length) markOpen(nodes.at(-1), tail);
    patch(this.element, this.tail, nodes);
    this.settle(nodes, tail);
    return this;
  }

  /** A block is complete when another has begun after it, on a line that is complete too. */
  settle(nodes, tail) {
    const lines = tail.split("\n");
    let last = nodes.length - 1;
    while (last > 0 && nodes[last].line >= lines.length - 1) last -= 1;
    this.tail = nodes.slice(Math.max(0, last));
    if (last > 0) this.offset += lines.slice(0, nodes[last].line).join("\n").length + 1;
  }
}

/** The last code of the last block is open until its closing fence has come. */
function markOpen(node, tail) {
  if (node.kind === "element" && node.children.length) markOpen(node.children.at(-1), tail);
  if (node.kind === "code") node.isOpen = !node.markup || !tail.trimEnd().endsWith(`\n${node.markup}`);
}
