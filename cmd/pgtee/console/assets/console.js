// For every page: times in the reader's time zone, with UTC on hover; confirmation of what cannot be undone.

import {localise} from "./markup.js";

localise(document);
document.addEventListener("submit", event => {
  const question = event.submitter?.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});
