/** The page: which conversation is open, and what happens in it. */

import { addressOf, go, named } from "./address.js";
import * as api from "./api.js";
import * as bots from "./bots.js";
import * as composer from "./composer.js";
import { guard } from "./door.js";
import { byId } from "./elements.js";
import * as finder from "./finder.js";
import { LiveAnswer } from "./live.js";
import * as screen from "./screen.js";
import * as sidebar from "./sidebar.js";
import * as tools from "./tools.js";
import * as tree from "./tree.js";
import { forget, keep } from "./view.js";
import { switchLanguage, translate, words } from "./words.js";

const SENT = ["text", "image", "attachment"];

/** `live` is the turn that is shown as it runs: its question, its answer so far, and how to leave it. */
const state = { open: nothing(), live: null, editing: null, failure: null };

function nothing() {
  return { id: api.newId(), title: "", map: tree.emptyMap(), leaf: tree.ROOT, isNew: true, bot: null };
}

function render() {
  const acts = { show, edit, again, proceed, ask: askExample, starred: sidebar.showBots };
  screen.draw(state, { ...acts, retry: () => retry(state.open.leaf) });
}

// ---- Opening --------------------------------------------------------------------------------------------------------

async function route() {
  leave();
  const open = (state.open = nothing());
  finder.show(named("bots") !== null);
  if (named("bots") !== null) return showBots();
  const [conversation, bot] = [named("c"), named("bot")];
  try {
    if (conversation !== null) await load(open, conversation);
    else if (bot !== null) open.bot = await bots.open(bot);
  } catch (error) {
    const retry = error.status === 404 ? undefined : route;
    state.failure = { detail: error.status === 404 ? words.gone : detailOf(error), retry };
  }
  if (open !== state.open) return;
  composer.chooseModel(open.map[open.leaf].model);
  composer.limitTo(open.bot?.activeModels);
  sidebar.show();
  render();
  screen.follow(true);
  composer.focus();
  await settle();
}

function showBots() {
  screen.showTitle(state.open, words.bots);
  sidebar.show();
  byId("remove").hidden = true;
  focusBox();
  return finder.refresh();
}

/** Leaves the running turn to the server: it goes on there, and is found again when its conversation is opened. */
function leave() {
  state.live?.abort.abort();
  if (state.editing) composer.fill([]);
  Object.assign(state, { live: null, editing: null, failure: null });
}

async function load(open, id) {
  const { title, messageMap, lastMessageId, shouldContinue, botId, botAvailable } = await api.read(id);
  if (shouldContinue) messageMap[lastMessageId].stopReason = "max_tokens";
  if (botId !== open.bot?.id) open.bot = botId && (await botOf(botId, botAvailable));
  Object.assign(open, { id, title, map: messageMap, leaf: lastMessageId, isNew: false });
  if (open.bot) await readDocuments(open);
}

/** What the answers of a bot rest on. The conversation is shown without it, too. */
async function readDocuments(open) {
  tools.assign(open.map, await api.documents(open.id).catch(() => []));
}

/** The bot of a conversation. That its description cannot be read now is no reason not to show the conversation. */
async function botOf(id, available) {
  if (!available) return bots.missing(id);
  return bots.open(id).catch(async () => ({ ...(await bots.missing(id)), available }));
}

/** What is not complete may be running, here or elsewhere: a question's stream says so, or how it ended. */
async function settle() {
  const { leaf, map } = state.open;
  const { parent } = map[leaf];
  if (tree.isQuestion(map, leaf)) await resume(leaf);
  else if (tree.isCutShort(map[leaf]) && map[parent].children.at(-1) === leaf) await resume(parent, leaf);
}

function resume(id, continued = null) {
  const conversation = state.open.id;
  return run(id, (signal) => api.resume(conversation, id, signal), continued);
}

async function show(leaf) {
  leave();
  state.open.leaf = leaf;
  render();
  await settle();
}

function edit(id) {
  state.editing = id;
  composer.fill(id === null ? [] : state.open.map[id].content);
  composer.focus(true);
  render();
}

// ---- Asking ---------------------------------------------------------------------------------------------------------

