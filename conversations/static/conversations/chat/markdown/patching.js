/** Nodes as elements. What is there already stays: only what differs from the nodes shown before is touched. */

import { CodeBlock } from "./code.js";
import { fill } from "./formulas.js";

/** Makes `parent`'s last children, which show the nodes `before`, show `after`. */
export function patch(parent, before, after) {
  after.forEach((node, at) => {
    const old = before[at];
    if (old && isAlike(old, node)) update(old, node);
    else if (old) old.shown.replaceWith(build(node));
    else parent.append(build(node));
  });
  before.slice(after.length).forEach(({ shown }) => shown.remove());
}

function isAlike(one, other) {
  if (one.kind !== other.kind) return false;
  if (one.kind === "element") return one.name === other.name && haveSame(one.attributes, other.attributes);
  if (one.kind === "code") return one.language === other.language;
  if (one.kind === "formula") return one.source === other.source && one.isDisplayed === other.isDisplayed;
  return true;
}

function haveSame(some, others) {
  const names = Object.keys(some);
  return names.length === Object.keys(others).length && names.every((name) => some[name] === others[name]);
}

function update(old, node) {
  node.shown = old.shown;
  if (node.kind === "element") patch(contentOf(node), old.children, node.children);
  if (node.kind === "text" && old.data !== node.data) setText(node.shown, old.data, node.data);
  if (node.kind === "code") (node.block = old.block).show(node.data, node.isOpen);
}

function setText(shown, old, data) {
  if (data.startsWith(old)) shown.appendData(data.slice(old.length));
  else shown.data = data;
}

function build(node) {
  if (node.kind === "text") node.shown = document.createTextNode(node.data);
  if (node.kind === "code") {
    node.block = new CodeBlock(node.language, patch);
    node.block.show(node.data, node.isOpen);
    node.shown = node.block.element;
  }
  if (node.kind === "formula") fill((node.shown = document.createElement("span")), node);
  if (node.kind === "element") buildElement(node);
  return node.shown;
}

/** A table stands in a box of its own, which scrolls where the table is wider. */
function buildElement(node) {
  const made = document.createElement(node.name);
  for (const [name, value] of Object.entries(node.attributes)) made.setAttribute(name, value);
  node.shown = made;
  if (node.name === "table") {
    node.shown = document.createElement("div");
    node.shown.className = "table";
    node.shown.tabIndex = 0;
    node.shown.append(made);
  }
  patch(made, [], node.children);
}

const contentOf = ({ name, shown }) => (name === "table" ? shown.firstChild : shown);
