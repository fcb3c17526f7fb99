/** The bots that somebody has to do with: starred ones, recently used ones, and their own. */

import * as api from "./api.js";

const MOST_RECENT = 100;
const KINDS = {
  starred: { kind: "mixed", starred: true },
  recent: { kind: "mixed", limit: MOST_RECENT },
  own: { kind: "private" },
};

export const lists = { starred: [], recent: [], own: [] };
const titles = new Map();
let reading = null;
let latest = 0;

/** Reads the lists anew, once for all who ask meanwhile. Those that cannot be read stay; why is thrown at the end. */
export function refresh() {
  const read = (reading ??= readLists().finally(() => {
    if (reading === read) reading = null;
  }));
  return read;
}

async function readLists() {
  const mine = (latest += 1);
  const read = async ([name, query]) => {
    const found = await api.bots(query);
    if (mine !== latest) return; // a star was set since, or somebody else came
    lists[name] = found;
    found.forEach(learn);
  };
  const results = await Promise.allSettled(Object.entries(KINDS).map(read));
  const refused = results.find(({ status }) => status === "rejected");
  if (refused) throw refused.reason;
}

/** Forgets everything: somebody else may use this browser next. */
export function forget() {
  latest += 1;
  reading = null;
  Object.assign(lists, { starred: [], recent: [], own: [] });
  titles.clear();
}

export function learn({ id, title }) {
  titles.set(id, title);
}

/** The title of a bot, as far as it is known here. */
export const titleOf = (id) => titles.get(id) ?? null;

/** The title of a bot that may not be read: lists tell how it was called when it was seen last. */
async function lastTitleOf(id) {
  if (!titles.has(id)) await refresh().catch(() => {});
  return titleOf(id);
}

/** Starred ones first, then those used last. */
export function first(count) {
  const { starred, recent } = lists;
  return distinct([...starred, ...recent]).slice(0, count);
}

export function distinct(bots) {
  return [...new Map(bots.map((bot) => [bot.id, bot])).values()];
}

/** Those of the lists with all of the words in their title or description, however they are written. */
export function matching(query) {
  const fold = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  const parts = fold(query).split(/\s+/).filter(Boolean);
  const all = distinct(Object.values(lists).flat());
  return all.filter(({ title, description }) => parts.every((part) => fold(`${title} ${description}`).includes(part)));
}

/** A bot that somebody is about to chat with. One that is gone, or not shared with them, is not `available`. */
export async function open(id) {
  try {
    const bot = await api.bot(id);
    learn(bot);
    return { ...bot, available: true };
  } catch (error) {
    if (![400, 403, 404].includes(error.status)) throw error;
    return missing(id);
  }
}

export async function missing(id) {
  return { id, title: await lastTitleOf(id), available: false };
}

export async function star(bot, starred) {
  await api.star(bot.id, starred);
  bot.isStarred = starred;
  reading = null; // it may have begun before
  await refresh();
}