async function send() {
  const content = composer.content();
  if (!content.length || state.live) return;
  const { leaf, map } = state.open;
  const edited = state.editing;
  const beside = edited ?? (tree.isQuestion(map, leaf) ? leaf : null);
  state.editing = null;
  composer.fill([]);
  const isRefused = await askNew(content, beside ? map[beside].parent : leaf);
  if (!isRefused || composer.content().length) return;
  state.editing = edited;
  composer.fill(content);
  render();
}

function askExample(prompt) {
  composer.fill([{ contentType: "text", body: prompt }]);
  send();
}

/** Asks a new question. Gives true where the server refused it; then it is as if nobody had asked. */
async function askNew(content, parent) {
  const { open } = state;
  const { leaf, map } = open;
  const id = api.newId();
  tree.put(map, id, { role: "user", content, parent });
  const isRefused = await ask(id);
  if (isRefused) {
    tree.take(map, id);
    open.leaf = leaf;
    render();
  }
  return isRefused;
}

function ask(id) {
  const { open } = state;
  const question = open.map[id];
  const content = question.content.filter((block) => SENT.includes(block.contentType));
  question.model = composer.model().key;
  const message = { content, model: question.model, messageId: id, parentMessageId: question.parent };
  const input = { conversationId: open.id, message, enableReasoning: composer.reasons(), botId: open.bot?.id };
  open.leaf = id;
  composer.focus();
  screen.follow(true);
  return run(id, (signal) => api.ask(input, id, signal));
}

/** Sends a question again under its own id, which is safe: should it be running after all, its turn is shown. */
async function retry(id) {
  if ((await ask(id)) && state.failure.status === 409) await settle();
}

/** Another answer to the same words: one that was interrupted has its question asked again, else there is a new one. */
async function again(answerId) {
  const { map } = state.open;
  const { parent, stopReason } = map[answerId];
  if (stopReason === "interrupted") await retry(parent);
  else await askNew(map[parent].content, map[parent].parent);
}

async function proceed(answerId) {
  const { id, map } = state.open;
  const { parent } = map[answerId];
  const message = { content: [], model: composer.model().key, parentMessageId: answerId };
  const input = { conversationId: id, message, continueGenerate: true };
  composer.focus();
  await run(parent, (signal) => api.ask(input, parent, signal), answerId);
}

function stop() {
  const { open, live } = state;
  live.stopping = true;
  if (live.begun) api.stop(open.id, live.question).catch(() => {});
}

// ---- A turn ---------------------------------------------------------------------------------------------------------

/** Shows a turn from its first event to its last. Gives true where the server refused it before any. */
async function run(id, events, continued = null) {
  const { open } = state;
  const abort = new AbortController();
  const { model } = open.map[continued ?? id];
  const base = continued ? open.map[continued] : null;
  const message = new LiveAnswer(composer.nameOf(model), base ? tree.textOf(base) : "", base?.documents);
  const turn = { question: id, continued, model, message, abort, begun: false, stopping: false };
  Object.assign(state, { live: turn, failure: null });
  byId("said").textContent = "";
  render();
  let last = null;
  try {
    for await (last of events(abort.signal)) hear(turn, open, last);
  } catch (error) {
    if (abort.signal.aborted) return false;
    state.failure = { detail: detailOf(error), status: error.status };
  }
  state.live = null;
  if (last?.name === "message_stop") finish(open, turn, last.data);
  if (last?.name === "error") await failed(open, turn, last.data);
  if (open === state.open) render();
  return state.failure?.status !== undefined && !turn.begun;
}

function hear(turn, open, { name, data }) {
  if (!turn.begun) {
    turn.begun = true;
    if (open.isNew) begin(open);
    if (turn.stopping) stop();
  }
  if (name === "message_start") turn.message.begin(data.continues, data.continuedText);
  if (name === "text" || name === "reasoning") turn.message.hear(name, data.text);
  if (name === "retrying") turn.message.say(words.retrying(Math.ceil(data.seconds)));
  if (name === "waiting") turn.message.say(words.waiting);
  if (name === "tool_use") turn.message.use(data);
  if (name === "tool_result") turn.message.end(data);
  if (name === "related_document") turn.message.find(data);
}

