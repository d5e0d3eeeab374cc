/** docs/check.md from the catalogue: `node plugin/check/doc.ts` writes it; a test fails when it is stale. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ALL_CHECKS } from './catalogue.ts';
import { type Check, GROUPS, type Group } from './types.ts';

const HEAD = `<!-- Written by plugin/check/doc.ts from plugin/check/catalogue.ts. Change those, then run: node plugin/check/doc.ts -->
# kubectl shadow check

\`kubectl shadow check\` says whether a cluster is fit, \`kubectl shadow check pod/NAME\` whether a pod can be migrated: to which nodes, by which strategy, and what would be lost.

| flag | |
|--|--|
| \`-o table\\|short\\|json\` | all checks, those that did not pass, or all for programs: \`{ok, checks: [{id, group, outcome, message, hint, doc}]}\` |
| \`--wait\`, \`--timeout 5m\` | looks again until no check fails |
| \`--to NODE\`, \`--strategy\`, \`--driver\`, \`--transfer\`, \`--repository\` | of a pod: what \`migrate\` would be asked for |
| \`--rehearse\`, \`--for 10s\` | of a pod: [a rehearsal](#rehearsal) |
| \`--no-color\` | as \`NO_COLOR=1\`; where standard output is no terminal there are neither colours nor symbols |

A check passes, warns, fails, or is skipped: because one that it needs failed (it names which), or because you may not see what it is about.
Exit codes: 0 nothing failed, 1 a check failed, 2 wrong usage, 124 something still failed, or a rehearsal had not ended, when \`--timeout\` was over, 130 broken off.

Without \`--rehearse\` nothing is changed. Creates are dry runs of the API server. A pod is looked at by a StatefulMigration with \`spec.dryRun: true\`, of which the controller writes what it found into \`status.assessment\` (phase \`Checked\`); the plugin deletes it, also after Ctrl-C, and should it be killed the object goes with its pod.
It has no finalizer, and no step of a migration ever begins for it. You can make one yourself: condition \`Preflight\` says whether the pod can be migrated, \`status.fitNodes\` where to, and \`kubectl shadow status NAME\` prints all that was found, as \`check pod/NAME\` does.

## Rehearsal
\`kubectl shadow check pod/NAME --rehearse\` asks the app itself: is it safe to replay, how long would a migration take, how long would the app stand still? First come the checks of the pod; if none fails, a migration begins as ever: a copy is made on the target node, from a checkpoint of
the running pod, and is fed the record of what its source is fed. What the two do is compared. It ends when the copy has stayed near its source for three seconds and something was compared, else after \`--for\` (1s to 60s; 10s).

- **It is never committed**, whatever happens: the copy is fenced off and has no voice, and goes by the way every abort takes. The source is checkpointed while it runs, so its app stands still once, for the time that is reported; it stays ready, in its Services, on its connections. While a copy catches up its source may be
  throttled, as in a migration; by how much is reported.
- **Anything that breaks it off** (Ctrl-C, \`--timeout\`, \`kubectl shadow abort\`, a deleted object, a lost agent, node or controller) puts all back. If the plugin is killed, the controller ends the rehearsal by itself; its object then stays, and goes with the pod.
- **Where Auto would take StopAndCopy** (connections to other than the broker) the copy is rehearsed beside its source all the same, fenced off: what it calls there gets no answer, so it may do nothing more, or something else. That is then told as a warning, since StopAndCopy replays nothing; the time is measured, the pause an estimate.
- **Where the fence would not hold it** (the app may write to a volume that others see) it is refused by [SHADOW_E_REHEARSAL](errors.md#shadow_e_rehearsal).
- **An app annotated \`effects: idempotent\`** is not fenced off, as in a migration: what its copy calls, it calls for the second time.

\`-o json\` has the numbers in \`rehearsal\`: \`verdict\` (\`Safe\`, \`Idle\`: nothing to compare, \`Behind\`, \`Diverged\`, \`Failed\`), milliseconds of each step, \`frozenMs\`, \`caughtUpMs\`, counts, rates, sizes, and \`estimate\` with the parts it is made of and which of them were not measured.
It is a StatefulMigration with \`spec.rehearse: true\` (and \`rehearseSeconds\`), phase \`Rehearsing\`, then \`Rehearsed\`, whatever it found; you can make one yourself, \`status.rehearsal\` has the numbers. The API server refuses a commit of one, and a change of \`rehearse\`.

## Rights
\`check pod/NAME\` needs no more than \`migrate\` does (ClusterRole \`shadow-migrate\`, part of \`edit\`), and shows what of the cluster the pod depends on. To see the whole cluster without being its administrator:

\`\`\`sh
kubectl create clusterrolebinding shadow-check --clusterrole=shadow-check --user=NAME
kubectl create rolebinding shadow-check --role=shadow-check --user=NAME -n shadow-system
\`\`\`

They allow no writes and no Secrets; [serving-certificates](#serving-certificates) is skipped with them.
`;

const section = ({ id, title, needs, hint, more }: Check): string =>
  [
    `### ${id}`,
    `Passes when ${title}.`,
    ...(needs.length > 0 ? [`- Needs: ${needs.map((need) => `[${need}](#${need})`).join(', ')}`] : []),
    `- What to do: ${hint}.`,
    ...(more ? ['', more] : []),
  ].join('\n');

const TITLE: Record<Group, string> = {
  api: 'Group api',
  access: 'Group access',
  installation: 'Group installation',
  certificates: 'Group certificates',
  nodes: 'Group nodes',
  pod: 'Group pod',
  rehearsal: 'Group rehearsal',
};

export const checkDoc = (): string =>
  [
    HEAD,
    ...GROUPS.flatMap((group) => [
      `## ${TITLE[group]}`,
      ...ALL_CHECKS.filter((check) => check.group === group).map((check) => `${section(check)}\n`),
    ]),
  ]
    .join('\n')
    .trimEnd()
    .concat('\n');

export const CHECK_DOC = join(import.meta.dirname, '..', '..', 'docs', 'check.md');

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(CHECK_DOC, checkDoc());
