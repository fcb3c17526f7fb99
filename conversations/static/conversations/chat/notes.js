/** An answer in Markdown and, below it, a numbered note for each source that it names. */

import { el } from "./elements.js";
import { Markdown } from "./markdown/markdown.js";
import { source } from "./tools.js";
import { words } from "./words.js";

const NONE = [];

export class Prose {
  markdown = new Markdown();
  notes = el("ol.notes", { ariaLabel: words.notes });
  documents = NONE;
  known = 0;

  constructor() {
    this.element = el("div.cited", {}, this.markdown.element, this.notes);
    this.markdown.element.addEventListener("click", ({ target }) => this.open(target.closest("button[data-source]")));
  }

  get source() {
    return this.markdown.source;
  }

  begin(text) {
    this.markdown.begin(text);
    this.showNotes();
  }

  /** Takes the documents that the answer may name. A list that has grown is known anew. */
  know(documents = NONE) {
    if (documents === this.documents && documents.length === this.known) return;
    Object.assign(this, { documents, known: documents.length });
    this.markdown.know(new Set(documents.map(({ sourceId }) => sourceId)));
    this.showNotes();
  }

  /** Shows a text. With `isWhole` nothing follows. */
  show(text, isWhole = false) {
    this.markdown.show(text, isWhole);
    this.showNotes();
    return this;
  }

  /** Notes are made when their number is first written, and stay as they are. */
  showNotes() {
    const cited = [...this.markdown.cited.keys()];
    const shown = [...this.notes.children];
    const kept = shown.findIndex((note, at) => note.dataset.source !== cited[at]);
    if (kept >= 0) shown.slice(kept).forEach((note) => note.remove());
    cited.slice(this.notes.children.length).forEach((id) => this.notes.append(this.note(id)));
  }

  note(id) {
    const made = el("li", {}, source(this.documents.find(({ sourceId }) => sourceId === id), true));
    made.dataset.source = id;
    return made;
  }

  /** Opens the note of a number, and goes there. */
  open(button) {
    const note = button && [...this.notes.children].find(({ dataset }) => dataset.source === button.dataset.source);
    if (!note) return;
    note.querySelector("details").open = true;
    note.querySelector("summary").focus();
  }
}
