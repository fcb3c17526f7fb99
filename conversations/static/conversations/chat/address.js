/** What the page shows stands in its address: `#c=` a conversation, `#bot=` a new chat with a bot, `#bots` all bots. */

const inAddress = () => new URLSearchParams(location.hash.slice(1));

export const named = (name) => inAddress().get(name);
export const addressOf = (id) => `#c=${encodeURIComponent(id)}`;
export const addressOfBot = (id) => `#bot=${encodeURIComponent(id)}`;

/** Goes to an address of this page, which is not loaded anew. */
export function go(address = "", how = "pushState") {
  history[how](null, "", location.pathname + address);
}

/** A token leaves the address, where it would be seen, bookmarked and copied. A link `/chat?bot=…` becomes `#bot=…`. */
export function tidy() {
  const parts = new URLSearchParams([...new URLSearchParams(location.search), ...inAddress()]);
  if (!location.search && !parts.has("token")) return;
  parts.delete("token");
  go(parts.size ? `#${parts}` : "", "replaceState");
}
