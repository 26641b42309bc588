// The four plots. Series (one colour each) agree in everything but the seed and the x axis.

const axis = () => AXES.get(state.axis);
const seriesOf = (run) => axis().series[run.number];
const xOf = (run) => valueOf(run, state.axis)?.[axis().numeric ? 1 : 0] ?? null;
const RATES = ["test/rate_nats", "test/i_xz_upper_nats"];
const rateOf = (run) => run.final[RATES.find((name) => name in run.final)];
const BOUND = "test/i_yz_lower_nats";

// What the axes are fitted to: a run that stopped half-way must not squeeze the finished ones.
const settled = (runs) => (runs.some(finished) ? runs.filter(finished) : runs);

function unfit(runs, beyond) {
  const words = [];
  if (runs.some((run) => run.status === "unfinished")) words.push("hollow: unfinished");
  if (runs.some((run) => run.status === "diverged")) words.push("crosses: diverged");
  if (!words.length) return "";
  const text = words.join(", ");
  return ` ${text[0].toUpperCase()}${text.slice(1)} (in no mean${
    beyond ? "; at the edge where beyond the axis" : ""}).`;
}

function drawLegend(runs) {
  const present = [...new Set(runs.map(seriesOf))].sort((a, b) => a - b);
  byId("legend").replaceChildren(...legendItems(present, axis().names, 24));
}

function legendItems(present, names, most) {
  const items = present.slice(0, most).map((series) => make("span", { class: "item" },
    svg("svg", { viewBox: "-6 -6 12 12", class: colour(series), "aria-hidden": "true" },
      svg("path", { d: shape(series) })), names[series]));
  if (present.length > most) items.push(make("span", {}, `and ${present.length - most} more`));
  return items;
}

// A metric after training: every run, the mean over seeds and its interval, over a config key.
function drawFinal(runs) {
  const host = byId("final").querySelector(".plot"), metric = METRICS.get(state.finalMetric);
  const having = runs.filter((run) => metric && metric.key in run.final);
  if (!having.length) return empty(host, "No run shown here records this metric.");
  const factor = factorOf(metric), y0 = (run) => run.final[metric.key] * factor;
  const placed = having.filter((run) => xOf(run) !== null);
  const groups = [...groupBy(having, (run) => `${seriesOf(run)}\n${xOf(run)}`).values()].map((g) => {
    const counted = g.filter(finished).map(y0);
    return { series: seriesOf(g[0]), x: xOf(g[0]), runs: g,
      ...(counted.length ? average(counted) : { n: 0, mean: null, half: null }) };
  });
  const numeric = axis().numeric;
  const names = numeric ? null : [...new Set(placed.map(xOf))].sort(naturally);
  const x = scale(placed.length ? placed.map(xOf) : [0, 1], xRange,
    { categories: names, zero: true });
  const ends = groups.filter((g) => g.half !== null)
    .flatMap((g) => [g.mean - g.half, g.mean + g.half]);
  const measured = settled(having).map(y0), least = Math.min(...measured);
  // An interval that reaches below zero must not take the log axis away from positive values.
  const y = scale([...measured, ...ends.filter((v) => least < 0 || v > least / 3)], yRange);
  const label = numeric ? state.axis : SHORT.get(state.axis) ?? state.axis;
  const drawing = frame(host, `${labelOf(metric)} over ${state.axis}`, x, y, label,
    labelOf(metric));
  const order = [...new Set(placed.map(seriesOf))].sort((a, b) => a - b);
  // Side by side: the means of the series, and each one's runs a little to its right.
  const slots = new Set(placed.map(xOf)).size;
  const shift = Math.min(26, 0.8 * (xRange[1] - xRange[0]) / slots / order.length);
  const aside = Math.min(8, 0.4 * shift);
  const dodge = (series) => (order.indexOf(series) - (order.length - 1) / 2) * shift;
  const clip = (value) => Math.min(y.high, Math.max(y.low, value));
  const marks = [], points = [];
  for (const g of groups.filter((g) => g.x === null && g.n)) drawBaseline(drawing, g, y, clip, metric);
  for (const [series, members] of groupBy(groups.filter((g) => g.x !== null), (g) => g.series)) {
    const at = (g) => x(g.x) + dodge(series) - aside / 2, means = members.filter((g) => g.n);
    means.sort((a, b) => at(a) - at(b));
    if (numeric) {
      drawing.append(svg("path", { class: `mean ${colour(series)}`,
        d: path(means.map((g) => [at(g), y(g.mean)])) }));
    }
    for (const g of means) marks.push(meanMark(g, at(g), y, clip, metric));
    for (const g of members) {
      g.runs.forEach((run, k) => points.push(point(run, series,
        at(g) + aside + (k - (g.runs.length - 1) / 2) * Math.min(2, 6 / g.runs.length), y(clip(y0(run))),
        [[metric.label, withUnit(run.final[metric.key], metric)],
          ...(g.n > 1 ? meanRows(g, metric) : [])])));
    }
  }
  drawing.append(...points, ...marks);
  walkable(drawing);
  byId("final").querySelector("figcaption").textContent =
    "Points: runs. Bars: means over seeds with Student-t 95% intervals."
    + (groups.some((g) => g.x === null && g.n) ? " Dashed: runs without this key." : "")
    + unfit(having, having.some((run) => clip(y0(run)) !== y0(run)));
}

