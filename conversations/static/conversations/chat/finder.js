/** The page of all bots: one's own lists, and the store with a box to search it. */

import { addressOfBot } from "./address.js";
import * as api from "./api.js";
import * as bots from "./bots.js";
import { byId, el, failureNote, iconButton } from "./elements.js";
import { words } from "./words.js";

const PAUSE = 200;
const FEW = 12;

let [timer, search, onChange] = [null, new AbortController(), () => {}];

/** `changed` is told when a star has changed what the lists hold. */
export function setUp(changed) {
  onChange = changed;
  byId("query").oninput = () => {
    clearTimeout(timer);
    timer = setTimeout(refresh, PAUSE);
  };
  byId("search").onsubmit = (event) => {
    event.preventDefault();
    clearTimeout(timer);
    refresh();
  };
}

export function show(isShown) {
  for (const part of ["log", "dock"]) byId(part).hidden = isShown;
  byId("finder").hidden = !isShown;
  if (!isShown) search.abort();
}

/** Shows what stands in the box, or one's lists and what is popular where it is empty. */
export async function refresh() {
  search.abort();
  const { signal } = (search = new AbortController());
  const query = byId("query").value.trim();
  byId("finder").ariaBusy = "true";
  const [lists, store] = await Promise.allSettled([query ? null : bots.refresh(), api.store(query, signal)]);
  if (signal.aborted) return;
  byId("finder").ariaBusy = "false";
  const found = store.value ?? [];
  found.forEach(bots.learn);
  const failure = [store, lists].find(({ status }) => status === "rejected")?.reason;
  const note = failure ? [failureNote({ detail: detailOf(failure) }, words.retry, refresh)] : [];
  byId("found").replaceChildren(...note, ...(query ? results(query, found, failure) : sections(found, failure)));
}

function results(query, found, failure) {
  const all = bots.distinct([...found, ...bots.matching(query)]);
  byId("found-count").textContent = words.found(all.length);
  if (!all.length) return failure ? [] : [el("p.empty", {}, words.noneFound)];
  return [section(words.results, all, all.length)];
}

function sections(popular, failure) {
  byId("found-count").textContent = "";
  const { starred, recent, own } = bots.lists;
  const parts = [
    [words.starred, starred],
    [words.recent, recent],
    [words.own, own],
    [words.popular, popular],
  ].filter(([, list]) => list.length);
  if (!parts.length) return failure ? [] : [el("p.empty", {}, words.noBots)];
  return parts.map(([title, list]) => section(title, list, FEW));
}

/** Some of a list, and a button for all of it. */
function section(title, list, count) {
  const marksOwn = list !== bots.lists.own;
  const cardOf = (bot) => card(bot, marksOwn);
  const cards = el("ul.cards", {}, ...list.slice(0, count).map(cardOf));
  const made = el("section", {}, el("h2", {}, title), cards);
  if (list.length > count) {
    const all = el("button.wide", { type: "button" }, words.showAll(list.length));
    all.onclick = () => {
      cards.append(...list.slice(count).map(cardOf));
      all.remove();
      cards.children[count].querySelector("a, button")?.focus();
    };
    made.append(all);
  }
  return made;
}

/** `marksOwn` where others' bots are listed too. */
function card(bot, marksOwn) {
  const { id, title, description, available, owned } = bot;
  const text = [el("strong", {}, title), el("span", {}, available ? description : words.unavailable)];
  const name = owned && marksOwn ? [...text, el("small", {}, words.yours)] : text;
  const main = available ? el("a", { href: addressOfBot(id) }, ...name) : el("div.gone", {}, ...name);
  return el("li", {}, main, available || bot.isStarred ? starButton(bot, onChange) : null);
}

/** Stars a bot, or takes its star away. */
export function starButton(bot, changed) {
  const label = () => (bot.isStarred ? words.unstar(bot.title) : words.star(bot.title));
  const button = iconButton("star", label(), async () => {
    button.disabled = true;
    try {
      await bots.star(bot, !bot.isStarred);
    } catch (error) {
      byId("said").textContent = detailOf(error);
    }
    Object.assign(button, { disabled: false, ariaPressed: String(bot.isStarred), ariaLabel: label(), title: label() });
    button.focus();
    changed();
  });
  button.classList.add("star");
  button.ariaPressed = String(bot.isStarred);
  return button;
}

function detailOf(error) {
  return error instanceof api.Refused ? error.message : words.lost;
}
