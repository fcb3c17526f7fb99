/** What is shown of an open conversation: one branch of its messages, and what can be done with each. */

import { addressOfBot } from "./address.js";
import * as composer from "./composer.js";
import { byId, el, failureNote, icon, iconButton, replace, wideButton } from "./elements.js";
import { starButton } from "./finder.js";
import * as tree from "./tree.js";
import { answer, question, warnings, write } from "./view.js";
import { words } from "./words.js";

let following = true;

/** Makes the list anew. `acts` are what its buttons do: show, edit, again, proceed, retry, ask and starred. */
export function draw({ open, live, editing, failure }, acts) {
  const focused = document.activeElement?.dataset.key;
  const canAsk = open.bot?.available !== false;
  const ids = tree.path(open.map, open.leaf).filter((id) => id !== live?.continued);
  const shown = ids.map((id, depth) => {
    const message = open.map[id];
    const tools = [...branches(open.map, id, depth, acts.show), copyButton(message, depth)];
    if (tree.isQuestion(open.map, id)) {
      if (canAsk) tools.push(iconButton("edit", words.edit, () => acts.edit(id), `${depth}-edit`));
      return question(message, el("div.actions", {}, ...tools), id === editing);
    }
    if (canAsk && !live) tools.push(...moreOf(message, id, depth, acts));
    return answer(message, composer.nameOf(message.model), el("div.actions", {}, ...tools, usageOf(message)));
  });
  if (!ids.length && canAsk) shown.push(open.bot ? introduction(open.bot, acts) : greeting(acts.ask));
  const isUnanswered = canAsk && tree.isQuestion(open.map, open.leaf);
  if (live) shown.push(live.message.element);
  if (failure) shown.push(failureNote(failure, words.retry, failure.retry ?? (isUnanswered ? acts.retry : null)));
  write();
  replace(byId("messages"), shown);
  byId("send").hidden = live !== null;
  byId("stop").hidden = live === null;
  byId("editing").hidden = editing === null;
  byId("remove").hidden = open.isNew;
  composer.close(canAsk ? null : open.isNew ? words.botMissing : words.botGone);
  showTitle(open);
  if (focused) focusAgain(focused);
  keepBottom();
}

export function showTitle(open, name = null) {
  const title = name ?? (open.isNew ? words.newChat : open.title || words.untitled);
  byId("title").textContent = title;
  byId("bot").replaceChildren(...(open.bot ? nameOf(open.bot) : []));
  document.title = `${title} – Bedrock Chat`;
}

/** Follows the end of the list as it grows; not while somebody reads further up. */
export function follow(isFollowing) {
  following = isFollowing;
  byId("latest").hidden = following;
  keepBottom();
}

export function setUp() {
  byId("latest").onclick = () => follow(true);
  byId("log").onscroll = ({ target }) => follow(target.scrollHeight - target.scrollTop - target.clientHeight < 32);
  const sizes = new ResizeObserver(keepBottom);
  [byId("log"), byId("messages")].forEach((part) => sizes.observe(part));
}

function keepBottom() {
  if (following) byId("log").scrollTop = byId("log").scrollHeight;
}

/** ‹ 2/3 › where a message has siblings. */
function branches(map, id, depth, show) {
  const versions = map[map[id].parent].children;
  if (versions.length === 1) return [];
  const at = versions.indexOf(id);
  const step = (name, label, to) =>
    iconButton(name, label, () => show(tree.newestLeaf(map, versions[to])), `${depth}-${name}`, !(to in versions));
  const count = el("span.count", {}, `${at + 1}/${versions.length}`);
  return [step("older", words.older, at - 1), count, step("newer", words.newer, at + 1)];
}

function moreOf(message, id, depth, acts) {
  const again = iconButton("again", words.again, () => acts.again(id), `${depth}-again`);
  const canGoOn = tree.isCutShort(message) && composer.model().prefill;
  return canGoOn ? [again, wideButton(words.proceed, () => acts.proceed(id))] : [again];
}

function copyButton(message, depth) {
  const onclick = async () => {
    await navigator.clipboard.writeText(tree.textOf(message));
    byId("said").textContent = words.copied;
  };
  return navigator.clipboard ? iconButton("copy", words.copy, onclick, `${depth}-copy`) : null;
}

/** The ledger's figures, which only the turn itself tells. */
function usageOf({ usage, price }) {
  if (!usage) return null;
  const input = usage.inputTokens + usage.cacheReadInputTokens + usage.cacheWriteInputTokens;
  return el("span.usage", {}, words.tokens(input, usage.outputTokens), price && ` · $${price.toPrecision(2)}`);
}

function nameOf({ id, title, available }) {
  const name = title ?? words.bot;
  return [icon("bot"), available ? el("a", { href: addressOfBot(id) }, name) : el("span", {}, name)];
}

function examples(list, ask) {
  const example = ([title, prompt]) =>
    el("button", { type: "button", onclick: () => ask(prompt) }, el("strong", {}, title), el("span", {}, prompt));
  return el("div.examples", {}, ...list.map(example));
}

/** What a bot is for, and how one may begin with it. */
function introduction(bot, { ask, starred }) {
  const { title, description, conversationQuickStarters: starters } = bot;
  return el(
    "div.greeting",
    {},
    el("div.head", {}, el("h2", {}, title), starButton(bot, starred)),
    el("p.about", {}, description),
    ...warnings(bot.warnings),
    examples(starters.map(({ title, example }) => [title, example]), ask),
  );
}

function greeting(ask) {
  const shown = composer.emulator ? [el("p", {}, words.emulated), examples(words.examples, ask)] : [];
  return el("div.greeting", {}, el("h2", {}, words.greeting), ...shown);
}

/** The same control in the list made anew; its neighbour where it has nothing left to do. */
function focusAgain(key) {
  const found = byId("messages").querySelector(`[data-key="${key}"]`);
  (found?.disabled ? found.parentElement.querySelector("button:enabled") : found)?.focus();
}