function naturally(a, b) {
  const numbers = [Number(a), Number(b)];
  return numbers.every(Number.isFinite) ? numbers[0] - numbers[1] : a < b ? -1 : a > b ? 1 : 0;
}

const meanRows = (g, metric) => {
  const factor = factorOf(metric);
  const rows = [[`mean of ${g.n}`, withUnit(g.mean / factor, metric)]];
  if (g.half !== null) rows.push(["95% interval", `± ${withUnit(g.half / factor, metric)}`]);
  return rows;
};

function meanMark(g, x, y, clip, metric) {
  const mark = svg("g", { class: `bar95 ${colour(g.series)}` });
  if (g.half !== null) {
    const [top, low] = [y(g.mean + g.half), y(clip(g.mean - g.half))];
    mark.append(svg("path", { d: `M${x},${low}V${top}M${x - 4},${top}h8M${x - 4},${low}h8` }));
  }
  mark.append(svg("path", { class: "centre", d: `M${x - 5},${y(g.mean)}h10` }),
    svg("rect", { class: "hit", x: x - 6, y: y(g.mean) - 5, width: 10, height: 10 }));
  const label = axis().names[g.series];
  tipOn(mark, label, [[state.axis, String(g.x)], ...meanRows(g, metric)]);
  return mark;
}

// Runs that lack the key of the x axis: a level to compare with.
function drawBaseline(drawing, g, y, clip, metric) {
  const [left, right] = [BOX.left, W - BOX.right];
  const mark = svg("g", { class: `baseline ${colour(g.series)}` });
  if (g.half !== null) {
    const top = y(g.mean + g.half), low = y(clip(g.mean - g.half));
    mark.append(svg("rect", { class: "band", x: left, y: top, width: right - left,
      height: Math.max(0, low - top) }));
  }
  mark.append(svg("path", { class: "mean", d: `M${left},${y(g.mean)}H${right}` }));
  tipOn(mark, axis().names[g.series], meanRows(g, metric));
  drawing.append(mark);
}

