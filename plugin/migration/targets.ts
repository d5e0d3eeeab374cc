/** What `migrate` is to move, as it is typed. Pure. */
import { usage } from '../options.ts';

export type TargetKind = 'Pod' | 'StatefulSet' | 'Deployment';

export interface Target {
  kind: TargetKind;
  name: string;
}

/** kubectl's names of the kinds. */
const KINDS: Record<string, TargetKind> = {
  ...{ pod: 'Pod', pods: 'Pod', po: 'Pod' },
  ...{ sts: 'StatefulSet', statefulset: 'StatefulSet', statefulsets: 'StatefulSet' },
  ...{ deploy: 'Deployment', deployment: 'Deployment', deployments: 'Deployment' },
};
const FORMS = 'write NAME, pod/NAME, sts/NAME or deploy/NAME';

/** `statefulsets.apps` is one too. */
const kindOf = (word: string): TargetKind | undefined => {
  const kind = word.replace(/\.apps$/, '');
  return Object.hasOwn(KINDS, kind) ? KINDS[kind] : undefined;
};

const targetOf = (word: string): Target => {
  const [kind, name, ...more] = word.includes('/') ? word.split('/') : ['pod', word];
  if (!name || more.length > 0) throw usage(`"${word}" names nothing that can be moved; ${FORMS}`);
  const known = kindOf(kind!);
  if (known === undefined) throw usage(`"${word}": a ${kind} cannot be moved; ${FORMS}`);
  return { kind: known, name };
};

/** As kubectl takes them: `KIND/NAME …`, or `KIND NAME …`; a NAME alone is a pod's. Throws SHADOW_E_USAGE. */
export const targetsOf = (words: readonly string[]): Target[] => {
  const [first, ...names] = words;
  const kind = first === undefined || first.includes('/') || names.length === 0 ? undefined : kindOf(first);
  const plain = kind !== undefined && names.every((name) => !name.includes('/'));
  const targets = plain ? names.map((name): Target => ({ kind, name })) : words.map(targetOf);
  return targets.filter(
    (one, at) => targets.findIndex((each) => each.kind === one.kind && each.name === one.name) === at,
  );
};

export interface Wanted {
  targets: readonly Target[];
  /** Label selector, as kubectl takes it. */
  selector?: string | undefined;
  /** Only pods that run on this node. */
  fromNode?: string | undefined;
  to?: string | undefined;
}

interface Typed {
  targets?: readonly string[] | undefined;
  selector?: string | undefined;
  fromNode?: string | undefined;
  to?: string | undefined;
}

/** Throws SHADOW_E_USAGE. */
export const wantedOf = ({ targets = [], selector, fromNode, to }: Typed): Wanted => {
  if (selector !== undefined && selector.trim() === '') throw usage('the selector (-l) is empty');
  if (selector !== undefined && targets.length > 0) throw usage('name pods, or select them (-l), not both');
  if (targets.length === 0 && selector === undefined && fromNode === undefined) {
    throw usage(`nothing to move is named; ${FORMS}, or select pods with -l or --from-node`);
  }
  if (fromNode !== undefined && fromNode === to) throw usage('--from-node and --to are the same node');
  return { targets: targetsOf(targets), selector, fromNode, to };
};
