// Every page: times in the reader's zone, with UTC on hover; a question before what cannot be undone.

import {localise} from "./markup.js";

localise(document);
for (const form of document.querySelectorAll("form[data-confirm]")) {
  form.addEventListener("submit", event => {
    if (!confirm(form.dataset.confirm)) event.preventDefault();
  });
}
