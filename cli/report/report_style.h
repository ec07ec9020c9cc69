// The style sheet of report.html: light and dark by the reader's system, one column on a phone.
#pragma once

namespace leeway {

inline constexpr const char* kReportStyle = R"css(
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --text: #1c2330; --soft: #5d6778; --rule: #dfe3ea; --heat: 217, 83, 79;
  --a: #2f6fdb; --b: #d9770a;
  --data: #8a94a6; --pull: #3b8fd4; --compute: #2e9e62; --push: #8e62c9; --blocked: #d9534f; --paced: #dba520;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12161d; --card: #1b212b; --text: #e6eaf1; --soft: #98a3b5; --rule: #323b49; --heat: 240, 110, 105;
    --a: #6ea4ff; --b: #ffab4a;
    --data: #8792a6; --pull: #58aaea; --compute: #49bd80; --push: #ab86e2; --blocked: #ec6f6b; --paced: #e8bb45;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 24px 20px 48px; }
h1 { font-size: 1.6rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 0 0 12px; }
.sub, .note { color: var(--soft); margin: 2px 0 0; overflow-wrap: anywhere; }
.note { font-size: .85rem; margin: 0 0 12px; }
section { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 18px 20px;
  margin-top: 18px; }
.tiles { display: grid; grid-template-columns: repeat(4, 1fr); gap: 12px; margin-top: 18px; }
.tile { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 12px 14px; }
.tile b { display: block; font-size: 1.35rem; line-height: 1.3; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: .82rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr)); gap: 16px 24px; }
figure { margin: 0; }
figcaption { font-weight: 600; }
.key { font-weight: 400; color: var(--soft); font-size: .85rem; margin-left: 10px; white-space: nowrap; }
.key i { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 5px;
  background: currentColor; }
.keys { margin: 0 0 10px; } .keys .key { margin: 0 12px 0 0; }
.chart { display: block; width: 100%; height: auto; }
.chart text { fill: var(--soft); font-size: 12px; font-family: inherit; }
.grid { stroke: var(--rule); }
.line { fill: none; stroke: currentColor; stroke-width: 1.8; stroke-linejoin: round; }
.dot { fill: var(--card); stroke: currentColor; stroke-width: 1.8; }
.bar { fill: var(--a); }
.a { color: var(--a); fill: var(--a); } .b { color: var(--b); fill: var(--b); }
.line.a, .line.b { fill: none; } .dot.a, .dot.b { fill: var(--card); }
.data { color: var(--data); fill: var(--data); } .pull { color: var(--pull); fill: var(--pull); }
.compute { color: var(--compute); fill: var(--compute); } .push { color: var(--push); fill: var(--push); }
.blocked { color: var(--blocked); fill: var(--blocked); } .paced { color: var(--paced); fill: var(--paced); }
.row { display: grid; grid-template: "name bar value" / 110px 1fr 150px; gap: 2px 12px; align-items: center;
  margin-top: 7px; }
.row .name { grid-area: name; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.row .value { grid-area: value; white-space: nowrap; color: var(--soft); font-size: .85rem;
  text-align: right; font-variant-numeric: tabular-nums; }
.row .stack { grid-area: bar; }
.stack { display: block; width: 100%; height: 20px; border-radius: 4px; background: var(--rule); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; }
.wide { width: 100%; }
th, td { padding: 5px 9px; border-bottom: 1px solid var(--rule); text-align: right; white-space: nowrap; }
th { color: var(--soft); font-weight: 600; }
th:first-child, td:first-child, .plain td, .plain th { text-align: left; }
.plain td { white-space: normal; overflow-wrap: anywhere; } .plain th { vertical-align: top; }
.matrix th:first-child, .matrix td:first-child { border-right: 1px solid var(--rule); }
details { margin-top: 12px; } summary { cursor: pointer; color: var(--soft); }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .82rem; margin: 8px 0 0; }
@media (max-width: 560px) {
  main { padding: 16px 10px 32px; } section { padding: 14px 12px; } .chart text { font-size: 14px; }
  .row { grid-template: "name value" "bar bar" / 1fr max-content; }
  .tiles { grid-template-columns: repeat(2, 1fr); }
}
)css";

}  // namespace leeway
