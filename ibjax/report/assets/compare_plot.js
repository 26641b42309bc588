// Axes, marks and the tooltip: SVG by hand.

const W = 540, H = 330, BOX = { left: 54, right: 14, top: 12, bottom: 42 };
const MARKS = [
  "M-3.6,0A3.6,3.6 0 1 1 3.6,0A3.6,3.6 0 1 1 -3.6,0Z", "M-3.2,-3.2H3.2V3.2H-3.2Z",
  "M0,-4.6L4.2,0L0,4.6L-4.2,0Z", "M0,-4.4L4.2,3.2H-4.2Z", "M0,4.4L4.2,-3.2H-4.2Z",
  "M-1.4,-4.2H1.4V-1.4H4.2V1.4H1.4V4.2H-1.4V1.4H-4.2V-1.4H-1.4Z",
];
const CROSS = "M-3.6,-3.6L3.6,3.6M-3.6,3.6L3.6,-3.6";
const COLOURS = 8;

function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const colour = (series) => `s${series % COLOURS}`;
const shape = (series) => MARKS[(series + Math.floor(series / COLOURS)) % MARKS.length];

function niceStep(span, count) {
  const raw = span / count, power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 5, 10].map((m) => m * power).find((step) => step >= raw * 0.999);
}

const short = (value) => String(Number(value.toPrecision(10))).replace("e+", "e");

// A function from values to places, with its ticks. Log where the values span more than a factor
// of 20; a zero then has a place of its own at the left.
function scale(values, [from, to], options = {}) {
  if (options.categories) {
    const names = options.categories;
    const place = (name) => from + (to - from) * (names.indexOf(name) + 0.5) / names.length;
    return Object.assign(place, { ticks: names.map((name) => [place(name), name]) });
  }
  const positive = values.filter((value) => value > 0);
  const least = Math.min(...positive), most = Math.max(...positive);
  const negative = values.some((value) => value < 0);
  if (options.log !== false && positive.length && !negative && most > 20 * least
      && (options.zero || !values.includes(0))) {
    const zero = values.includes(0), decades = Math.log10(most / least);
    const slot = Math.max(0.4, decades / 6), pad = 0.04 * decades;
    const low = Math.log10(least) - pad - (zero ? slot : 0), high = Math.log10(most) + pad;
    const at = (value) => (value > 0 ? Math.log10(value) : Math.log10(least) - slot);
    const clip = Math.min(from, to), end = Math.max(from, to);
    const place = (value) =>
      Math.min(end, Math.max(clip, from + (to - from) * (at(value) - low) / (high - low)));
    const subs = decades < 2.2 ? [1, 2, 5] : [1], every = Math.ceil(decades / 7);
    const ticks = zero ? [[place(0), "0"]] : [];
    for (let power = Math.floor(low); power <= high; power += 1) {
      for (const sub of power % every === 0 ? subs : []) {
        const value = sub * 10 ** power;
        if (Math.log10(value) >= (zero ? Math.log10(least) - pad : low) && Math.log10(value) <= high) {
          ticks.push([place(value), short(value)]);
        }
      }
    }
    const invert = (p) => 10 ** (low + (high - low) * (p - from) / (to - from));
    return Object.assign(place, { ticks, log: true, low: zero ? 0 : 10 ** low, high: 10 ** high, invert });
  }
  let low = Math.min(...values), high = Math.max(...values);
  if (low >= 0 && (low < 0.4 * high || options.fromZero)) low = 0;
  const span = high - low || Math.abs(high) || 1;
  if (low !== 0) low -= 0.06 * span;
  high += 0.06 * span;
  const place = (value) => from + (to - from) * (value - low) / (high - low);
  const step = niceStep(high - low, 6), ticks = [];
  for (let k = Math.ceil(low / step); k * step <= high; k += 1) {
    ticks.push([place(k * step), short(k * step)]);
  }
  const invert = (p) => low + (high - low) * (p - from) / (to - from);
  return Object.assign(place, { ticks, low, high, invert });
}

