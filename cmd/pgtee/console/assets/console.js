// For every page: times in the reader's time zone, with UTC on hover; confirmation of what cannot be undone.

import {localise} from "./markup.js";

localise(document);
for (const form of document.querySelectorAll("form[data-confirm]")) {
  form.addEventListener("submit", event => {
    if (!confirm(form.dataset.confirm)) event.preventDefault();
  });
}
