// What every page and the live one share. It is imported by one name, for a second policy of the same name is refused.

const clock = new Intl.DateTimeFormat(undefined, {hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hour12: false});
const day = new Intl.DateTimeFormat("sv-SE", {year: "numeric", month: "2-digit", day: "2-digit"});

export function localise(root) {
  for (const time of root.querySelectorAll("time[data-form]")) {
    const at = new Date(time.dateTime);
    time.textContent = time.dataset.form === "clock" ? clock.format(at) : day.format(at) + " " + clock.format(at);
    delete time.dataset.form;
  }
}

// Markup comes from this server alone, which has escaped what others wrote: the browser takes it by this policy only.
const policy = window.trustedTypes ? trustedTypes.createPolicy("pgtee", {createHTML: text => text}) : {createHTML: text => text};

export function fragment(markup) {
  const template = document.createElement("template");
  template.innerHTML = policy.createHTML(markup);
  return template.content;
}