// A metric over training steps: one line a group, its band over the seeds.
function drawTraining(runs) {
  const figure = byId("training"), host = figure.querySelector(".plot");
  const metric = METRICS.get(state.curveMetric) ?? plainMetric(state.curveMetric);
  const shown = new Set(runs.map((run) => run.number)), factor = factorOf(metric);
  const lines = [];
  for (const entry of D.curves[state.curveMetric] ?? []) {
    const members = Object.entries(entry.runs).filter(([number]) => shown.has(Number(number)));
    if (!members.length) continue;
    // What diverged is in no mean; a group with nothing else is shown as it went.
    const good = members.filter(([number]) => D.runs[number].status !== "diverged");
    const used = good.length ? good : members;
    const at = entry.steps.map((step, k) => {
      const values = used.map(([, v]) => v[k]).filter((v) => v !== null && v !== undefined);
      return values.length ? { step, ...average(values.map((v) => v * factor)) } : null;
    }).filter(Boolean);
    if (at.length) lines.push({ group: entry.group, run: D.runs[used[0][0]], at });
  }
  const keys = figure.querySelector(".legend");
  keys.replaceChildren();
  if (!lines.length) return empty(host, "No run shown here records this metric over training.");
  const means = lines.flatMap((line) => line.at.map((p) => p.mean));
  const x = scale([0, ...lines.flatMap((line) => line.at.map((p) => p.step))], xRange,
    { log: false, fromZero: true });
  const y = scale(means, yRange);
  const drawing = frame(host, `${labelOf(metric)} over training`, x, y, "training step",
    labelOf(metric));
  const clip = (value) => Math.min(y.high, Math.max(y.low, value));
  // Within a series the x key goes from pale to dark.
  for (const members of groupBy(lines, (line) => seriesOf(line.run)).values()) {
    members.sort((a, b) => naturally(xOf(a.run) ?? "", xOf(b.run) ?? ""));
    members.forEach((line, k) => { line.rank = members.length > 1 ? k / (members.length - 1) : 0.5; });
  }
  lines.sort((a, b) => seriesOf(a.run) - seriesOf(b.run) || a.rank - b.rank);
  for (const line of lines) {
    line.mark = svg("g", { class: `line ${colour(seriesOf(line.run))}` });
    shade(line.mark, line.rank);
    const band = line.at.filter((p) => p.half !== null);
    const low = band.map((p) => [x(p.step), y(clip(p.mean - p.half))]);
    const high = band.map((p) => [x(p.step), y(clip(p.mean + p.half))]);
    line.mark.append(
      svg("path", { class: "band", d: path([...high, ...low.reverse()], true) }),
      svg("path", { class: "mean", d: path(line.at.map((p) => [x(p.step), y(p.mean)])) }));
    if (line.at.length === 1) {
      line.mark.append(svg("circle", { class: "dot", r: 3, cx: x(line.at[0].step),
        cy: y(line.at[0].mean) }));
    }
    drawing.append(line.mark);
  }
  const light = (chosen) => lines.forEach((line) =>
    line.mark.classList.toggle("faded", Boolean(chosen) && line !== chosen));
  for (const line of lines.slice(0, 12)) {
    const swatch = svg("svg", { viewBox: "0 0 16 6", class: colour(seriesOf(line.run)),
      "aria-hidden": "true" }, svg("path", { class: "key", d: "M0,3H16" }));
    shade(swatch, line.rank);
    const item = make("span", { class: "item" }, swatch, D.groups[line.group]);
    item.addEventListener("pointerenter", () => light(line));
    item.addEventListener("pointerleave", () => light(null));
    keys.append(item);
  }
  if (lines.length > 12) keys.append(make("span", {}, `and ${lines.length - 12} more`));
  drawing.addEventListener("pointermove", (event) => {
    const box = drawing.getBoundingClientRect();
    const px = (event.clientX - box.left) * W / box.width;
    const py = (event.clientY - box.top) * H / box.height;
    let best = null;
    for (const line of lines) {
      const p = line.at.reduce((a, b) =>
        (Math.abs(x(b.step) - px) < Math.abs(x(a.step) - px) ? b : a));
      const far = Math.hypot((x(p.step) - px) / 3, y(p.mean) - py);
      if (!best || far < best.far) best = { line, p, far };
    }
    if (best.far > 40) { light(null); hideTip(); return; }
    light(best.line);
    const g = { ...best.p };
    showTip({ left: event.clientX, right: event.clientX, top: event.clientY },
      D.groups[best.line.group], [["step", String(g.step)], ...meanRows(g, metric)]);
  });
  drawing.addEventListener("pointerleave", () => { light(null); hideTip(); });
  figure.querySelector("figcaption").textContent =
    "Lines: means over seeds. Bands: Student-t 95% intervals."
    + (runs.some((run) => run.status === "diverged") ? " Runs that diverged are left out where others of their group did not." : "");
}

const plainMetric = (key) => ({ key, label: key, unit: "", factor: 1 });

function shade(element, rank) {
  element.style.setProperty("--pale", `${Math.round(100 * Math.max(0, 0.5 - rank) * 1.1)}%`);
  element.style.setProperty("--deep", `${Math.round(100 * Math.max(0, rank - 0.5) * 1.1)}%`);
}

