// Asks a question and prints the answer as it comes; a broken connection is picked up where it broke.
//
//     TOKEN=… node stream.mjs "Hello!"          (BASE_URL names another server than http://localhost:8000)
//
// Runs in Node 18 and newer. In a browser `turn` is the same; take the token from your sign-in instead.

const BASE_URL = process.env.BASE_URL ?? "http://localhost:8000";
const TOKEN = process.env.TOKEN;
const TRIES = 5;

const call = (method, path, { body, headers } = {}) =>
  fetch(BASE_URL + path, {
    method,
    headers: { Authorization: `Bearer ${TOKEN}`, "Content-Type": "application/json", ...headers },
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
export async function* turn(conversationId, text, model = "claude-v4.5-sonnet") {
  const messageId = crypto.randomUUID();
  const message = { content: [{ contentType: "text", body: text }], model, messageId };
  const path = `/conversation/${encodeURIComponent(conversationId)}/${messageId}/stream`;
  let [begun, lastSeen] = [false, ""];
  for (let attempt = 0; attempt < TRIES; attempt += 1) {
    try {
      // Asking again under the same id is safe, and needed until the server has said that the question is stored.
      const response = begun
        ? await call("GET", path, { headers: { "Last-Event-ID": lastSeen } })
        : await call("POST", "/conversation", {
            body: { conversationId, message },
            headers: { Accept: "text/event-stream" },
          });
      if (response.status === 204) return; // the end was seen already
      if (response.status === 409 && !begun) {
        begun = true; // the first try did arrive: its turn is running
        continue;
      }
      if (!response.ok) {
        yield { name: "error", data: await response.json() }; // before the first event: an ordinary answer
        return;
      }
      for await (const event of events(response)) {
        if (event.name === "error" && event.data.resume) break; // this server leaves, the turn goes on
        [begun, lastSeen] = [true, event.id ?? lastSeen];
        yield event;
        if (event.name === "message_stop" || event.name === "error") return;
      }
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // what fetch says of a broken connection
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
  yield { name: "error", data: { detail: "The connection was lost." } };
}

/** Ends the answer; what was said so far is kept. Closing the stream does not stop it. */
export const stop = (conversationId, messageId) =>
  call("POST", `/conversation/${encodeURIComponent(conversationId)}/${messageId}/stop`);

let [answer, printed] = ["", ""];
for await (const { name, data } of turn(`example-${Date.now()}`, process.argv.slice(2).join(" ") || "Hello!")) {
  if (name === "message_start") answer = ""; // from here on the answer is told from its beginning, perhaps again
  if (name === "text") {
    answer += data.text;
    process.stdout.write(answer.slice(printed.length));
    if (answer.length > printed.length) printed = answer;
  }
  if (name === "retrying") console.error(`(Bedrock is busy; next try in ${data.seconds} s)`);
  if (name === "message_stop") console.error(`\n(${data.stopReason}, ${data.price} USD)`);
  if (name === "error") {
    console.error(data.detail);
    process.exitCode = 1;
  }
}
