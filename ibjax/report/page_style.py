"""The look of the report page, and its one script."""

SCRIPT = """
document.getElementById("copy")?.addEventListener("click", (event) => {
  const range = document.createRange();
  range.selectNodeContents(document.getElementById("command"));
  getSelection().removeAllRanges();
  getSelection().addRange(range);
  // Works on pages opened from disk, where some browsers refuse the clipboard interface.
  event.target.textContent = document.execCommand("copy") ? "Copied" : "Press Ctrl+C";
});
"""

STYLE = """
:root {
  --paper: #f7f7f4; --plate: #ffffff; --ink: #22262b; --soft: #666e7a; --line: #e3e4df;
  --train: #0072b2; --validation: #00805f; --test: #c04f00; --mark: #fff0d6;
  --done: #00694d; --open: #a04000;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14161a; --plate: #1d2025; --ink: #e7e9ec; --soft: #9aa2ae; --line: #30353c;
    --train: #56b4e9; --validation: #3fcf9f; --test: #ff9a4d; --mark: #4a3512;
    --done: #3fcf9f; --open: #ffb066;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
main { max-width: 1120px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 30px; line-height: 1.2; letter-spacing: -0.02em; margin: 0; }
h2 { font-size: 17px; letter-spacing: -0.01em; margin: 0 0 12px; }
section, .figures, .cards { margin-top: 32px; }
.facts, .small, .name, figcaption { color: var(--soft); font-size: 13px; }
.facts { margin: 6px 0 0; overflow-wrap: anywhere; }
.note { border-left: 3px solid var(--open); margin: 16px 0 0; padding: 4px 12px; }
.chip {
  font-size: 12px; font-weight: 600; letter-spacing: 0.02em; vertical-align: middle;
  border: 1px solid currentColor; border-radius: 99px; padding: 2px 10px; margin-left: 8px;
}
.done { color: var(--done); }
.open { color: var(--open); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(180px, 1fr)); gap: 14px; }
.card, .spark, .tree, .command, .wide, figure {
  background: var(--plate); border: 1px solid var(--line); border-radius: 10px;
}
.card { padding: 14px 16px; }
.card .small { min-height: 1.5em; }
.big {
  font-size: 28px; font-weight: 650; line-height: 1.25; letter-spacing: -0.02em;
  white-space: nowrap;
}
.big small { font-size: 15px; font-weight: 500; color: var(--soft); letter-spacing: 0; }
.big, td, dd, .ends { font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; white-space: nowrap; }
th, td { padding: 10px 11px; }
th {
  color: var(--soft); font-weight: 500; font-size: 12.5px; border-bottom: 1px solid var(--line);
}
th[title] { cursor: help; }
.num { text-align: right; }
.word { text-align: left; }
details { margin-top: 10px; }
summary { cursor: pointer; color: var(--soft); font-size: 14px; }
dl {
  display: grid; grid-template-columns: minmax(120px, max-content) 1fr; font-size: 13.5px;
  margin: 6px 0 0;
}
dt { color: var(--soft); padding: 2px 24px 2px 4px; }
dd { margin: 0; padding: 2px 4px; overflow-wrap: anywhere; }
.command { display: flex; align-items: flex-start; padding: 6px 8px 6px 16px; }
pre { flex: 1; margin: 6px 0; white-space: pre-wrap; overflow-wrap: anywhere; }
code, .tree dl, .spark .name { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
code { font-size: 13px; user-select: all; }
button {
  font: inherit; font-size: 13px; color: var(--ink); background: var(--paper); cursor: pointer;
  border: 1px solid var(--line); border-radius: 7px; padding: 4px 12px; margin: 2px 0 0 12px;
}
.figures { display: flex; flex-wrap: wrap; gap: 18px; align-items: flex-start; }
figure { margin: 0; padding: 16px 18px; flex: 1 1 440px; min-width: 0; }
figure.confusions { flex-basis: 100%; }
figure img { display: block; width: 100%; max-width: 760px; margin: 0 auto; border-radius: 6px; }
figure.confusions img { width: auto; max-width: 100%; max-height: 620px; }
figcaption { margin-top: 10px; }
.sparks { display: grid; grid-template-columns: repeat(auto-fill, minmax(230px, 1fr)); gap: 14px; }
.spark { padding: 10px 14px; }
svg { display: block; width: 100%; margin: 4px 0; }
polyline { fill: none; stroke-width: 1.5; stroke-linejoin: round; }
polyline.train { stroke: var(--train); } circle.train { fill: var(--train); }
polyline.validation { stroke: var(--validation); } circle.validation { fill: var(--validation); }
polyline.test { stroke: var(--test); } circle.test { fill: var(--test); }
.ends { font-size: 12px; display: flex; gap: 12px; flex-wrap: wrap; }
.ends .train { color: var(--train); }
.ends .validation { color: var(--validation); }
.ends .test { color: var(--test); }
.tree { padding: 10px 18px 14px; columns: 2 420px; column-gap: 36px; }
.tree details { break-inside: avoid; }
.tree details details { margin-left: 14px; }
.tree summary { color: var(--ink); font-weight: 600; }
.tree dl { font-size: 12.5px; margin-left: 14px; }
.changed { background: var(--mark); }
@media (prefers-color-scheme: dark) { figure img { background: #fff; padding: 10px; } }
@media print { body { background: #fff; } button { display: none; } }
"""
