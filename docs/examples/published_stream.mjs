// Asks a published bot and prints the answer as it comes; a broken connection is picked up where it broke.
//
//     ENDPOINT=… API_KEY=… node published_stream.mjs "Hello!"   (ENDPOINT: as GET /bot/{id}/publication shows it)
//
// Runs in Node 18 and newer. In a browser `turn` is the same, from an origin of `allowedOrigins`; whoever opens that page can
// read the key in it.

const ENDPOINT = process.env.ENDPOINT.replace(/\/$/, "");
const API_KEY = process.env.API_KEY;
const TRIES = 10;

const call = (method, path, { body, headers } = {}) =>
  fetch(ENDPOINT + path, {
    method,
    headers: { "x-api-key": API_KEY, "Content-Type": "application/json", Accept: "text/event-stream", ...headers },
    body: body && JSON.stringify(body),
  });

/** Name, id and data of each event of a response. */
async function* events(response) {
  let buffer = "";
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    buffer += chunk;
    const blocks = buffer.split("\n\n");
    buffer = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(
        block.split("\n").filter((line) => !line.startsWith(":")).map((line) => line.split(/: (.*)/s, 2)),
      );
      if (fields.data) yield { name: fields.event, id: fields.id, data: JSON.parse(fields.data) };
    }
  }
}

/** The events of one turn, whole, however often the connection breaks. */
export async function* turn(text, conversationId = null, model = "claude-v4.5-sonnet") {
  const message = { content: [{ contentType: "text", body: text }], model };
  let [path, lastSeen] = ["", ""];
  for (let attempt = 0; attempt < TRIES; attempt += 1) {
    try {
      const response = path
        ? await call("GET", `${path}/stream`, { headers: lastSeen ? { "Last-Event-ID": lastSeen } : {} })
        : await call("POST", "/conversation", { body: { conversationId, message } });
      if (response.status === 204) return; // the end was seen already
      if (!response.ok) {
        yield { name: "error", data: await response.json() }; // before the first event: an ordinary answer
        return;
      }
      for await (const event of events(response)) {
        if (event.name === "error" && event.data.resume) break; // this server leaves, the turn goes on
        const { conversationId: conversation, messageId } = event.data;
        if (messageId) path = `/conversation/${encodeURIComponent(conversation)}/${encodeURIComponent(messageId)}`;
        lastSeen = event.id ?? lastSeen;
        yield event;
        if (event.name === "message_stop" || event.name === "error") return;
      }
    } catch (error) {
      // `fetch` says TypeError of a broken connection. Whether a question arrived is not known then: it is not asked twice.
      if (!(error instanceof TypeError) || !path) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
  yield { name: "error", data: { detail: "The connection was lost." } };
}

/** Ends the answer; what was said so far is kept. Closing the stream does not stop it. */
export const stop = (conversationId, messageId) =>
  call("POST", `/conversation/${encodeURIComponent(conversationId)}/${encodeURIComponent(messageId)}/stop`);

let [answer, printed] = ["", ""];
for await (const { name, data } of turn(process.argv.slice(2).join(" ") || "Hello!")) {
  if (name === "restart") {
    console.error("\n(it is written anew)");
    printed = "";
  }
  if (name === "message_start") answer = ""; // from here on the answer is told from its beginning, perhaps again
  if (name === "text") {
    answer += data.text;
    process.stdout.write(answer.slice(printed.length));
    if (answer.length > printed.length) printed = answer;
  }
  if (name === "message_stop") console.error(`\n(${data.stopReason}, ${data.price} USD)`);
  if (name === "error") {
    console.error(data.detail);
    process.exitCode = 1;
  }
}
