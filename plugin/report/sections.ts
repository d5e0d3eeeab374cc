/** The tables of a report: a handoff's steps, its proof, sizes and pauses, and the numbers of the curves. Pure. */
import { bytes, seconds } from '../format.ts';
import { type Markup, m, type Part } from './markup.ts';
import type { Curves, HandoffReport, Proof, Report } from './schema.ts';
import { figure } from './values.ts';

const row = (name: string, value: Part, says: string): Markup =>
  m`<tr><th scope="row">${name}</th><td class="n">${value}</td><td class="soft says">${says}</td></tr>`;

const table = (caption: string, rows: Part): Markup =>
  m`<table class="k"><caption>${caption}</caption><tbody>${rows}</tbody></table>`;

const stepTable = ({ steps }: HandoffReport, at: string): Markup => {
  const rows = steps.map(
    ({ step, says, from, ms, to }, index) =>
      m`<tr><th scope="row"><span class="swatch b-${step}"></span>${step}</th><td class="n">${figure(`${at}.steps.${index}.from`, from, seconds)}</td><td class="n">${figure(`${at}.steps.${index}.ms`, ms, seconds)}</td><td class="soft says">${says}${to === null ? ' (it is in it)' : ''}</td></tr>`,
  );
  return m`<table class="k"><caption>Steps</caption>
<thead><tr><th scope="col">Step</th><th scope="col" class="n">From</th><th scope="col" class="n">Took</th><th scope="col" class="says">What it is</th></tr></thead>
<tbody>${rows}</tbody></table>`;
};

const percent = (share: number): string => `${Math.round(share * 100)} %`;

const proofTable = (proof: Proof, carried: number | null, at: string): Markup => {
  const of = (name: Exclude<keyof Proof, 'divergence' | 'link'>, shown?: (value: number) => string) =>
    figure(`${at}.proof.${name}`, proof[name], shown);
  const way = proof.link === 'direct' ? 'straight from pod to pod' : 'through the controller';
  return table('Proof: the copy did what its source did', [
    row('Recorded', of('recorded'), `entries of the source's record, which went ${way}`),
    row('Played', of('played'), 'of them, by the copy'),
    row('Matched', of('matched'), 'outputs (publishes, settlements, requests) that both made the same'),
    row('Swallowed', of('swallowed'), "the copy's side of those: they went nowhere"),
    row('Waiting', of('waiting'), 'outputs of the copy that its source had not made yet; they go out after the commit'),
    row('Lag', of('lag'), 'outputs and deliveries the copy owed when last seen'),
    row('Throttle', of('throttle', percent), "of the copy's pace at which its source was served when last seen"),
    row('Diverged', of('diverged'), proof.divergence ?? 'outputs that one made and the other did not'),
    row('Carried', figure(`${at}.carried`, carried), 'unsettled deliveries, settled through the source'),
  ]);
};

const STOP_SAYS = {
  checkpoint: 'the app stood still to be dumped',
  handover: 'from the mute of the source until the copy served',
} as const;

const sizeTable = (handoff: HandoffReport, at: string): Markup => {
  const { stops, pausedMs, checkpointBytes, carried, proof, attempt, result } = handoff;
  return table('Sizes and pauses', [
    row('Checkpoint', figure(`${at}.checkpointBytes`, checkpointBytes, bytes), 'of all containers'),
    row('Paused', figure(`${at}.pausedMs`, pausedMs, seconds), 'of the app by the checkpoint, as the agents saw it'),
    ...stops.map(({ what, ms, to }, index) => {
      const undone = what === 'handover' && result === 'undone';
      const says = undone ? 'from the mute of the source until it had been let go' : STOP_SAYS[what];
      const still = to === null ? ', and it lasts' : '';
      return row('Not served', figure(`${at}.stops.${index}.ms`, ms, seconds), `${says}${still}`);
    }),
    ...(proof === null
      ? [row('Carried', figure(`${at}.carried`, carried), 'unsettled deliveries, settled through the source')]
      : []),
    row(
      'Attempts',
      figure(`${at}.attempt`, attempt),
      attempt > 1 ? 'the last of them is shown; steps and curves of those before it are not kept' : 'at this handoff',
    ),
  ]);
};

const MARK = { committed: 'done', undone: 'failed', 'under way': 'running' } as const;

/** `position`: in `handoffs`. */
export const handoffTables = (handoff: HandoffReport, position: number): Markup => {
  const { source, copy, decision, mode, proof, carried, result, ms } = handoff;
  const at = `handoffs.${position}`;
  const way = mode === 'replay' ? 'beside the serving source' : 'while the source stands still';
  const why = decision?.code ? m`<p><code>${decision.code}</code> ${decision.message ?? ''}</p>` : undefined;
  const decided =
    decision === null
      ? undefined
      : m`; decided at ${figure(`${at}.decision.at`, decision.at, seconds)} by one write (${decision.verdict})`;
  return m`<section><h2>${source.pod} → ${copy.pod} <span class="mark ${MARK[result]}">${result}</span></h2>
<p>From <b>${source.node}</b> to <b>${copy.node}</b>, ${way}, in ${figure(`${at}.ms`, ms, seconds)}${decided}.</p>${why}
<div class="cols"><div>${stepTable(handoff, at)}</div><div>${proof === null ? undefined : proofTable(proof, carried, at)}${sizeTable(handoff, at)}</div></div></section>`;
};

// ---- curves

const COLUMNS = [
  ['sourceRate', 'Source /s'],
  ['copyRate', 'Copy /s'],
  ['lag', 'Lag'],
  ['throttle', 'Throttle'],
  ['sourceGap', 'Gap, source'],
  ['copyGap', 'Gap, copy'],
] as const satisfies readonly (readonly [keyof Curves, string])[];

const curveTable = ({ source, copy, curves }: HandoffReport, position: number): Markup | undefined => {
  if (curves === null) return undefined;
  const rows = curves.at.map((at, look) => {
    const cells = COLUMNS.map(
      ([name]) =>
        m`<td class="n">${figure(`handoffs.${position}.curves.${name}.${look}`, curves[name][look] ?? null)}</td>`,
    );
    return m`<tr><td class="n">${figure(`handoffs.${position}.curves.at.${look}`, at, (ms) => (ms / 1000).toFixed(2))}</td>${cells}</tr>`;
  });
  return m`<div class="scroll"><table><caption>${source.pod} → ${copy.pod}: seconds since the start; deliveries a second; gaps in milliseconds</caption>
<thead><tr><th scope="col" class="n">At</th>${COLUMNS.map(([, title]) => m`<th scope="col" class="n">${title}</th>`)}</tr></thead>
<tbody>${rows}</tbody></table></div>`;
};

/** The same numbers as the plots, for who does not see them. */
export const curveTables = ({ handoffs }: Report): Markup | undefined => {
  const tables = handoffs.map(curveTable).filter((each) => each !== undefined);
  return tables.length === 0
    ? undefined
    : m`<section><h2>Numbers of the curves</h2><details><summary>Show what was seen, look by look</summary>${tables}</details></section>`;
};
