/** The API as this page uses it. Whoever writes a client of the event streams may begin by reading this file. */

const EVENT_STREAM = "text/event-stream";
const RECONNECTS = 5;
const PAUSE = 1000;
const CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

let token = "";
export const useToken = (value) => (token = value);

/** The server said no: a status, and the body's `detail` as the message. */
export class Refused extends Error {
  constructor(status, body) {
    super(body.detail ?? `HTTP ${status}`);
    this.status = status;
  }
}

/** An id that sorts by time: conversations are listed by their ids, newest first. */
export function newId() {
  let [head, time] = ["", Date.now()];
  for (; head.length < 10; time = Math.floor(time / 32)) head = CROCKFORD[time % 32] + head;
  return head + Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => CROCKFORD[byte % 32]).join("");
}

async function request(method, path, { body, headers, signal } = {}) {
  const type = body && { "Content-Type": "application/json" };
  const response = await fetch(path, {
    method,
    signal,
    headers: { Authorization: `Bearer ${token}`, ...type, ...headers },
    body: body && JSON.stringify(body),
  });
  if (response.ok) return response;
  if (response.status === 401) document.dispatchEvent(new Event("signed-out"));
  throw new Refused(response.status, await response.json().catch(() => ({})));
}

const json = async (...what) => (await request(...what)).json();
const at = (...ids) => `/conversation/${ids.map(encodeURIComponent).join("/")}`;

export const list = () => json("GET", "/conversations");
export const read = (id) => json("GET", at(id));
export const remove = (id) => json("DELETE", at(id));
export const rename = (id, newTitle) => json("PATCH", `${at(id)}/title`, { body: { newTitle } });
export const proposeTitle = async (id) => (await json("GET", `${at(id)}/proposed-title`)).title;
export const documents = (id) => json("GET", at(id, "related-documents"));
export const stop = (id, question) => json("POST", `${at(id, question)}/stop`);

const ofBot = (id, part = "") => `/bot/${part}${encodeURIComponent(id)}`;

export const bots = (query) => json("GET", `/bot?${new URLSearchParams(query)}`);
export const bot = (id) => json("GET", ofBot(id, "summary/"));
export const star = (id, starred) => request("PATCH", `${ofBot(id)}/starred`, { body: { starred } });

/** Bots of the store: those that are found, or the popular ones. A server without a store has none. */
export async function store(query, signal) {
  const path = query ? `/store/search?${new URLSearchParams({ query })}` : "/store/popular";
  try {
    return await json("GET", path, { signal });
  } catch (error) {
    if (error.status === 404) return [];
    throw error;
  }
}

/** The events of the turn that `input` begins. Refused before the first of them, nothing was stored. */
export async function* ask(input, question, signal) {
  const response = await request("POST", "/conversation", { body: input, headers: { Accept: EVENT_STREAM }, signal });
  yield* follow(response, input.conversationId, question, signal);
}

/** The events of a turn that was begun before: in another window, or before a reload. */
export async function* resume(id, question, signal) {
  yield* follow(null, id, question, signal);
}

/** Every event to the last one, over as many connections as that takes. Without a response it makes the first. */
async function* follow(response, id, question, signal) {
  let seen = "";
  for (let broken = 0; broken <= RECONNECTS; broken += 1) {
    try {
      const headers = { Accept: EVENT_STREAM, ...(seen && { "Last-Event-ID": seen }) };
      response ??= await request("GET", `${at(id, question)}/stream`, { headers, signal });
      if (response.status === 204) return;
      for await (const event of events(response)) {
        if (event.name === "error" && event.data.resume) break; // this server leaves, the turn goes on
        seen = event.id ?? seen;
        broken = 0;
        yield event;
        if (event.name === "message_stop" || event.name === "error") return;
      }
    } catch (error) {
      if (signal.aborted || error instanceof Refused) throw error;
    }
    response = null;
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
  }
  throw new Error("The connection was lost.");
}

async function* events(response) {
  let rest = "";
  for await (const text of pieces(response.body.pipeThrough(new TextDecoderStream()))) {
    const blocks = (rest + text).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map(field));
      if (fields.event) yield { id: fields.id, name: fields.event, data: JSON.parse(fields.data) };
    }
  }
}

/** `name: value`. A comment, which keeps the connection alive, has no name. */
function field(line) {
  const colon = line.indexOf(":");
  return [line.slice(0, colon), line.slice(colon + 2)];
}

/** `for await` over the stream itself, which not every browser has. */
async function* pieces(stream) {
  const reader = stream.getReader();
  for (let read = await reader.read(); !read.done; read = await reader.read()) yield read.value;
}
