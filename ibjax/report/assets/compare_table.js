// The table, the filters and what happens on a click.

const columns = [
  { key: "run", label: "run", word: true },
  { key: "method", label: "method", word: true },
  { key: "data", label: "data", word: true },
  ...D.columns.map((key) => ({ key, label: SHORT.get(key), title: key, word: !numericKey(key) })),
  ...D.metrics.map((metric) => ({ key: metric.key, metric, title: metric.meaning })),
  { key: "status", label: "status", word: true },
];
const shownMetrics = new Set(D.metrics.filter((m) => m.shown).map((m) => m.key));
const sorted = { key: null, down: false };
let order = [...D.runs];

function numericKey(key) {
  return D.runs.every((run) => !(key in run.config) || run.config[key][1] !== null);
}

const isShown = (column) => !column.metric || shownMetrics.has(column.key);
const headLabel = (column) => (column.metric
  ? column.metric.label + (unitOf(column.metric) ? ` ${unitOf(column.metric)}` : "")
  : column.label);

// Stable: rows equal in this column stay as they were. What has no value comes last both ways.
function sortBy(key) {
  sorted.down = sorted.key === key && !sorted.down;
  sorted.key = key;
  const sign = sorted.down ? -1 : 1;
  order = [...order].sort((a, b) => {
    const [p, q] = [valueOf(a, key), valueOf(b, key)];
    if (p === null || q === null) return (p === null) - (q === null);
    if (p[1] !== null && q[1] !== null) return sign * (p[1] - q[1]);
    if ((p[1] === null) !== (q[1] === null)) return (p[1] === null) - (q[1] === null);
    return sign * p[0].localeCompare(q[0], "en", { numeric: true });
  });
}

function drawHead() {
  const row = make("tr");
  for (const column of columns.filter(isShown)) {
    const button = make("button", { type: "button", title: column.title },
      make("span", { class: "text" }), make("span", { class: "dir", "aria-hidden": "true" }));
    const head = make("th", { scope: "col", class: column.word ? "word" : "num" }, button);
    head.dataset.key = column.key;
    button.addEventListener("click", () => {
      sortBy(column.key);
      markHead();
      drawBody(visibleRuns());
    });
    row.append(head);
  }
  row.append(make("th", { scope: "col", class: "word" }, "command"));
  byId("runs").tHead.replaceChildren(row);
  markHead();
}

function markHead() {
  for (const head of byId("runs").tHead.querySelectorAll("th[data-key]")) {
    const mine = head.dataset.key === sorted.key;
    head.setAttribute("aria-sort", mine ? (sorted.down ? "descending" : "ascending") : "none");
    head.querySelector(".dir").textContent = mine ? (sorted.down ? "▼" : "▲") : "";
    head.querySelector(".text").textContent =
      headLabel(columns.find((column) => column.key === head.dataset.key));
  }
}

function cell(run, column) {
  if (column.key === "run") {
    return make("td", { class: "word" }, make("a", { href: run.href }, run.name));
  }
  if (column.key === "status") {
    const text = run.status === "finished" ? run.status : `${run.status}, step ${run.step}`;
    return make("td", { class: "word" }, make("span", { class: `chip ${run.status}` }, text));
  }
  const text = column.metric ? show(run.final[column.key], column.metric)
    : shortText(valueOf(run, column.key));
  return make("td", { class: column.word ? "word" : "num" }, text || "–");
}

