// Asks a published bot, waits for the answer, and prints it.
//
//     ENDPOINT=… API_KEY=… node published.mjs "Hello!"      (ENDPOINT: as GET /bot/{id}/publication shows it)
//
// Runs in Node 20 and newer. In a browser `ask` is the same, from an origin of `allowedOrigins`; whoever opens that page can
// read the key in it.

const ENDPOINT = process.env.ENDPOINT.replace(/\/$/, "");
const API_KEY = process.env.API_KEY;
const PATIENCE = 300; // seconds for the answer
const WAIT = 30; // seconds for which one request waits for it
const LONGEST_PAUSE = 60; // a quota may say to come back tomorrow: that is not waited for

const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

/**
 * The JSON of an answer. What says `Retry-After` is asked again then.
 * Whether a question arrived is not known where no answer came. With the same key it is sent again, and asked once.
 */
async function call(method, path, body, deadline) {
  const headers = { "x-api-key": API_KEY, "Content-Type": "application/json" };
  if (method !== "GET") headers["Idempotency-Key"] = crypto.randomUUID();
  for (;;) {
    let pause = 1;
    try {
      const response = await fetch(ENDPOINT + path, {
        method,
        headers,
        body: body && JSON.stringify(body),
      });
      if (response.ok) return await response.json();
      const sentence = await response.text();
      pause = Number(response.headers.get("Retry-After") ?? Infinity);
      if (pause > LONGEST_PAUSE || Date.now() + pause * 1000 > deadline) throw new Error(`${response.status}: ${sentence}`);
    } catch (error) {
      // `fetch` says TypeError of a broken connection.
      if (!(error instanceof TypeError) || Date.now() > deadline) throw error;
    }
    await sleep(pause);
  }
}

/** The answer, and the conversation's id to go on with. */
export async function ask(text, conversationId = null, model = "claude-v4.5-sonnet") {
  const deadline = Date.now() + PATIENCE * 1000;
  const message = { content: [{ contentType: "text", body: text }], model };
  const accepted = await call("POST", "/conversation", { conversationId, message }, deadline);
  const path = [accepted.conversationId, accepted.messageId].map(encodeURIComponent).join("/");
  const answer = await call("GET", `/conversation/${path}?wait=${WAIT}`, undefined, deadline);
  const texts = answer.message.content.filter((part) => part.contentType === "text").map((part) => part.body);
  return { text: texts.join(""), conversationId: accepted.conversationId };
}

try {
  console.log((await ask(process.argv.slice(2).join(" ") || "Hello!")).text);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