// An empty plot with its axes; returns the drawing, to which marks are appended.
function frame(host, label, x, y, xLabel, yLabel) {
  const drawing = svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "group", "aria-label": label });
  const base = H - BOX.bottom;
  for (const [place, text] of y.ticks) {
    drawing.append(
      svg("line", { class: "grid", x1: BOX.left, x2: W - BOX.right, y1: place, y2: place }),
      svg("text", { class: "tick", x: BOX.left - 7, y: place + 3.5, "text-anchor": "end" }, text));
  }
  const wide = x.ticks.length ? (W - BOX.left - BOX.right) / x.ticks.length / 6 : 99;
  for (const [place, text] of x.ticks) {
    const cut = text.length > wide + 2 ? text.slice(0, Math.max(3, wide)) + "…" : text;
    drawing.append(
      svg("line", { class: "axis", x1: place, x2: place, y1: base, y2: base + 4 }),
      svg("text", { class: "tick", x: place, y: base + 16, "text-anchor": "middle" }, cut));
  }
  drawing.append(
    svg("line", { class: "axis", x1: BOX.left, x2: W - BOX.right, y1: base, y2: base }),
    svg("text", { class: "label", x: (BOX.left + W - BOX.right) / 2, y: H - 7,
      "text-anchor": "middle" }, xLabel),
    svg("text", { class: "label", transform: `translate(12 ${(BOX.top + base) / 2}) rotate(-90)`,
      "text-anchor": "middle" }, yLabel));
  host.replaceChildren(drawing);
  return drawing;
}

const xRange = [BOX.left + 8, W - BOX.right - 8], yRange = [H - BOX.bottom, BOX.top];

function empty(host, text) {
  host.replaceChildren(make("p", { class: "small none" }, text));
}

// The mark of one run: a link to its manifest. A cross diverged, a hollow mark is unfinished.
function point(run, series, x, y, rows) {
  const cross = run.status === "diverged";
  const link = svg("a", { class: `pt ${colour(series)} ${run.status}`, href: run.href,
    transform: `translate(${x.toFixed(2)} ${y.toFixed(2)})`, tabindex: -1,
    "aria-label": `${run.name}, ${rows.map(([name, text]) => `${name} ${text}`).join(", ")}` },
  svg("circle", { class: "hit", r: 8 }), svg("path", { d: cross ? CROSS : shape(series) }));
  link.dataset.run = run.number;
  const lines = [
    ["method", run.method], ["data", run.data],
    ...D.columns.filter((key) => run.config[key]).map((key) => [key, run.config[key][0]]),
    ...rows,
    ["status", run.status === "finished" ? run.status : `${run.status} at step ${run.step}`],
  ].filter(([, text]) => text);
  tipOn(link, run.name, lines, run.command);
  return link;
}

function tipOn(element, title, rows, command) {
  const open = () => showTip(element.getBoundingClientRect(), title, rows, command);
  element.addEventListener("pointerenter", open);
  element.addEventListener("focus", open);
  element.addEventListener("tip", open);
  element.addEventListener("pointerleave", hideTip);
  element.addEventListener("blur", hideTip);
}

const tip = byId("tip");

function showTip(near, title, rows, command) {
  const list = make("dl");
  for (const [name, text] of rows) list.append(make("dt", {}, name), make("dd", {}, text));
  tip.replaceChildren(make("b", {}, title), list);
  if (command) tip.append(make("code", {}, command));
  tip.hidden = false;
  const size = tip.getBoundingClientRect();
  const left = near.right + 10 + size.width > innerWidth ? near.left - 10 - size.width
    : near.right + 10;
  const top = Math.min(near.top - 8, innerHeight - size.height - 8);
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${Math.max(8, top)}px`;
}

function hideTip() { tip.hidden = true; }

addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
// Moving to a point by key may scroll the page; its tooltip goes along.
addEventListener("scroll", () => {
  hideTip();
  document.activeElement?.dispatchEvent(new Event("tip"));
}, { passive: true });

// One stop of the Tab key per plot; the arrow keys go from point to point.
function walkable(drawing) {
  const points = [...drawing.querySelectorAll("a.pt")];
  points.sort((a, b) => a.transform.baseVal[0].matrix.e - b.transform.baseVal[0].matrix.e);
  points[0]?.setAttribute("tabindex", 0);
  drawing.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const next = by && points[points.indexOf(event.target) + by];
    if (!next) return;
    event.preventDefault();
    event.target.setAttribute("tabindex", -1);
    next.setAttribute("tabindex", 0);
    next.focus();
  });
}

function path(points, close = false) {
  const text = points.map(([x, y]) => `${x.toFixed(2)},${y.toFixed(2)}`).join("L");
  return text ? `M${text}${close ? "Z" : ""}` : "";
}