function commandCell(run) {
  if (!run.command) return make("td", { class: "word" }, "–");
  const code = make("code", {}, run.command);
  const button = make("button", { type: "button", "aria-label": `Copy the command of ${run.name}` },
    "Copy");
  button.addEventListener("click", () => {
    const range = document.createRange();
    range.selectNodeContents(code);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    // Works on pages opened from disk, where some browsers refuse the clipboard interface.
    button.textContent = document.execCommand("copy") ? "Copied" : "Press Ctrl+C";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  const whole = make("details", {}, make("summary", { title: "Show all of it" }, code));
  return make("td", { class: "word" }, make("div", { class: "cmd" }, whole, button));
}

// Rows are built once for a unit and a choice of columns, then only moved about.
const built = new Map();
let builtFor = "";

function drawBody(runs) {
  const shown = new Set(runs), kept = columns.filter(isShown);
  const wanted = [state.unit, ...shownMetrics].join();
  if (wanted !== builtFor) built.clear();
  builtFor = wanted;
  byId("runs").tBodies[0].replaceChildren(...order.filter((run) => shown.has(run)).map((run) => {
    if (!built.has(run)) {
      const row = make("tr", {}, ...kept.map((column) => cell(run, column)), commandCell(run));
      row.dataset.run = run.number;
      built.set(run, row);
    }
    return built.get(run);
  }));
}

function draw() {
  hideTip();
  const runs = visibleRuns();
  byId("count").textContent = `${runs.length} of ${D.runs.length} runs`;
  drawLegend(runs);
  drawFinal(runs);
  drawTraining(runs);
  drawPlane(runs);
  drawDistortion(runs);
  markHead();
  drawBody(runs);
}

// Fast typing draws once a frame, not once a letter.
let waiting = false;

function drawSoon() {
  if (!waiting) requestAnimationFrame(() => { waiting = false; draw(); });
  waiting = true;
}

function fill(select, options, chosen) {
  select.replaceChildren(...options.map(([value, text]) => make("option", { value }, text)));
  select.value = chosen;
}

function pick(id, name, options, chosen) {
  state[name] = chosen ?? options[0]?.[0] ?? "";
  const select = byId(id);
  fill(select, options, state[name]);
  select.addEventListener("change", () => { state[name] = select.value; draw(); });
}

function setUpFilters() {
  for (const key of ["method", "data", "status", ...D.keys.map((k) => k.key)]) {
    const found = new Map(D.runs.map((run) => {
      const value = valueOf(run, key);
      return [value?.[0] ?? "", value?.[1] ?? null];
    }));
    if (found.size < 2 || found.size > 20 || (!D.columns.includes(key) && SHORT.has(key))) continue;
    const select = make("select");
    const values = [...found.keys()].sort(naturally)
      .map((v, k) => [String(k), shortText([v, found.get(v)]) || "(none)", v]);
    fill(select, [["", "any"], ...values.map(([k, text]) => [k, text])], "");
    select.dataset.key = key;
    state.selects[key] = null;
    select.addEventListener("change", () => {
      state.selects[key] = select.value === "" ? null : values[Number(select.value)][2];
      draw();
    });
    byId("selects").append(make("label", { title: key }, SHORT.get(key) ?? key, select));
  }
  byId("query").addEventListener("input", (event) => {
    state.query = event.target.value;
    const { unknown } = parseQuery(state.query);
    const names = ["method", "data", "status", ...D.columns, ...shownMetrics].join(", ");
    byId("hint").textContent = unknown.length
      ? `No key ${unknown.join(", ")}; taken as text. Keys: ${names}.` : "";
    drawSoon();
  });
  byId("clear").addEventListener("click", () => {
    state.query = byId("query").value = byId("hint").textContent = "";
    for (const select of byId("selects").querySelectorAll("select")) {
      select.value = "";
      state.selects[select.dataset.key] = null;
    }
    draw();
  });
  for (const radio of document.querySelectorAll("input[name=unit]")) {
    radio.checked = radio.value === state.unit;
    radio.addEventListener("change", () => { state.unit = radio.value; draw(); });
  }
}

function setUpPicks() {
  const label = (key) => (METRICS.get(key) ?? plainMetric(key)).label;
  const finals = D.metrics.map((m) => [m.key, m.label]);
  const has = (options, ...wanted) => wanted.find((w) => options.some(([key]) => key === w));
  pick("final-metric", "finalMetric", finals, has(finals, "test/err_frac", "test/nll_nats"));
  pick("axis", "axis", D.axes.map((a) => [a.key, a.key]));
  const curves = Object.keys(D.curves).sort((a, b) =>
    a.startsWith("train/") - b.startsWith("train/") || (a < b ? -1 : 1)).map((k) => [k, label(k)]);
  pick("curve-metric", "curveMetric", curves, has(curves, "test/err_frac", "test/nll_nats"));
  const lost = finals.filter(([key]) => /^test\/.*(distortion|err|nll|mse|loss)/.test(key));
  pick("distortion-metric", "distortionMetric", lost, has(lost, "test/distortion_nats"));
  // A plot for which no run has the numbers would only be in the way.
  const rated = D.runs.filter((run) => rateOf(run) !== undefined);
  byId("plane").hidden = !rated.some((run) => BOUND in run.final);
  byId("distortion").hidden = !rated.length || !lost.length;
  byId("training").hidden = !curves.length;
  byId("final").hidden = !finals.length;
}

function setUpRest() {
  byId("more").append(...D.metrics.map((metric) => {
    const box = make("input", { type: "checkbox" });
    box.checked = shownMetrics.has(metric.key);
    box.addEventListener("change", () => {
      shownMetrics[box.checked ? "add" : "delete"](metric.key);
      drawHead();
      drawBody(visibleRuns());
    });
    return make("label", {}, box, metric.label);
  }));
  for (const metric of D.metrics.filter((m) => m.shown)) {
    byId("meanings").append(make("dt", {}, metric.label), make("dd", {}, metric.meaning));
  }
  for (const [key, text] of Object.entries(D.common)) {
    byId("common").append(make("dt", {}, key), make("dd", {}, text));
  }
}

setUpFilters();
setUpPicks();
setUpRest();
drawHead();
draw();
