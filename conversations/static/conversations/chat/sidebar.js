/** The list of conversations, which is a drawer on a narrow screen. */

import * as api from "./api.js";
import { byId, el } from "./view.js";
import { words } from "./words.js";

const DAY = 86_400_000;

let conversations = [];

/** The id of the conversation that the address names, or null. */
export const addressed = () => new URLSearchParams(location.hash.slice(1)).get("c");
export const addressOf = (id) => `#c=${encodeURIComponent(id)}`;
export const isDrawerOpen = () => document.body.classList.contains("drawer");

export async function refresh() {
  conversations = await api.list().catch(() => conversations);
  show();
}

export function show() {
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

function entry({ id, title }) {
  const name = title === "New conversation" ? words.untitled : title;
  const ariaCurrent = id === addressed() ? "page" : null;
  return el("li", {}, el("a", { href: addressOf(id), title: name, ariaCurrent, onclick: closeDrawer }, name));
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
