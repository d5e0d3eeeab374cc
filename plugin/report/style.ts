/** Colours and rules of page and picture, light and dark. Pure. */
import type { Step } from '../../webhook/api/migration.ts';

/** Fit for both lights, and for white text on them. */
const STEP_COLOURS: Record<Exclude<Step, 'Done' | 'Aborted'>, string> = {
  Warming: '#64748b',
  Muting: '#c2410c',
  Cutting: '#a16207',
  Transferring: '#0f766e',
  Restoring: '#0369a1',
  Replaying: '#4a5fc1',
  Attaching: '#be185d',
  Committed: '#15803d',
  Settling: '#4d7c0f',
  Switching: '#7e55c7',
  Retiring: '#7c6f64',
  Aborting: '#b91c1c',
};

/** Light, dark. */
const BASE = {
  bg: ['#ffffff', '#12171f'],
  panel: ['#f5f7fa', '#1a212c'],
  line: ['#d5dce6', '#303b4b'],
  grid: ['#e6eaf0', '#263040'],
  ink: ['#1d2733', '#e6ebf2'],
  soft: ['#53627a', '#9fafc4'],
  source: ['#2f62b5', '#79a8f5'],
  copy: ['#c26a12', '#f0a35a'],
  lag: ['#4a5fc1', '#93a4f5'],
  held: ['#c98a1b', '#d9a441'],
  stop: ['#c02f3c', '#ff7b84'],
  good: ['#24722c', '#7bd184'],
  bad: ['#b3261e', '#ff8a80'],
  busy: ['#7a5200', '#f0c060'],
} as const;

const variables = (which: 0 | 1): string =>
  Object.entries(BASE)
    .map(([name, pair]) => `--${name}:${pair[which]}`)
    .join(';');
const STEPS = Object.entries(STEP_COLOURS)
  .map(([step, colour]) => `--s-${step}:${colour}`)
  .join(';');

export const PALETTE = `:root{color-scheme:light dark;${variables(0)};${STEPS}}
@media (prefers-color-scheme:dark){:root{${variables(1)}}}
@media print{:root{color-scheme:light;${variables(0)}}}`;

const FONT = 'system-ui,-apple-system,"Segoe UI",Roboto,Helvetica,Arial,sans-serif';

export const PICTURE = `.tl{font:12px ${FONT};fill:var(--ink)}
.tl text{fill:var(--ink)}.tl .soft{fill:var(--soft)}.tl .h{font-weight:600;font-size:13px}.tl .in{fill:#fff;font-size:11px;font-weight:600}
.tl .end{text-anchor:end}.tl .mid{text-anchor:middle}
.tl .grid{stroke:var(--grid);fill:none}.tl .axis{stroke:var(--line);fill:none}
.tl .band{fill:var(--stop);fill-opacity:.13}.tl .wedge{fill:var(--stop);fill-opacity:.8}.tl .told{fill:var(--stop);font-weight:600}
.tl .c{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.tl .source{stroke:var(--source)}.tl .copy{stroke:var(--copy)}.tl .lag{stroke:var(--lag)}
.tl .held{fill:var(--held)}
${Object.keys(STEP_COLOURS)
  .map((step) => `.tl .s-${step}{fill:var(--s-${step})}`)
  .join('')}`;

export const PAGE = `*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 ${FONT};overflow-wrap:anywhere}
main{max-width:1080px;margin:0 auto;padding:28px 24px 48px}
h1{font-size:26px;line-height:1.25;margin:4px 0 8px;font-weight:650}
h2{font-size:18px;margin:36px 0 10px;font-weight:650}
h3{font-size:15px;margin:22px 0 6px;font-weight:650}
p{margin:6px 0;max-width:78ch}
.eyebrow,.soft{color:var(--soft)}.eyebrow{font-size:13px;letter-spacing:.02em;margin:0}
.mark{display:inline-block;font-size:13px;font-weight:650;padding:1px 10px;border-radius:99px;border:1.5px solid;vertical-align:3px;margin-left:8px;white-space:nowrap}
.done{color:var(--good)}.failed{color:var(--bad)}.running{color:var(--busy)}
.facts{display:grid;grid-template-columns:max-content 1fr;gap:2px 18px;margin:12px 0 0}
.facts dt{color:var(--soft)}.facts dd{margin:0}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(148px,1fr));gap:10px;margin:22px 0 0;padding:0;list-style:none}
.tiles li{background:var(--panel);border:1px solid var(--line);border-radius:10px;padding:10px 14px}
.tiles b{display:block;font-size:22px;font-weight:650;line-height:1.3;font-variant-numeric:tabular-nums}
.tiles span{display:block;font-size:13px;color:var(--soft)}
.box{border:1px solid var(--line);border-left:4px solid var(--bad);border-radius:8px;padding:10px 16px;margin:20px 0 0;background:var(--panel)}
.box h2{margin:2px 0 6px}.box ul{margin:6px 0;padding-left:20px}
figure{margin:0}figcaption{font-size:13px;color:var(--soft);margin-top:6px;max-width:90ch}
.tl{display:block;width:100%;height:auto}.narrow{display:none}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:14px}
caption{text-align:left;font-weight:600;padding:16px 0 4px}
th,td{text-align:left;padding:5px 12px 5px 0;border-bottom:1px solid var(--grid);vertical-align:top}
thead th{color:var(--soft);font-weight:600;font-size:13px;border-bottom-color:var(--line);white-space:nowrap}
tbody th{font-weight:500}.n{text-align:right;white-space:nowrap}.k th{white-space:nowrap}td:last-child,th:last-child{padding-right:0}
.swatch{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:8px;vertical-align:-1px}
${Object.keys(STEP_COLOURS)
  .map((step) => `.b-${step}{background:var(--s-${step})}`)
  .join('')}
.cols{display:grid;grid-template-columns:repeat(auto-fit,minmax(300px,1fr));gap:0 40px}
.cols>*{min-width:0}
code{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
details{margin-top:10px}summary{cursor:pointer;color:var(--soft)}
footer code{white-space:nowrap}footer{margin-top:40px;padding-top:12px;border-top:1px solid var(--line);font-size:13px;color:var(--soft)}
@media (max-width:640px){main{padding:18px 14px 36px}h1{font-size:21px}.wide{display:none}.narrow{display:block}.says{display:none}
.facts{grid-template-columns:1fr;gap:0}.facts dd{margin-bottom:6px}.tiles{grid-template-columns:1fr 1fr}.tiles b{font-size:19px}.cols{grid-template-columns:1fr}
th,td{padding-right:8px;font-size:13px}}
@media print{@page{margin:14mm}body{font-size:11pt}main{max-width:none;padding:0}.tiles li,.box,figure,tr{break-inside:avoid}
h2,h3{break-after:avoid}.wide{display:block}.narrow{display:none}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
details::details-content{content-visibility:visible;block-size:auto}}`;
