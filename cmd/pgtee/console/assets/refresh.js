// Pages of figures: the page is fetched again every few seconds, and those of its parts that have changed are replaced.

import {fragment, localise} from "./markup.js";

const every = 1000 * document.getElementById("content").dataset.refresh;
const stale = document.getElementById("stale");
const markup = []; // of each part, as it came from the server
let since = new Date(), asking = false;

async function refresh() {
  if (document.hidden || asking) return; // a slow server gets one request at a time
  asking = true;
  try {
    const answer = await fetch(location.href, {signal: AbortSignal.timeout(30000)});
    if (answer.status === 401) { location.reload(); return; } // the login has ended
    if (!answer.ok) throw new Error(answer.status);
    replace(fragment(await answer.text()));
    since = new Date();
    stale.hidden = true;
  } catch {
    stale.textContent = `The server has not answered since ${since.toLocaleTimeString()}. What is shown is as of then.`;
    stale.hidden = false;
  } finally {
    asking = false;
  }
}

function replace(page) {
  const parts = document.querySelectorAll("[data-part]"), fresh = page.querySelectorAll("[data-part]");
  if (parts.length !== fresh.length) { location.reload(); return; }
  parts.forEach((part, i) => {
    const text = fresh[i].innerHTML;
    if (text === markup[i] || inUse(part)) return;
    markup[i] = text;
    localise(fresh[i]);
    const link = part.contains(document.activeElement) && document.activeElement.getAttribute("href");
    part.replaceChildren(...fresh[i].childNodes);
    if (link) part.querySelector(`a[href="${CSS.escape(link)}"]`)?.focus({preventScroll: true});
  });
}

// inUse reports whether somebody is about to click in a part, or has selected text in it.
function inUse(part) {
  const selection = getSelection();
  return part.querySelector("button:is(:hover, :focus)") || !selection.isCollapsed && part.contains(selection.anchorNode);
}

setInterval(refresh, every);
document.addEventListener("visibilitychange", refresh);
