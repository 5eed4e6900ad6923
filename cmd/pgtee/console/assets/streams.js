// Charts of the last hour, drawn from the server's samples.

const every = 5000;
const charts = [
  {title: "not published", column: "lag_bytes", unit: size, least: 1024},
  {title: "behind", column: "lag_seconds", least: 1, unit: value => `${value.toFixed(1)} s`},
  {title: "log kept by the slot", column: "retained_bytes", unit: size, least: 1024},
  {title: "records", column: "events_per_second", least: 1, unit: value => `${value.toFixed(value < 10 ? 1 : 0)} /s`},
];

const hour = new Intl.DateTimeFormat(undefined, {hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false});

function size(bytes) {
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (Math.abs(bytes) < 1024) return `${bytes.toFixed(unit === "B" ? 0 : 1)} ${unit}`;
    bytes /= 1024;
  }
  return `${bytes.toFixed(1)} TB`;
}

const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name);

// resolved returns the current colour of a light-dark(), because a canvas knows no other.
function resolved(name) {
  const probe = document.createElement("i");
  probe.style.color = colour(name);
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

class Chart {
  constructor(parent, what) {
    this.what = what;
    const figure = document.createElement("figure");
    const caption = document.createElement("figcaption");
    this.now = document.createElement("output");
    caption.append(what.title, this.now);
    figure.append(caption);
    this.figure = figure;
    parent.append(figure);
  }

  draw(data) {
    const values = data[this.what.column];
    const now = values.at(-1); // null: not known
    this.now.textContent = now === undefined ? "" : now === null ? "not known" : this.what.unit(now);
    if (this.plot) { this.plot.setData([data.time, values]); return; }
    const axis = {stroke: resolved("--dim"), grid: {stroke: resolved("--line"), width: 1}, ticks: {stroke: resolved("--line"), width: 1}, font: "12px system-ui"};
    this.plot = new uPlot({
      width: this.width(), height: 150, legend: {show: false}, cursor: {y: false},
      scales: {y: {range: (u, low, high) => [0, Math.max(high * 1.1, this.what.least)]}},
      axes: [{...axis, values: (u, ticks) => ticks.map(at => hour.format(new Date(at * 1000))), space: 70}, {...axis, size: 76, values: (u, ticks) => ticks.map(this.what.unit)}],
      series: [{}, {stroke: resolved("--strong"), width: 2, fill: resolved("--good-back"), points: {show: false}}],
    }, [data.time, values], this.figure);
  }

  width() { return Math.max(200, this.figure.clientWidth - 16); }
  fit() { this.plot?.setSize({width: this.width(), height: 150}); }
  forget() { this.plot?.destroy(); this.plot = null; }
}

async function follow(place) {
  place.hidden = false;
  const drawn = charts.map(what => new Chart(place, what));
  addEventListener("resize", () => drawn.forEach(chart => chart.fit()));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { drawn.forEach(chart => chart.forget()); look(); });
  async function look() {
    if (document.hidden) return;
    try {
      const answer = await fetch(place.dataset.series, {signal: AbortSignal.timeout(30000)});
      if (answer.ok) { const data = await answer.json(); drawn.forEach(chart => chart.draw(data)); }
    } catch { /* the server is away: retry next time */ }
  }
  await look();
  setInterval(look, every);
}

document.querySelectorAll(".charts").forEach(follow); // uPlot precedes this script in the page
