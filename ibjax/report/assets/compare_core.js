// The data, what is chosen, and how values are written, filtered and averaged.

const D = JSON.parse(document.getElementById("data").textContent);
const METRICS = new Map(D.metrics.map((m) => [m.key, m]));
const AXES = new Map(D.axes.map((a) => [a.key, a]));
const SHORT = new Map(D.keys.map((k) => [k.key, k.short]));
const state = {
  unit: "nats", query: "", selects: {}, axis: D.axes[0].key,
  finalMetric: "", curveMetric: "", distortionMetric: "",
};
D.runs.forEach((run, number) => { run.number = number; });

const byId = (id) => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// Every name a value of a run can be asked for by: [text, number or null], or null.
function valueOf(run, key) {
  if (key === "run") return [run.name, null];
  if (key === "step") return [String(run.step), run.step];
  if (key === "method" || key === "data" || key === "status") return [run[key], null];
  if (key in run.config) return run.config[key];
  if (key in run.final) return [String(run.final[key]), run.final[key]];
  if (key in D.common) {
    const number = D.common[key] === "" ? NaN : Number(D.common[key]);
    return [D.common[key], Number.isFinite(number) ? number : null];
  }
  return null;
}

// A config value as shown: numbers to six digits. Filters and tooltips have them all.
function shortText(value) {
  if (value === null) return "";
  return value[1] === null || value[0].length < 9 ? value[0] : String(+value[1].toPrecision(6));
}

const NAMES = [
  "run", "method", "data", "status", "step",
  ...D.keys.map((k) => k.key), ...Object.keys(D.common), ...METRICS.keys(),
];

// A full name, or the only name (first a differing key) that ends in what was written.
function resolveName(written) {
  const name = written.replace(/^-*config\./, "");
  if (NAMES.includes(name)) return name;
  const ends = (n) => n.endsWith("." + name) || n.endsWith("/" + name);
  const short = D.keys.find((k) => k.short === name);
  if (short) return short.key;
  const found = NAMES.filter(ends);
  return found.find((n) => n.startsWith("test/")) ?? (found.length === 1 ? found[0] : null);
}

function parseQuery(text) {
  const terms = [], unknown = [];
  for (const piece of text.match(/(?:[^\s"]|"[^"]*"?)+/g) ?? []) {
    const word = piece.replaceAll('"', "");
    const match = /^([\w./-]+?)(!=|>=|<=|=|>|<)(.+)$/.exec(word);
    const key = match && resolveName(match[1]);
    if (match && !key) unknown.push(match[1]);
    terms.push(key ? { key, operator: match[2], value: match[3] } : { text: word.toLowerCase() });
  }
  return { terms, unknown };
}

function equal(value, wanted) {
  const number = wanted.trim() === "" ? NaN : Number(wanted);
  if (value[1] !== null && Number.isFinite(number)) {
    return Math.abs(value[1] - number) <= 1e-7 * Math.max(Math.abs(value[1]), Math.abs(number));
  }
  return value[0].toLowerCase() === wanted.toLowerCase();
}

function holds(run, { key, operator, value, text }) {
  if (text !== undefined) {
    const config = Object.entries(run.config).map(([name, v]) => `${name}=${v[0]}`);
    return [run.name, run.method, run.data, run.status, run.command, ...config]
      .join("\n").toLowerCase().includes(text);
  }
  const found = valueOf(run, key);
  if (operator === "=" || operator === "!=") {
    const hit = found !== null
      && (equal(found, value) || value.split(",").some((part) => equal(found, part)));
    return hit === (operator === "=");
  }
  if (found === null || found[1] === null) return false;
  const number = Number(value);
  return { ">": found[1] > number, "<": found[1] < number,
    ">=": found[1] >= number, "<=": found[1] <= number }[operator];
}

function visibleRuns() {
  const { terms } = parseQuery(state.query);
  return D.runs.filter((run) => terms.every((term) => holds(run, term))
    && Object.entries(state.selects).every(([key, wanted]) =>
      wanted === null || (valueOf(run, key)?.[0] ?? "") === wanted));
}

// Nats are stored; bits are shown when asked for.
const inBits = (unit) => unit === "nats" && state.unit === "bits";
const unitOf = (metric) => (inBits(metric.unit) ? "bits" : metric.unit);
const factorOf = (metric) => metric.factor / (inBits(metric.unit) ? Math.LN2 : 1);
const labelOf = (metric) => metric.label + (unitOf(metric) ? ` (${unitOf(metric)})` : "");

function written(value) {
  const size = Math.abs(value);
  if (size >= 1e3 && size < 1e9) return value.toFixed(0);
  return size === 0 ? "0" : value.toPrecision(4);
}

function show(value, metric) {
  if (value === undefined || value === null) return "";
  const scaled = value * factorOf(metric);
  if (metric.unit === "%") return scaled.toFixed(2);
  if (metric.key === "step") return scaled.toFixed(0);
  return metric.unit === "s" ? scaled.toFixed(1) : written(scaled);
}

const withUnit = (value, metric) =>
  show(value, metric) + (unitOf(metric) ? ` ${unitOf(metric)}` : "");

// Mean and half of the Student-t 95% interval (null for a single value).
function average(values) {
  const n = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  if (n < 2) return { n, mean, half: null };
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { n, mean, half: D.student[n - 2] * Math.sqrt(squares / (n - 1) / n) };
}

function groupBy(items, keyOf) {
  const groups = new Map();
  for (const item of items) {
    const key = keyOf(item);
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(item);
  }
  return groups;
}

const finished = (run) => run.status === "finished";
