/** The page of a migration: HTML without a script, and without anything from elsewhere. Pure. */
import { bytes, seconds } from '../format.ts';
import { NARROW, WIDE } from './frame.ts';
import { Markup, m, type Part } from './markup.ts';
import type { Report } from './schema.ts';
import { curveTables, handoffTables } from './sections.ts';
import { PAGE, PALETTE, PICTURE } from './style.ts';
import { isEmpty, timeline } from './timeline.ts';
import { figure } from './values.ts';

/** Nothing may be run or fetched, whatever a name or an error text holds. */
const POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

const STATE = { done: 'completed', running: 'running', failed: 'not moved' } as const;

/** By its phase: nothing of it moves. */
const REHEARSAL = /^Rehears/;

const titleOf = ({ migration: { pod, from, to, movedTo, phase }, result }: Report): string => {
  const route = `from ${from ?? 'an unknown node'} to ${to ?? 'a node not chosen'}`;
  const name = movedTo !== null && movedTo !== pod ? ` as ${movedTo}` : '';
  if (REHEARSAL.test(phase)) return `${pod} ${result.state === 'running' ? 'is' : 'was'} rehearsed ${route}`;
  if (result.state === 'done') return `${pod} moved ${route}${name}`;
  return result.state === 'running' ? `${pod} is moving ${route}` : `${pod} was to move ${route}`;
};

const stateOf = ({ result: { state }, migration: { phase } }: Report): string => {
  if (state === 'failed') return phase === 'Aborted' ? 'aborted' : 'failed';
  return state === 'done' && REHEARSAL.test(phase) ? 'rehearsed' : STATE[state];
};

const fact = (name: string, value: Part): Markup | undefined =>
  value === undefined || value === '' ? undefined : m`<dt>${name}</dt><dd>${value}</dd>`;

const moment = (text: string | null): Markup | undefined =>
  text === null ? undefined : m`<time datetime="${text}">${text.replace('T', ' ').replace(/\.\d+Z$/, ' UTC')}</time>`;

const head = (report: Report): Markup => {
  const { migration, result } = report;
  const why = migration.reason === null ? '' : `, since ${migration.reason}`;
  return m`<header>
<p class="eyebrow">kubectl shadow · report of a migration</p>
<h1>${titleOf(report)} <span class="mark ${result.state}">${stateOf(report)}</span></h1>
<dl class="facts">
${fact('Migration', m`<code>${migration.namespace}/${migration.name}</code>`)}
${fact('Pod of', migration.owner ?? undefined)}
${fact('Strategy', `${migration.strategy}${why}`)}
${fact('Started', moment(migration.started))}
${fact('Ended', moment(migration.ended) ?? `not yet: phase ${migration.phase}`)}
</dl>
</header>`;
};

const tile = (value: Part, text: string): Markup => m`<li><b>${value}</b><span>${text}</span></li>`;

/** Of something that did not take place there is no tile. */
const sums = ({ totals }: Report, each: string): Markup[] =>
  (
    [
      ['longestStopMs', 'longest time without service', seconds],
      ['matched', `outputs matched${each}`, String],
      ['diverged', `divergences${each}`, String],
      ['carried', `deliveries carried over${each}`, String],
      ['checkpointBytes', `checkpointed${each}`, bytes],
    ] as const
  ).flatMap(([name, text, shown]) =>
    totals[name] === null ? [] : [tile(figure(`totals.${name}`, totals[name], shown), text)],
  );

const tiles = (report: Report): Markup => {
  const { migration, handoffs, result } = report;
  const each = handoffs.length > 1 ? ', both handoffs' : '';
  const whole = result.state === 'running' ? 'so far' : 'the whole migration';
  return m`<ul class="tiles">${tile(figure('migration.ms', migration.ms, seconds), whole)}${sums(report, each)}</ul>`;
};

const trouble = ({ result: { error, putBack } }: Report): Markup | undefined => {
  if (error === null && putBack.length === 0) return undefined;
  const what =
    error === null
      ? m`<h2>An attempt was undone</h2>`
      : m`<h2>${error.message}</h2><p><code>${error.code}</code></p><p>What to do: ${error.hint}</p>`;
  const back =
    putBack.length === 0
      ? m`<p>Nothing was put back: it was committed, and the copy is the pod from then on.</p>`
      : m`<p>What was put back:</p><ul>${putBack.map((each) => m`<li>${each}</li>`)}</ul>`;
  return m`<section class="box">${what}${back}</section>`;
};

const STOPS = `Red bands are stretches in which nobody served. Their heights in the gap plot come from the times at which steps were
entered and from the agent that made the checkpoint; where within its step the checkpoint fell is not recorded, it is drawn at the end.
That is what the platform knows, not a gap that a client measured.`;
const CURVES = `The gap lines are coarser: for how long the source recorded nothing and the copy played nothing, as their sidecars told
every 0.2 s, so less than that reads as 0. Rates are means over about a second.`;
const NO_CURVES = 'There are no curves of rate and lag: the controller that ran it kept none.';

const picture = (report: Report): Markup => {
  if (isEmpty(report)) return m`<p class="soft">There is no timeline: no handoff was begun.</p>`;
  const known = report.handoffs.some(({ curves }) => curves !== null);
  const stops = report.totals.longestStopMs === null ? '' : STOPS;
  return m`<figure>${timeline(report, WIDE, false)}${timeline(report, NARROW, false)}
<figcaption>${stops} ${known ? CURVES : NO_CURVES}</figcaption></figure>`;
};

const NO_VERSIONS = 'Those of the nodes are not in the record: preflight refused it, or an older controller ran it.';

const versions = ({ versions: { plugin, controller, sidecar, nodes } }: Report): Markup => {
  const rows = nodes.map(
    ({ name, kernel, containerd, runc, criu }) =>
      m`<tr><th scope="row">${name}</th><td>${kernel}</td><td>${containerd}</td><td>${runc}</td><td>${criu}</td></tr>`,
  );
  const table = m`<div class="scroll"><table><caption>Of the nodes, as preflight found them; the source's first</caption>
<thead><tr><th scope="col">Node</th><th scope="col">Kernel</th><th scope="col">containerd</th><th scope="col">runc</th><th scope="col">CRIU</th></tr></thead>
<tbody>${rows}</tbody></table></div>`;
  return m`<section><h2>Versions</h2><dl class="facts">
${fact('Controller', controller ?? undefined)}${fact('Sidecar', sidecar ?? undefined)}${fact('This report', `kubectl shadow ${plugin}`)}
</dl>${nodes.length === 0 ? m`<p class="soft">${NO_VERSIONS}</p>` : table}</section>`;
};

const STYLE = new Markup([PALETTE, PAGE, PICTURE].join('\n'));

export const page = (report: Report): string =>
  m`${new Markup('<!doctype html>')}
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${titleOf(report)} (${stateOf(report)})</title>
<style>
${STYLE}
</style>
</head>
<body>
<main>
${head(report)}
${trouble(report)}
${tiles(report)}
<section><h2>Timeline</h2>
${picture(report)}</section>
${report.handoffs.map(handoffTables)}
${versions(report)}
${curveTables(report)}
<footer>Written by <code>kubectl shadow report</code> on ${moment(report.generated)} from the status of the StatefulMigration; <code>-o json</code> prints the same numbers.</footer>
</main>
</body>
</html>
`.text;
