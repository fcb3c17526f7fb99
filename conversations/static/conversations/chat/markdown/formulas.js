/** Formulas. The library that sets them is large, so it comes when the page has nothing else to do. */

import { whenIdle } from "../elements.js";
import { LONGEST_FORMULA } from "./math.js";

/** Two commands whose output has inline styles in attributes, which the page's policy refuses, are set as their kin. */
const MACROS = { "\\pmb": "\\boldsymbol{#1}", "\\fcolorbox": "\\boxed{\\text{#3}}" };
const LIMITS = { maxSize: 20, maxExpand: 200, trust: false, strict: "ignore", throwOnError: true };

let katex = null;
let loading = null;

/** Shows a formula in an element; its source, where it is not complete, not understood, or too long. */
export function fill(shown, { tex, source, isDisplayed, isOpen }) {
  shown.className = isDisplayed ? "formula displayed" : "formula";
  shown.textContent = source;
  if (isOpen || tex.length > LONGEST_FORMULA) return;
  const set = () => typeset(shown, tex, source, isDisplayed);
  if (katex) set();
  else load().then(set, () => {});
}

/** Loads the library, once. */
export function load() {
  loading ??= import("../libraries/katex.js").then((library) => (katex = library.default));
  return loading;
}

whenIdle(() => load().catch(() => {}));

function typeset(shown, tex, source, displayMode) {
  try {
    katex.render(tex, shown, { ...LIMITS, displayMode, macros: { ...MACROS } });
    if (displayMode) shown.tabIndex = 0;
  } catch {
    shown.textContent = source;
  }
}
