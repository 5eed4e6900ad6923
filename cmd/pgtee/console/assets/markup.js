// Shared by all pages. It is imported under one name only, because a second policy with the same name would be refused.

const clock = new Intl.DateTimeFormat(undefined, {hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hour12: false});
const day = new Intl.DateTimeFormat("sv-SE", {year: "numeric", month: "2-digit", day: "2-digit"});

export function localise(root) {
  for (const time of root.querySelectorAll("time[data-form]")) {
    const at = new Date(time.dateTime);
    time.textContent = time.dataset.form === "clock" ? clock.format(at) : day.format(at) + " " + clock.format(at);
    delete time.dataset.form;
  }
}

// Markup comes only from this server, which has escaped foreign text: the browser accepts it only through this policy.
const policy = window.trustedTypes ? trustedTypes.createPolicy("pgtee", {createHTML: text => text}) : {createHTML: text => text};

export function fragment(markup) {
  const template = document.createElement("template");
  template.innerHTML = policy.createHTML(markup);
  return template.content;
}