// Two final values against each other: points, and the path of the means along the x key.
function drawAgainst(id, runs, yMetric, extra, note) {
  const host = byId(id).querySelector(".plot");
  const having = runs.filter((run) => rateOf(run) !== undefined && yMetric
    && yMetric.key in run.final);
  if (!having.length) return empty(host, "No run shown here records a rate and this metric.");
  const rate = METRICS.get(RATES.find((name) => having.some((run) => name in run.final)));
  const fx = factorOf(rate), fy = factorOf(yMetric);
  const px = (run) => rateOf(run) * fx, py = (run) => run.final[yMetric.key] * fy;
  const entropies = Object.entries(D.entropy)
    .filter(([data]) => having.some((run) => run.data === data))
    .map(([data, nats]) => [data, nats * fx]);
  const tops = id === "plane" ? entropies.map(([, value]) => value) : [];
  const x = scale(settled(having).map(px), xRange, { zero: true });
  const y = scale([...settled(having).map(py), ...tops], yRange,
    id === "plane" ? { log: false, fromZero: true } : {});
  const drawing = frame(host, byId(id).querySelector("h2").textContent, x, y,
    `I(X;Z) at most: rate (${unitOf(rate)})`, labelOf(yMetric));
  const clip = (value, along) => Math.min(along.high, Math.max(along.low, value));
  const beyond = (run) => clip(px(run), x) !== px(run) || clip(py(run), y) !== py(run);
  extra(drawing, x, y, entropies);
  const groups = [...groupBy(having.filter(finished), (run) => `${seriesOf(run)}\n${xOf(run)}`)
    .values()].map((g) => ({ series: seriesOf(g[0]), key: xOf(g[0]),
    at: [x(average(g.map(px)).mean), y(average(g.map(py)).mean)] }));
  if (axis().numeric) {
    for (const [series, members] of groupBy(groups.filter((g) => g.key !== null), (g) => g.series)) {
      members.sort((a, b) => a.key - b.key);
      drawing.append(svg("path", { class: `trace ${colour(series)}`,
        d: path(members.map((g) => g.at)) }));
    }
  }
  drawing.append(...having.map((run) => point(run, seriesOf(run), x(clip(px(run), x)),
    y(clip(py(run), y)), [
    [rate.label, withUnit(rateOf(run), rate)],
    [yMetric.label, withUnit(run.final[yMetric.key], yMetric)],
  ])));
  walkable(drawing);
  byId(id).querySelector("figcaption").textContent = note
    + (axis().numeric ? ` A line joins the means in the order of ${state.axis}.` : "")
    + unfit(having, having.some(beyond));
}

// I(Y;Z) is at most I(X;Z) and at most H(Y).
function planeLimits(drawing, x, y, entropies) {
  const most = y.high, points = [];
  for (let k = 0; k <= 200; k += 1) {
    const place = xRange[0] - 8 + (xRange[1] + 16 - xRange[0]) * k / 200, value = x.invert(place);
    if (value >= y.low && value <= most) points.push([place, y(value)]);
  }
  drawing.append(svg("path", { class: "limit", d: path(points) }));
  if (points.length > 1) {
    const [px, py] = points[Math.floor(points.length * 0.55)];
    drawing.append(svg("text", { class: "limit", x: px + 6, y: py + 12 }, "I(Y;Z) = I(X;Z)"));
  }
  // Data sets whose labels have the same entropy share a line.
  const levels = [...groupBy(entropies, ([, value]) => written(value)).values()];
  for (const level of levels) {
    const value = level[0][1], on = level.map(([data]) => data).join(", ");
    drawing.append(
      svg("path", { class: "limit", d: `M${BOX.left},${y(value)}H${W - BOX.right}` }),
      svg("text", { class: "limit", x: W - BOX.right - 2, y: y(value) - 4, "text-anchor": "end" },
        `H(Y) = ${written(value)}${levels.length > 1 ? ` on ${on}` : ""}`));
  }
}

function drawPlane(runs) {
  drawAgainst("plane", runs, METRICS.get(BOUND), planeLimits,
    "What the code keeps of the label against what it pays about the input, on the test split.");
}

function drawDistortion(runs) {
  drawAgainst("distortion", runs, METRICS.get(state.distortionMetric), () => {},
    "What is lost against what is paid, on the test split.");
}
