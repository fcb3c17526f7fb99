/** Elements, made by hand: what a model or a user wrote becomes text nodes, never markup. */

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

export const whenIdle = window.requestIdleCallback ?? setTimeout;

/** `el("p.note", {title: "…"}, child, …)`; children that are null are left out. */
export function el(name, properties, ...children) {
  const [tag, ...classes] = name.split(".");
  const made = Object.assign(document.createElement(tag), properties);
  if (classes.length) made.className = classes.join(" ");
  made.append(...children.filter((child) => child != null));
  return made;
}

/** Replaces what an element contains. What is there already is not moved, for that would cost its layout. */
export function replace(parent, children) {
  const kept = new Set(children);
  [...parent.childNodes].filter((child) => !kept.has(child)).forEach((child) => child.remove());
  children.forEach((child, at) => {
    if (parent.childNodes[at] !== child) parent.insertBefore(child, parent.childNodes[at] ?? null);
  });
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

export function wideButton(label, onclick) {
  return el("button.wide", { type: "button", onclick }, label);
}

/** What went wrong, in a sentence, with a button that tries again where that is of use. */
export function failureNote({ detail }, label, retry) {
  const button = retry && wideButton(label, retry);
  return el("div.failure", { role: "alert" }, icon("failure"), el("span", {}, detail), button);
}
