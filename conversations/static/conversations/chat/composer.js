/** What the user is about to send: text, files, the model, and whether it shall reason. */

import { byId, el, iconButton } from "./elements.js";
import { file } from "./view.js";
import { words } from "./words.js";

const IMAGES = ["image/png", "image/jpeg", "image/gif", "image/webp"];
const DOCUMENTS = [".csv", ".doc", ".docx", ".html", ".md", ".pdf", ".txt", ".xls", ".xlsx"];

export const { models, emulator } = JSON.parse(byId("config").textContent);

const [text, select, think] = [byId("text"), byId("model"), byId("think")];
let files = [];

export const nameOf = (key) => models.find((each) => each.key === key)?.name ?? key;
export const model = () => models.find((each) => each.key === select.value);
export const reasons = () => !think.hidden && think.ariaPressed === "true";

export function chooseModel(key) {
  if (models.some((each) => each.key === key)) select.value = key;
  offer();
}

/** Offers the models that are true in `flags`, by their names there; all without any. */
export function limitTo(flags = null) {
  const isOffered = ({ flag }) => flags?.[flag] !== false;
  [...select.options].forEach((option, at) => (option.hidden = option.disabled = !isOffered(models[at])));
  if (!isOffered(model())) select.value = models.find(isOffered)?.key ?? select.value;
  offer();
}

/** Lets somebody write, or says in a sentence why not. */
export function close(why) {
  byId("box").disabled = why !== null;
  byId("closed").hidden = why === null;
  byId("closed").textContent = why ?? "";
}

/** Content blocks of what stands in the box; none where there is nothing to send. */
export function content() {
  const body = text.value.trim();
  return [...files, ...(body ? [{ contentType: "text", body }] : [])];
}

export function fill(blocks) {
  text.value = blocks.filter((block) => block.contentType === "text").map((block) => block.body).join("\n\n");
  files = blocks.filter((block) => ["image", "attachment"].includes(block.contentType));
  showFiles();
}

/** On a touch screen the focus brings up a keyboard, which nobody has asked for unless the box was touched. */
export function focus(asked = false) {
  if (asked || matchMedia("(hover: hover)").matches) text.focus();
}

export function setUp(onModel) {
  select.append(...models.map(({ key, name }) => el("option", { value: key }, name)));
  select.onchange = () => [offer(), onModel()];
  think.onclick = () => (think.ariaPressed = String(!reasons()));
  byId("attach").onclick = () => byId("files").click();
  byId("files").onchange = () => add(byId("files").files);
  text.oninput = offer;
  document.ondragover = (event) => event.preventDefault();
  document.ondrop = (event) => [event.preventDefault(), add(event.dataTransfer.files)];
  // A table or a page that is copied comes as text and as its own picture; here the text is what was meant.
  text.onpaste = ({ clipboardData }) => clipboardData.getData("text/plain") || add(clipboardData.files);
}

/** Offers what the chosen model can do; what nobody knows is for the model to refuse. */
function offer() {
  const { images, documents, reasoning } = model();
  byId("files").accept = [...(images ? IMAGES : []), ...(documents ? DOCUMENTS : [])].join();
  byId("attach").disabled = !images && !documents;
  think.hidden = reasoning === "never";
  think.disabled = reasoning === "always";
  if (think.disabled) think.ariaPressed = "true";
  byId("send").disabled = content().length === 0;
  text.style.height = "auto";
  text.style.height = `${text.scrollHeight}px`;
}

async function add(chosen) {
  for (const each of chosen) {
    const body = await base64(each);
    const isImage = IMAGES.includes(each.type);
    const kind = isImage ? { contentType: "image", mediaType: each.type } : { contentType: "attachment" };
    files.push({ ...kind, ...(!isImage && { fileName: each.name }), body });
  }
  byId("files").value = "";
  showFiles();
  text.focus();
}

function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

export function showFiles() {
  const chip = (block) => {
    const drop = () => {
      files = files.filter((other) => other !== block);
      showFiles();
      text.focus();
    };
    return el("li", {}, file(block), iconButton("close", words.detach(block.fileName ?? words.image), drop));
  };
  byId("chosen").replaceChildren(...files.map(chip));
  offer();
}
