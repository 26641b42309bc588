const D = JSON.parse(document.getElementById("feature-data").textContent);
const byId = (id) => document.getElementById(id);
const KNOWN = new Map(D.features.map((feature) => [feature.id, feature]));
const SVG = "http://www.w3.org/2000/svg";
let shown = [];
let chosen = null;

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// Spaces and ends of lines as signs that can be seen.
const seen = (token) => token.replace(/ /g, "\u00b7").replace(/\n/g, "\u21b5").replace(/\t/g, "\u21e5");
const plain = (token) => token.replace(/\n/g, "\u21b5");
const number = (value) => (value === 0 ? "0" : Math.abs(value) >= 1e-3 && Math.abs(value) < 1e4
  ? String(+value.toPrecision(3)) : value.toExponential(1));
const percent = (value) => `${+(100 * value).toPrecision(2)}%`;

// What a latent is listed by: its strongest place.
function gist(feature) {
  const first = feature.top[0];
  if (first.tokens) return first.tokens.slice(Math.max(0, first.at - 12), first.at + 1).map(plain).join("");
  if (feature.classes) return feature.classes.map(([name]) => seen(name)).join(", ");
  if (feature.truth) return `true ${feature.truth[0][0]}, cosine ${number(feature.truth[0][1])}`;
  return `row ${first.row}`;
}

// Everything a latent can be found by.
function words(feature) {
  const found = feature.top.map((example) => (example.tokens ? example.tokens.join("") : example.label ?? ""));
  for (const [name] of feature.classes ?? []) found.push(name);
  for (const side of ["up", "down"]) {
    for (const [name] of feature.effect?.[side] ?? []) found.push(name);
  }
  return found.join("\n").toLowerCase();
}
for (const feature of D.features) feature.words = words(feature);

const ORDERS = {
  density: (a, b) => b.density - a.density,
  rare: (a, b) => a.density - b.density,
  max: (a, b) => b.max - a.max,
  id: (a, b) => a.id - b.id,
};

function list() {
  const query = byId("latent-query").value;
  const wanted = query.trim();
  const fits = /^\d+$/.test(wanted)
    ? (feature) => String(feature.id) === wanted || feature.words.includes(wanted)
    : (feature) => feature.words.includes((wanted ? query : "").toLowerCase());
  shown = D.features.filter(fits).sort((a, b) => ORDERS[byId("latent-order").value](a, b) || a.id - b.id);
  if (/^\d+$/.test(wanted) && KNOWN.has(+wanted)) {
    shown = [KNOWN.get(+wanted), ...shown.filter((feature) => feature.id !== +wanted)];
  }
  byId("latent-count").textContent = `${shown.length} of ${D.features.length}`;
  byId("latent-rows").replaceChildren(...shown.map((feature) => {
    const row = make("li", { "data-id": feature.id },
      make("span", {}, String(feature.id)), make("span", {}, gist(feature)),
      make("span", {}, percent(feature.density)));
    row.addEventListener("click", () => show(feature.id));
    return row;
  }));
  if (shown.length && !shown.some((feature) => feature.id === chosen)) show(shown[0].id);
  else mark();
}

function mark() {
  for (const row of byId("latent-rows").children) {
    row.setAttribute("aria-selected", String(+row.dataset.id === chosen));
  }
}

function show(id) {
  chosen = id;
  const feature = KNOWN.get(id);
  const parts = [
    make("h3", {}, `Latent ${id}`),
    make("p", { class: "facts" }, `active in ${percent(feature.density)} of rows \u00b7 mean ${number(feature.mean)}`
      + ` where active \u00b7 largest ${number(feature.max)}`),
  ];
  const add = (title, ...content) => parts.push(make("h4", {}, title), ...content);
  if (feature.truth) {
    add("Nearest true directions", chips(feature.truth.map(([k, c]) => [`true ${k}`, c])));
  }
  if (feature.classes) add("Classes by share of its activation", chips(feature.classes, percent));
  if (feature.effect) {
    add("Outputs that rise when it is added to the layer", chips(feature.effect.up));
    add("Outputs that fall", chips(feature.effect.down));
  }
  add("Nearest latents by decoder cosine", near(feature));
  add("Most active in", D.kind === "text"
    ? make("div", {}, ...feature.top.map((example) => context(example, feature.max)))
    : make("div", { class: "pictures" }, ...feature.top.map(picture)));
  byId("latent").replaceChildren(...parts);
  mark();
}

function chips(pairs, text = number) {
  return make("ul", { class: "words" }, ...pairs.map(([name, value]) =>
    make("li", {}, make("code", {}, seen(String(name))), " ", make("small", {}, text(value)))));
}

function near(feature) {
  return make("ul", { class: "words near" }, ...feature.near.map(([id, cosine]) => {
    const name = KNOWN.has(id) ? make("button", { type: "button" }, String(id)) : String(id);
    if (KNOWN.has(id)) name.addEventListener("click", () => go(id));
    return make("li", {}, name, " ", make("small", {}, number(cosine)));
  }));
}

// Shows a latent that the search may have hidden.
function go(id) {
  if (!shown.some((feature) => feature.id === id)) byId("latent-query").value = "";
  chosen = id;
  list();
  show(id);
  byId("latent-rows").querySelector(`[data-id="${id}"]`).scrollIntoView({ block: "nearest" });
}

function context(example, most) {
  const code = make("code", {});
  example.tokens.forEach((token, place) => {
    const piece = make("span", {}, plain(token));
    if (example.acts[place] !== 0) {
      piece.className = "on";
      piece.style.setProperty("--a", Math.min(1, Math.abs(example.acts[place]) / most));
      piece.title = number(example.acts[place]);
    }
    if (place === example.at) piece.classList.add("here");
    code.append(piece);
  });
  return make("div", { class: "context" }, make("b", {}, number(example.value)), code);
}

function picture(example) {
  const parts = [];
  if (example.image) {
    parts.push(make("img", { src: D.images[example.image], alt: example.label ?? `row ${example.row}` }));
  }
  const name = seen(example.label ?? `row ${example.row}`);
  parts.push(make("figcaption", {}, `${name} \u00b7 ${number(example.value)}`));
  return make("figure", {}, ...parts);
}

function histogram() {
  const { edges, counts } = D.densities;
  const most = Math.max(1, ...counts);
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${counts.length * 10} 56`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  counts.forEach((count, place) => {
    const bar = document.createElementNS(SVG, "rect");
    const height = (50 * count) / most;
    const shape = { x: place * 10 + 1, y: 54 - height, width: 8, height };
    for (const [name, value] of Object.entries(shape)) bar.setAttribute(name, value);
    const title = document.createElementNS(SVG, "title");
    title.textContent = `${count} between ${number(10 ** edges[place])} and ${number(10 ** edges[place + 1])}`;
    bar.append(title);
    svg.append(bar);
  });
  const ends = make("div", { class: "ends small" }, `\u2264 ${number(10 ** edges[0])}  to  1 (log scale)`);
  byId("latent-histogram").replaceChildren(svg, ends);
}

byId("latent-query").addEventListener("input", list);
byId("latent-order").addEventListener("change", list);
byId("latent-rows").addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const place = shown.findIndex((feature) => feature.id === chosen);
  const next = shown[Math.min(shown.length - 1, Math.max(0, place + step))];
  if (next) {
    show(next.id);
    byId("latent-rows").querySelector(`[data-id="${next.id}"]`).scrollIntoView({ block: "nearest" });
  }
});
histogram();
list();
