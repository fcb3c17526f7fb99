/** Rules for the parser: formulas in TeX, as $…$, $$…$$, \(…\) and \[…\]. */

export const LONGEST_FORMULA = 2000;

/** In one paragraph. Each is a hundred elements. */
const MOST_FORMULAS = 300;
const BACKSLASH = "\\";
const BLOCKS = { $$: "$$", "\\[": "\\]" };
const INLINE = { "\\(": ["\\)", false], "\\[": ["\\]", true], $$: ["$$", true], $: ["$", false] };

export function math(parser) {
  const interrupts = { alt: ["paragraph", "reference", "blockquote", "list"] };
  parser.block.ruler.before("fence", "formula", block, interrupts);
  parser.inline.ruler.before("escape", "formula", inline);
}

/** Lines from an opening mark to its closing one, or to the end of what has come so far; no line is blank. */
function block(state, first, end, silent) {
  const opening = lineOf(state, first).slice(0, 2);
  const closing = Object.hasOwn(BLOCKS, opening) ? BLOCKS[opening] : null;
  if (closing === null || state.sCount[first] - state.blkIndent >= 4) return false;
  // From a mark before, the lines up to here were searched in vain: long texts are searched once.
  const failed = (state.failed ??= {});
  const kind = `${closing} ${state.blkIndent} ${end} ${state.lineMax}`;
  if (first < failed[kind]) return false;
  const lines = [];
  let isOpen = true;
  for (let line = first; isOpen && line < end; line += 1) {
    const text = line === first ? lineOf(state, line).slice(2) : lineOf(state, line);
    const at = text.indexOf(closing);
    const isCut = state.isEmpty(line) || state.sCount[line] < state.blkIndent;
    if (isCut || (at >= 0 && text.slice(at + 2).trim())) {
      failed[kind] = line;
      return false;
    }
    lines.push(at >= 0 ? text.slice(0, at) : text);
    isOpen = at < 0;
  }
  const tex = lines.join("\n").trim();
  if ((isOpen && end !== state.lineMax) || (!isOpen && !tex) || tex.startsWith("$")) return false;
  if (silent) return true;
  const token = state.push("formula", "", 0);
  Object.assign(token, { content: tex, markup: opening, map: [first, first + lines.length] });
  token.meta = { isDisplayed: true, isOpen, closing };
  state.line = first + lines.length;
  return true;
}

function lineOf(state, line) {
  return state.src.slice(state.bMarks[line] + state.tShift[line], state.eMarks[line]);
}

function inline(state, silent) {
  const { src, pos } = state;
  const opening = [src.slice(pos, pos + 2), src[pos]].find((mark) => Object.hasOwn(INLINE, mark));
  if (!opening) return false;
  const [closing, isDisplayed] = INLINE[opening];
  const begin = pos + opening.length;
  const end = (state.formulas ?? 0) < MOST_FORMULAS ? endOf(state, begin, closing) : -1;
  if (end < 0) return false;
  if (!silent) {
    state.formulas = (state.formulas ?? 0) + 1;
    const token = state.push("formula", "", 0);
    Object.assign(token, { content: src.slice(begin, end).trim(), markup: opening });
    token.meta = { isDisplayed, isOpen: false, closing };
  }
  state.pos = end + closing.length;
  return true;
}

/** Where a formula ends, or -1. A dollar is also money: there is no space inside of the marks, and no digit after. */
function endOf(state, begin, closing) {
  const { src, posMax } = state;
  const isDollar = closing === "$";
  if (isDollar && !/[^\s$]/.test(src[begin] ?? "$")) return -1;
  const limit = Math.min(posMax, begin + LONGEST_FORMULA);
  // Where none was found for a mark before, there is none for this one either. Long texts are searched once, and from
  // no mark to their end.
  const near = src.slice(0, limit + closing.length - 1);
  const searched = (state.searched ??= {});
  const from = Math.max(begin + 1, searched[closing] ?? 0);
  for (let at = near.indexOf(closing, from); at >= 0; at = near.indexOf(closing, at + 1)) {
    const isEscaped = src[at - 1] === BACKSLASH && closing.startsWith("$");
    const isMoney = isDollar && (/\s/.test(src[at - 1]) || /\d/.test(src[at + 1] ?? ""));
    if (!isEscaped && !isMoney && src.slice(begin, at).trim()) return at;
  }
  searched[closing] = limit;
  return -1;
}
