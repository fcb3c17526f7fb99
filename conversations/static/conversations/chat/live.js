/** An answer that is being written. However many events come, a frame costs one painting, of what is new. */

import { el } from "./elements.js";
import { Prose } from "./notes.js";
import { Tools } from "./tools.js";
import { reasoning } from "./view.js";
import { words } from "./words.js";

const REST = 3;

export class LiveAnswer {
  prose = new Prose();
  status = el("p.status", {}, words.answering);

  /** `base` is what the answer held before, where this turn continues one, and `documents` what that rests on. */
  constructor(modelName, base, documents = []) {
    Object.assign(this, { base, before: documents });
    const name = el("h2.name", {}, modelName);
    this.element = el("article.answer", { ariaBusy: "true" }, name, this.prose.element, this.status);
    this.begin();
  }

  /** The answer is told anew, whatever was told before: all of it, or what joins the answer before. */
  begin(continues = true, base = this.base) {
    this.reasoning?.remove();
    this.tools?.element.remove();
    this.prose.begin("");
    Object.assign(this, { continues, base, text: "", thought: "", reasoning: null, tools: new Tools(), documents: [...this.before] });
    this.prose.element.before(this.tools.element);
    this.paintSoon();
  }

  hear(kind, text) {
    this[kind === "text" ? "text" : "thought"] += text;
    this.say(kind === "text" ? words.answering : words.thinking);
    this.paintSoon();
  }

  /** Tools run: what was said before them moves to their calls, and the next round begins. */
  use(data) {
    this.tools.use(data, this.text.trim() ? [{ contentType: "text", body: this.text }] : []);
    this.reasoning?.remove();
    Object.assign(this, { text: "", thought: "", reasoning: null });
    this.prose.begin("");
    this.say(words.tool(data.name));
    this.paintSoon();
  }

  end(data) {
    this.tools.end(data);
    this.paintSoon();
  }

  find(data) {
    this.tools.find(data);
    this.documents.push(data.relatedDocument);
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

  /** The next painting waits some times as long as the one before took, so that there is time for all else. */
  paintSoon() {
    if (this.isDue) return;
    this.isDue = true;
    const paint = () => requestAnimationFrame(() => this.isDue && this.paint());
    setTimeout(paint, Math.max(0, (this.rest ?? 0) - (performance.now() - this.paintedAt)));
  }

  /** With `isWhole` nothing follows. */
  paint(isWhole = false) {
    const begun = performance.now();
    this.isDue = false;
    this.tools.showNew();
    const { thought, whole } = this;
    if (thought) {
      if (!this.reasoning) this.prose.element.before((this.reasoning = reasoning("", true)));
      const shown = this.reasoning.lastChild.firstChild;
      shown.appendData(thought.slice(shown.length));
      if (whole && !this.prose.source) this.reasoning.open = false;
    }
    this.prose.know(this.documents);
    this.prose.show(whole, isWhole);
    this.paintedAt = performance.now();
    this.rest = REST * (this.paintedAt - begun);
  }
}
