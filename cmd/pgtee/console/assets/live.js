// The live page: published events arrive as server-sent events, whose id is the position in the topic.

import {fragment, localise} from "./markup.js";

const maxRows = 1000;     // kept on the page
const maxSilence = 30000; // in milliseconds; the server sends something every ten seconds
const list = document.getElementById("events");
const state = document.getElementById("state");
const news = document.getElementById("news");
const trouble = document.getElementById("trouble");
const pauseButton = document.getElementById("pause");

let shown = list.dataset.after;  // position after the newest row on the page
let paused = false;
let waiting = 0, passed = 0;     // since the pause: events that match the filter; how many of them the server no longer sends
let source = null;
let retry = 0;
let heard = 0;                   // when the server last said something

if (shown !== undefined) {
  document.getElementById("tools").hidden = false;
  state.hidden = false;
  connect();
  document.addEventListener("visibilitychange", () => document.hidden ? disconnect("hidden") : connect()); // a browser has few connections for all its pages
  addEventListener("pagehide", () => disconnect("hidden"));
  addEventListener("pageshow", () => connect());
  addEventListener("scroll", scrolled, {passive: true});
  pauseButton.addEventListener("click", () => paused ? resume() : pause());
  setInterval(listen, 5000);
}
if (matchMedia("(max-width: 40rem)").matches && !document.querySelector(".filter a")) document.getElementById("filter").open = false; // leave room for the events
document.getElementById("help")?.addEventListener("click", () => document.getElementById("keys").showModal());
document.addEventListener("keydown", key);
document.addEventListener("click", filterBy);

// connect continues after the last row on the page: what has come since a pause comes again, and is counted again.
function connect() {
  if (source) return;
  waiting = passed = 0;
  heard = Date.now();
  const url = new URL("/live/events", location);
  for (const [name, value] of new URLSearchParams(location.search)) if (name !== "before") url.searchParams.append(name, value);
  url.searchParams.set("after", shown);
  source = new EventSource(url);
  const on = (kind, act) => source.addEventListener(kind, event => { heard = Date.now(); act(event); });
  on("open", () => { retry = 0; tell(); });
  on("rows", take);
  on("alive", event => { if (!paused) shown = event.lastEventId; });
  on("trouble", event => {
    const {text} = JSON.parse(event.data);
    trouble.textContent = text;
    trouble.hidden = !text;
  });
  source.addEventListener("error", () => {
    if (!source || source.readyState !== EventSource.CLOSED) { tell("not connected; trying again"); return; }
    disconnect("not connected; trying again"); // the browser has given up: the server refused the connection
    setTimeout(connect, Math.min(1000 * 2 ** retry++, 15000));
  });
}

function disconnect(why) {
  source?.close();
  source = null;
  tell(why);
}

// listen connects again if nothing was heard for a while: the browser does not notice a connection that the network has lost.
function listen() {
  if (!source || Date.now() - heard < maxSilence) return;
  disconnect("not connected; trying again");
  connect();
}

function take(event) {
  const frame = JSON.parse(event.data);
  if (paused) {
    waiting += frame.rows + frame.skipped;
    passed += frame.unread;
    tell();
    return;
  }
  shown = event.lastEventId;
  const rows = fragment(frame.html);
  localise(rows);
  if (frame.rows <= 10) for (const row of rows.querySelectorAll(".event")) row.classList.add("fresh"); // only if few are new
  if (frame.skipped || frame.unread) rows.append(gap(frame)); // skipped events are older than these rows
  list.prepend(rows);
  while (list.childElementCount > maxRows) list.lastElementChild.remove();
  document.getElementById("empty")?.remove();
}

function gap(frame) {
  const item = document.getElementById("skipped").content.firstElementChild.cloneNode(true);
  const parts = [];
  if (frame.skipped) parts.push(`${frame.skipped.toLocaleString()} transactions skipped, to keep up`);
  if (frame.unread) parts.push(`about ${frame.unread.toLocaleString()} not looked at`);
  item.textContent = parts.join(", ") + ". They are in the topic: reload to page through them.";
  return item;
}

function pause() {
  paused = true;
  waiting = passed = 0;
  tell();
}

// resume continues after the last row on the page: nothing is lost that the server can still read.
function resume() {
  paused = false;
  scrollTo({top: 0});
  disconnect();
  connect();
  tell();
}

function scrolled() {
  if (!paused && scrollY > 240) pause();
}

function tell(why) {
  if (shown === undefined) return;
  pauseButton.textContent = paused ? "Go on" : "Pause";
  pauseButton.setAttribute("aria-pressed", paused);
  state.textContent = why ?? (paused ? `paused, ${waiting.toLocaleString()} new` : source ? "following" : "");
  news.hidden = !(paused && (waiting || passed));
  if (news.hidden) return;
  let button = news.firstElementChild;
  if (!button) {
    button = document.createElement("button");
    button.type = "button";
    button.addEventListener("click", resume);
    news.append(button);
  }
  button.textContent = `${waiting.toLocaleString()} new: show them` + (passed ? ` (about ${passed.toLocaleString()} more not looked at)` : "");
}

// Clicking a value adds it to the present filter.
function filterBy(event) {
  const link = event.target.closest?.("a[data-filter]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const here = new URLSearchParams(location.search);
  here.set(link.dataset.filter, new URL(link.href).searchParams.get(link.dataset.filter));
  here.delete("before");
  location.assign("/live?" + here);
}

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest?.("input, select, textarea, button, dialog");
  if (typing) return;
  switch (event.key) {
    case "/": event.preventDefault(); document.getElementById("filter").open = true; document.getElementById("text").focus(); break;
    case "?": document.getElementById("keys").showModal(); break;
    case " ": if (shown !== undefined) { event.preventDefault(); paused ? resume() : pause(); } break;
    case "j": choose(1); break;
    case "k": choose(-1); break;
    case "Enter": if (!event.target.closest?.("a")) list.querySelector(".chosen .when")?.click(); break;
  }
}

function choose(step) {
  const rows = [...list.querySelectorAll(".event")];
  if (!rows.length) return;
  if (shown !== undefined && !paused) pause(); // otherwise it would scroll away
  const at = rows.findIndex(row => row.classList.contains("chosen"));
  const next = rows[Math.max(0, Math.min(rows.length - 1, at + step))];
  rows[at]?.classList.remove("chosen");
  next.classList.add("chosen");
  next.querySelector(".when").focus({preventScroll: true});
  next.scrollIntoView({block: "nearest"});
}
