/** The lists of bots and of conversations, which are a drawer on a narrow screen. */

import { addressOf, addressOfBot, named } from "./address.js";
import * as api from "./api.js";
import * as bots from "./bots.js";
import { byId, el, icon } from "./elements.js";
import { words } from "./words.js";

const DAY = 86_400_000;
const BOTS = 5;

let conversations = [];
let visit = 0;

export const isDrawerOpen = () => document.body.classList.contains("drawer");

export async function refresh() {
  const before = visit;
  const keep = (read) => {
    if (visit === before) conversations = read;
  };
  await Promise.allSettled([api.list().then(keep), bots.refresh()]); // what cannot be read stays as it was
  show();
}

/** Empties the lists: somebody else may use this browser next. What is being read for them is not shown. */
export function forget() {
  visit += 1;
  conversations = [];
  bots.forget();
  show();
}

export function show() {
  showBots();
  const midnight = new Date().setHours(0, 0, 0, 0);
  const ages = Object.groupBy(conversations, ({ createTime }) =>
    createTime >= midnight ? 0 : createTime >= midnight - 6 * DAY ? 1 : 2,
  );
  const parts = Object.entries(ages).flatMap(([age, group]) => [
    el("h2", {}, words.days[age]),
    el("ul", {}, ...group.map(entry)),
  ]);
  byId("list").replaceChildren(...(parts.length ? parts : [el("p", {}, words.noConversations)]));
}

export function showBots() {
  const shown = bots.first(BOTS).map(({ id, title, isStarred, available }) => {
    const parts = [icon(isStarred ? "star" : "bot"), el("span", {}, title)];
    const ariaCurrent = id === named("bot") ? "page" : null;
    const link = () => el("a", { href: addressOfBot(id), title, ariaCurrent, onclick: closeDrawer }, ...parts);
    return el(isStarred ? "li.starred" : "li", {}, available ? link() : gone(parts));
  });
  byId("bots").replaceChildren(el("ul", {}, ...shown));
  byId("all-bots").ariaCurrent = named("bots") === null ? null : "page";
}

function gone(parts) {
  return el("span.gone", { title: words.unavailable }, ...parts, el("span.unseen", {}, words.unavailable));
}

function entry({ id, title, botId }) {
  const name = title === "New conversation" ? words.untitled : title;
  const ariaCurrent = id === named("c") ? "page" : null;
  const bot = botId && el("small", {}, bots.titleOf(botId) ?? words.bot);
  return el("li", {}, el("a", { href: addressOf(id), title: name, ariaCurrent, onclick: closeDrawer }, name, bot));
}

export function openDrawer() {
  document.body.classList.add("drawer");
  byId("main").inert = true;
  byId("new").focus();
}

export function closeDrawer() {
  if (!isDrawerOpen()) return;
  document.body.classList.remove("drawer");
  byId("main").inert = false;
  byId("menu").focus();
}
