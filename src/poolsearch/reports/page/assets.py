"""The style and the script of the page."""

STYLE = """
:root { --ink: #1f2933; --muted: #616e7c; --line: #dfe3e8; --accent: #D55E00; --wash: #f7f8fa; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: white; line-height: 1.5;
  font: 16px/1.5 Helvetica, Arial, "Liberation Sans", "DejaVu Sans", sans-serif; overflow-wrap: anywhere; }
main { max-width: 1060px; margin: 0 auto; padding: 28px 20px 64px; }
h1 { font-size: 1rem; font-weight: normal; color: var(--muted); margin: 0; }
h1 strong { color: var(--ink); }
.verdict { font-size: clamp(1.35rem, 3.4vw, 2rem); line-height: 1.28; font-weight: bold; margin: 14px 0 10px;
  letter-spacing: -0.01em; text-wrap: pretty; }
.detail { color: var(--muted); margin: 0 0 8px; max-width: 46em; }
h2 { font-size: 1.3rem; margin: 52px 0 6px; }
h3 { font-size: 1rem; margin: 26px 0 4px; }
figure { margin: 0 0 8px; }
figcaption { color: var(--muted); font-size: 0.92rem; margin: 4px 0 12px; max-width: 50em; }
.live { display: none; }
.charted .live { display: grid; grid-template-columns: minmax(0, 1fr); gap: 18px 28px; align-items: end; }
.charted .still { display: none; }
.still { max-width: 100%; height: auto; }
.panel { width: 100%; min-width: 0; }
@media (min-width: 760px) { .charted .two { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
.charted .four { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 14px 10px; }
@media (min-width: 760px) { .charted .four { grid-template-columns: repeat(4, minmax(0, 1fr)); } }
.scroll { overflow-x: auto; margin: 8px 0; }
table { border-collapse: collapse; font-size: 0.92rem; font-variant-numeric: tabular-nums; width: 100%; }
caption { text-align: left; color: var(--muted); padding: 0 0 8px; }
caption span { display: block; max-width: min(50em, calc(100vw - 56px)); white-space: normal; }
th, td { text-align: right; padding: 5px 10px; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--muted); font-weight: normal; border-bottom-color: #9aa5b1; vertical-align: bottom; }
td.text, th.text { text-align: left; }
th.wrap { text-align: left; }
td.wrap { white-space: normal; text-align: left; min-width: 14em; }
td small { color: var(--muted); font-size: 0.86em; }
tr.winner td { background: #fdf3ec; font-weight: bold; }
tr.winner small { font-weight: normal; }
tr.default td { background: #f1f3f5; font-weight: bold; }
tr.default small { font-weight: normal; }
.flag { display: inline-block; border: 1px solid #b8c1cb; border-radius: 9px; padding: 0 7px; margin-right: 4px;
  font-size: 0.78rem; font-weight: normal; color: var(--muted); background: white; }
.flag.default { border-color: #000; color: #000; }
.flag.winner { border-color: var(--accent); color: #a34700; }
.flag.outside { border-color: #8a5a00; color: #6b4600; }
.flag.Pareto { border-color: #009E73; color: #00684c; }
pre { background: var(--wash); border: 1px solid var(--line); border-radius: 6px; padding: 10px 12px; overflow-x: auto;
  font-size: 0.88rem; margin: 10px 0; }
details { margin: 10px 0; }
summary { cursor: pointer; padding: 4px 0; color: #0b5394; }
.warnings li { margin: 6px 0; }
.facts caption { color: var(--ink); font-weight: bold; padding-top: 14px; }
.facts th { text-align: left; width: 15em; vertical-align: top; border-color: var(--line); }
.facts td { text-align: left; white-space: normal; }
#vg-tooltip-element { max-width: 90vw; }
footer { margin-top: 56px; color: var(--muted); font-size: 0.85rem; }
"""

# The interpreter (ast) walks expressions itself, so that the policy can go without 'unsafe-eval'.
SCRIPT = """
"use strict";
(async () => {
  const figures = JSON.parse(document.getElementById("charts").textContent);
  const options = {actions: false, ast: true, renderer: "svg"};
  for (const [name, specs] of Object.entries(figures)) {
    const figure = document.getElementById(name);
    figure.classList.add("charted");
    try {
      const panels = figure.querySelectorAll(".panel");
      for (let i = 0; i < specs.length; i++) await vegaEmbed(panels[i], specs[i], options);
    } catch (error) {
      figure.classList.remove("charted");
      console.error(name, error);
    }
  }
})();
"""
