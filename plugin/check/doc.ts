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
| \`--to NODE\`, \`--strategy\`, \`--driver\` | of a pod: what \`migrate\` would be asked for |
| \`--no-color\` | as \`NO_COLOR=1\`; where standard output is no terminal there are neither colours nor symbols |

A check passes, warns, fails, or is skipped: because one that it needs failed (it names which), or because you may not see what it is about.
Exit codes: 0 nothing failed, 1 a check failed, 2 wrong usage, 124 something still failed when \`--timeout\` was over, 130 broken off.

Nothing is changed. Creates are dry runs of the API server. A pod is looked at by a StatefulMigration with \`spec.dryRun: true\`, of which the controller writes what it found into \`status.assessment\` (phase \`Checked\`); the plugin deletes it, also after Ctrl-C, and should it be killed the object goes with its pod.
It has no finalizer, and no step of a migration ever begins for it. You can make one yourself: condition \`Preflight\` says whether the pod can be migrated, \`status.fitNodes\` where to, and \`kubectl shadow status NAME\` prints all that was found, as \`check pod/NAME\` does.

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
