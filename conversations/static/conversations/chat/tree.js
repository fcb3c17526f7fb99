/** A conversation's messages as a tree: the API's `messageMap`, whose root is `system`. Every branch is kept. */

export const ROOT = "system";
const CONTINUABLE = ["stopped", "interrupted", "max_tokens"];

export function emptyMap() {
  return { [ROOT]: { role: "system", content: [], children: [], parent: null } };
}

export function path(map, leaf) {
  const found = [];
  for (let id = leaf; id !== ROOT; id = map[id].parent) found.unshift(id);
  return found;
}

export function newestLeaf(map, id) {
  while (map[id].children.length) id = map[id].children.at(-1);
  return id;
}

/** Adds a message below its parent, or puts another in its place. */
export function put(map, id, message) {
  map[id] = { children: [], ...message };
  const { children } = map[message.parent];
  if (!children.includes(id)) children.push(id);
}

export function take(map, id) {
  const { children } = map[map[id].parent];
  children.splice(children.indexOf(id), 1);
  delete map[id];
}

export function isQuestion(map, id) {
  return map[id].role === "user";
}

/** An answer that could go on: cut short, and nothing said after it. */
export function isCutShort({ children, stopReason }) {
  return !children.length && CONTINUABLE.includes(stopReason);
}

export function textOf(message) {
  return message.content.filter((block) => block.contentType === "text").map((block) => block.body).join("\n\n");
}
