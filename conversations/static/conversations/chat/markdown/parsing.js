/** Markdown as a tree of plain nodes. Of markup in it nothing gets through: it is text, but for `<br>`. */

import MarkdownIt from "../libraries/markdown-it.js";
import { citations } from "./citations.js";
import { math } from "./math.js";
import { words } from "../words.js";

const ELEMENTS = new Set("p ul ol li blockquote table thead tbody tr th td strong em s hr".split(" "));
const BREAK = /^<br ?\/?>/i;
const CJK = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Hangul}\u3000-\u303f\uff00-\uffef]/u;
const GLUED = new RegExp(`(?<=[a-z0-9])${CJK.source}`, "iu");
const PROTOCOLS = ["http:", "https:", "mailto:"];

const parser = new MarkdownIt({ html: false, breaks: true, linkify: true }).use(math).use(citations).use(lineBreaks).use(emphasis);
parser.linkify.set({ fuzzyLink: false, fuzzyEmail: false, fuzzyIP: false });

export const text = (data) => ({ kind: "text", data });
export const element = (name, attributes, children) => ({ kind: "element", name, attributes, children });

/** The blocks of a text, each with the `line` where it begins. `env` keeps what links refer to, and what is cited. */
export function parse(source, env) {
  return treeOf(parser.parse(source, env), true);
}

function treeOf(tokens, isTop = false) {
  const root = [];
  const stack = [root];
  for (let at = 0; at < tokens.length; at += 1) {
    const token = tokens[at];
    const into = stack.at(-1);
    const glued = token.markup === "linkify" && token.nesting > 0 ? tokens[at + 1].content.search(GLUED) : -1;
    if (glued > 0) {
      into.push(...cutLink(tokens[at + 1].content, glued));
      at += 2;
    } else if (token.nesting < 0) stack.pop();
    else if (token.nesting > 0) stack.push(opened(token, into));
    else if (token.type === "inline") into.push(...treeOf(token.children));
    else into.push(leaf(token));
    if (isTop && token.level === 0 && token.nesting >= 0) root.at(-1).line = token.map[0];
  }
  return root;
}

/** Adds what a token opens, and gives the list for what is in it. What must not be there leaves its content. */
function opened(token, into) {
  const node = container(token);
  if (!node) return into;
  into.push(node);
  return node.name === "table" ? (node.children = []) : node.children;
}

function container(token) {
  const { tag } = token;
  if (token.type === "link_open") return link(token.attrGet("href"), []);
  if (token.type === "heading_open") return element(`h${Math.min(6, Number(tag[1]) + 2)}`, {}, []);
  if (token.hidden || !ELEMENTS.has(tag)) return null;
  if (tag === "ol") return element(tag, token.attrGet("start") ? { start: token.attrGet("start") } : {}, []);
  const align = /^text-align:(\w+)$/.exec(token.attrGet("style") ?? "");
  return element(tag, align ? { class: `align-${align[1]}` } : {}, []);
}

function leaf(token) {
  const { type, content } = token;
  if (type === "text") return text(content);
  if (type === "softbreak" || type === "hardbreak") return text("\n");
  if (type === "hr") return element("hr", {}, []);
  if (type === "code_inline") return element("code", {}, [text(content)]);
  if (type === "fence" || type === "code_block") return code(token);
  if (type === "formula") return formula(token);
  if (type === "image") return picture(token);
  if (type === "citation") return citation(token);
  return text(content);
}

function code({ info, content, markup }) {
  return { kind: "code", language: info.trim().split(/[\s{,]/)[0].toLowerCase(), data: content, markup };
}

function formula({ content, markup, meta: { isDisplayed, isOpen, closing } }) {
  const source = `${markup}${content}${isOpen ? "" : closing}`;
  return { kind: "formula", tex: content, source, isDisplayed, isOpen };
}

/** The number of a note. A source that is not known stays as it was written. */
function citation({ content, meta: { id, number } }) {
  if (number === null) return element("span", { class: "uncited" }, [text(content)]);
  const label = { "aria-label": words.note(number), "data-source": id };
  return element("sup", {}, [element("button", { type: "button", class: "citation", ...label }, [text(`${number}`)])]);
}

/** A picture elsewhere would tell its server who reads this, so it is a link. */
function picture(token) {
  const name = token.content || token.attrGet("src");
  return link(token.attrGet("src"), [text(name)]) ?? text(name);
}

/** A link that leads out of the page, or null: an address of this server could act in the reader's name. */
function link(href, children) {
  const url = URL.parse(href);
  if (!url || !PROTOCOLS.includes(url.protocol) || url.origin === location.origin) return null;
  return element("a", { href: url.href, target: "_blank", rel: "noopener noreferrer" }, children);
}

/** An address that a sentence in Japanese or Chinese follows without a space ends where that begins. */
function cutLink(content, at) {
  const [address, rest] = [text(content.slice(0, at)), text(content.slice(at))];
  return [link(address.data, [address]) ?? address, rest];
}

function lineBreaks(md) {
  md.inline.ruler.before("html_inline", "line_break", (state, silent) => {
    const found = state.src[state.pos] === "<" && BREAK.exec(state.src.slice(state.pos, state.pos + 6));
    if (!found) return false;
    if (!silent) state.push("hardbreak", "br", 0);
    state.pos += found[0].length;
    return true;
  });
}

/** Between characters that are written without spaces, ** and * work beside punctuation too: **「強調」**です. */
function emphasis(md) {
  md.inline.State = class extends md.inline.State {
    scanDelims(start, canSplitWord) {
      const found = super.scanDelims(start, canSplitWord);
      const [before, after] = [this.src[start - 1] ?? " ", this.src[start + found.length] ?? " "];
      if (!canSplitWord || !(CJK.test(before) || CJK.test(after))) return found;
      return { ...found, can_open: !/\s/.test(after), can_close: !/\s/.test(before) };
    }
  };
}
