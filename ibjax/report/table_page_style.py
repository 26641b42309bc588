"""What the page of an experiment adds to the look of a report: rules as in print, folded runs."""

from ibjax.report import page_style

SCRIPT = (
  page_style.SCRIPT
  + """
for (const link of document.querySelectorAll("a[data-runs]")) {
  link.addEventListener("click", () => {
    document.getElementById(link.dataset.runs).open = true;
  });
}
"""
)

TABLE_STYLE = """
.kicker { color: var(--soft); font-size: 13.5px; margin: 0 0 8px; }
a { color: inherit; text-decoration-color: var(--line); text-underline-offset: 3px; }
a:hover { text-decoration-color: currentColor; }
h3 { font-size: 13px; font-weight: 600; color: var(--soft); margin: 0; }
table.paper { border-top: 2px solid var(--ink); border-bottom: 2px solid var(--ink); }
table.paper th { border-bottom: 0; padding: 4px 12px; vertical-align: bottom; }
table.paper th.group {
  text-align: center; color: var(--ink); font-weight: 600; padding-top: 9px;
  border-bottom: 1px solid var(--line);
}
table.paper thead tr:last-child th { padding-bottom: 8px; }
table.paper tbody tr:first-child td { border-top: 1px solid var(--ink); }
table.paper tbody tr + tr td { border-top: 1px solid var(--line); }
table.paper td { padding: 8px 12px; }
table.paper .ours { padding-left: 26px; }
.unit { color: var(--soft); font-weight: 400; }
.best { font-weight: 700; }
.theirs, .p, .note-cell { color: var(--soft); }
.note-cell { white-space: normal; min-width: 130px; font-size: 12.5px; }
.mark { font-weight: 700; display: inline-block; min-width: 1.2em; text-align: center; }
.mark.differs { color: var(--open); }
.mark.agrees { color: var(--done); }
.mark.na { font-weight: 400; color: var(--soft); }
.legend .mark { margin-left: 10px; }
.legend .mark:first-child { margin-left: 0; }
.caption { font-size: 13.5px; max-width: 92ch; margin: 12px 0 4px; }
.small { margin: 2px 0; }
.runs { margin-top: 16px; }
.runs details { margin-top: 6px; }
.runs summary { color: var(--ink); font-size: 13.5px; }
.runs details[open] { padding-bottom: 14px; border-bottom: 1px solid var(--line); }
.runs .wide { margin: 8px 0; }
.runs table { font-size: 12.5px; }
.runs th, .runs td { padding: 6px 10px; }
.runs td { border-top: 1px solid var(--line); }
.runs pre { font-size: 12px; white-space: pre; overflow-x: auto; }
.mono { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: 12px; }
td.stale, td.missing, td.diverged { color: var(--open); font-weight: 600; }
figure.chart { flex: 1 1 460px; max-width: 560px; }
figure.chart.many { flex-basis: 100%; max-width: none; }
figure.chart.many img { max-width: 960px; }
"""
