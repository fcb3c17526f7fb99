/** The token: it comes with the address or by hand, stays in this browser, and goes when the server refuses it. */

import { named, tidy } from "./address.js";
import { useToken } from "./api.js";
import { byId } from "./elements.js";
import { words } from "./words.js";

const KEPT = "chat.token";

/** Calls `enter` whenever there is a token to begin with, and `leave` when there is none any more. */
export function guard(enter, leave) {
  const knock = () => {
    if (named("token")) localStorage.setItem(KEPT, named("token"));
    tidy();
    const token = localStorage.getItem(KEPT);
    byId("door").hidden = token !== null;
    byId("app").hidden = token === null;
    if (token === null) return byId("token").focus();
    useToken(token);
    byId("who").textContent = nameIn(token);
    enter();
  };
  const forget = (why) => {
    if (localStorage.getItem(KEPT) === null) return;
    localStorage.removeItem(KEPT);
    byId("refused").textContent = why;
    leave();
    knock();
  };
  byId("enter").onsubmit = (event) => {
    event.preventDefault();
    localStorage.setItem(KEPT, byId("token").value.trim());
    byId("token").value = byId("refused").textContent = "";
    knock();
  };
  byId("leave").onclick = () => forget("");
  document.addEventListener("signed-out", () => forget(words.expired));
  window.addEventListener("hashchange", () => (named("token") ? knock() : enter()));
  knock();
}

function nameIn(token) {
  try {
    const claims = atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(claims, (character) => character.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes))["cognito:username"];
  } catch {
    return ""; // the server will say what is wrong with it
  }
}