/** From its first event on a conversation is stored: it has an address, and stands in the list. */
function begin(open) {
  Object.assign(open, { isNew: false, isUnnamed: true });
  go(addressOf(open.id));
  screen.showTitle(open);
  sidebar.refresh();
}

function finish(open, { question, continued, model, message }, { answerId, stopReason, usage, price, warnings }) {
  if (answerId === null) {
    state.failure = { detail: words.stopped };
    return;
  }
  const thoughts = continued ? open.map[continued].content.filter((block) => block.contentType !== "text") : [];
  const content = [...(message.thought ? [] : thoughts), ...message.content];
  const log = [...(open.map[continued]?.thinkingLog ?? []), ...message.tools.log];
  const documents = [...(open.map[continued]?.documents ?? []), ...message.tools.documents];
  const told = { model, stopReason, usage, price, warnings, content, thinkingLog: log, documents };
  tree.put(open.map, answerId, { role: "assistant", parent: question, ...told });
  message.paint(true);
  keep(open.map[answerId], message.element, message.prose);
  open.leaf = answerId;
  if (open.bot?.hasKnowledge && !log.length) readDocuments(open).then(() => open === state.open && render());
  if (message.whole !== message.base) byId("said").textContent = words.done;
  if (open.isUnnamed) giveTitle(open);
}

/** The turn ended badly. What the server has kept of it is read again. */
async function failed(open, { message }, { detail, status }) {
  state.failure = { detail: status === 409 && !message.text ? words.unanswered : detail };
  if (message.text) await load(open, open.id).catch(() => {});
}

async function giveTitle(open) {
  open.isUnnamed = false;
  open.title = await api.proposeTitle(open.id);
  await api.rename(open.id, open.title);
  sidebar.refresh();
  if (open === state.open) screen.showTitle(open);
}

function detailOf(error) {
  return error instanceof api.Refused ? error.message : words.lost;
}

// ---- Controls -------------------------------------------------------------------------------------------------------

function onKey(event) {
  if (event.isComposing || byId("confirm").open) return;
  const isTyping = event.target.matches("input, textarea, select");
  if (event.key === "Escape") {
    if (sidebar.isDrawerOpen()) sidebar.closeDrawer();
    else if (state.live) stop();
    else if (state.editing) edit(null);
  } else if ((event.key === "/" && !isTyping) || (event.key === "k" && (event.ctrlKey || event.metaKey))) {
    event.preventDefault();
    focusBox();
  }
}

/** Where one writes: a message, or what to search for. */
function focusBox() {
  if (named("bots") === null) composer.focus(true);
  else byId("query").focus();
}

function onEnter(event) {
  // 229: in Safari the Return that ends a composition comes after it, and this alone tells it from any other.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  send();
}

function startNew() {
  sidebar.closeDrawer();
  go();
  route();
}

async function removeOpen() {
  byId("confirm").close();
  await api.remove(state.open.id);
  startNew();
  sidebar.refresh();
}

function switchTheme() {
  const { dataset } = document.documentElement;
  const isDark = dataset.theme ? dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  dataset.theme = isDark ? "light" : "dark";
  localStorage.setItem("chat.theme", dataset.theme);
}

function speakOther() {
  switchLanguage();
  forget();
  composer.showFiles();
  sidebar.show();
  render();
  if (named("bots") !== null) showBots();
}

translate();
screen.setUp();
finder.setUp(sidebar.showBots);
composer.setUp(render);
byId("composer").onsubmit = (event) => [event.preventDefault(), send()];
byId("text").onkeydown = onEnter;
byId("stop").onclick = () => [stop(), composer.focus()];
byId("cancel-editing").onclick = () => edit(null);
byId("new").onclick = startNew;
byId("remove").onclick = () => byId("confirm").showModal();
byId("remove-yes").onclick = removeOpen;
byId("remove-no").onclick = () => byId("confirm").close();
byId("all-bots").onclick = sidebar.closeDrawer;
byId("menu").onclick = sidebar.openDrawer;
byId("close").onclick = byId("shade").onclick = sidebar.closeDrawer;
byId("theme").onclick = switchTheme;
byId("language").onclick = speakOther;
byId("skip").onclick = focusBox;
document.onkeydown = onKey;
guard(() => [sidebar.refresh(), route()], () => [leave(), sidebar.forget()]);
