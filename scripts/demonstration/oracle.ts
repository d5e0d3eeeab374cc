/**
 * The proof: from what the broker confirmed, what each replica says it applied, and the outputs seen, what went wrong.
 * Pure, and shares nothing with the sidecar.
 */
import { createHash } from 'node:crypto';

/** What a replica tells at /state. */
export interface ReplicaState {
  consumer: string;
  instance: string;
  count: number;
  hash: string;
  list: number[];
}

export interface SeenOutput {
  consumer: string;
  seq: number;
  index: number;
  /** Milliseconds, any origin, when the verifier got it. */
  at: number;
}

export interface Evidence {
  /** Bodies of every message sent, by sequence number. */
  sent: ReadonlyMap<number, Uint8Array>;
  /** Sequence numbers the broker confirmed: those nobody may lose. */
  confirmed: ReadonlySet<number>;
  replicas: readonly ReplicaState[];
  outputs: readonly SeenOutput[];
}

export interface Verdict {
  confirmed: number;
  /** Distinct messages applied by anyone. */
  applied: number;
  /** Confirmed, applied by nobody. */
  lost: number;
  /** Applications beyond the first, of any message, by anyone. */
  duplicated: number;
  /** Messages a replica applied after one that was sent later. */
  reordered: number;
  /** Confirmed, without an output. */
  outputsLost: number;
  /** Outputs beyond the first, of any message. */
  outputsDuplicated: number;
  /** Every replica's count and hash follow from its list and the bodies sent, and every output from its replica's list. */
  stateMatches: boolean;
}

/** The hash a replica must have after `list`; null when it names a message never sent. */
export const expectedHash = (list: readonly number[], sent: ReadonlyMap<number, Uint8Array>): string | null => {
  let hash: Buffer = Buffer.alloc(32);
  for (const seq of list) {
    const body = sent.get(seq);
    if (!body) return null;
    hash = createHash('sha256').update(hash).update(body).digest();
  }
  return hash.toString('hex');
};

/** Each message once, where it was applied first; then those that come after a later one. */
const reorderedIn = (list: readonly number[]): number => {
  let highest = Number.NEGATIVE_INFINITY;
  let count = 0;
  for (const seq of new Set(list)) {
    if (seq < highest) count += 1;
    else highest = seq;
  }
  return count;
};

const replicaMatches = (replica: ReplicaState, sent: Evidence['sent']): boolean =>
  replica.count === replica.list.length && replica.hash === expectedHash(replica.list, sent);

const outputsMatch = (evidence: Evidence): boolean => {
  const lists = new Map(evidence.replicas.map((replica) => [replica.consumer, replica.list]));
  return evidence.outputs.every(({ consumer, seq, index }) => lists.get(consumer)?.[index - 1] === seq);
};

const missing = (wanted: ReadonlySet<number>, got: ReadonlySet<number>): number =>
  [...wanted].filter((seq) => !got.has(seq)).length;

export const judge = (evidence: Evidence): Verdict => {
  const applications = evidence.replicas.flatMap((replica) => replica.list);
  const applied = new Set(applications);
  const answered = new Set(evidence.outputs.map((output) => output.seq));
  return {
    confirmed: evidence.confirmed.size,
    applied: applied.size,
    lost: missing(evidence.confirmed, applied),
    duplicated: applications.length - applied.size,
    reordered: evidence.replicas.reduce((sum, replica) => sum + reorderedIn(replica.list), 0),
    outputsLost: missing(evidence.confirmed, answered),
    outputsDuplicated: evidence.outputs.length - answered.size,
    stateMatches:
      evidence.replicas.every((replica) => replicaMatches(replica, evidence.sent)) && outputsMatch(evidence),
  };
};

/** Nothing lost, nothing twice, in order, and every message applied that was confirmed. */
export const isExact = (verdict: Verdict): boolean =>
  verdict.confirmed > 0 &&
  verdict.lost + verdict.duplicated + verdict.reordered + verdict.outputsLost + verdict.outputsDuplicated === 0 &&
  verdict.stateMatches;

/**
 * Longest time between two consecutive first outputs of `consumer` that touches [from, to], in milliseconds. An output that
 * never came counts until `to`: the producer must have been running until then.
 */
export const longestGapMs = (outputs: readonly SeenOutput[], consumer: string, from: number, to: number): number => {
  const firsts = new Map<number, number>();
  for (const output of outputs) {
    if (output.consumer !== consumer) continue;
    firsts.set(output.seq, Math.min(output.at, firsts.get(output.seq) ?? output.at));
  }
  const times = [...firsts.values()].sort((a, b) => a - b);
  let longest = 0;
  let previous = from;
  for (const at of [...times, Math.max(to, times.at(-1) ?? to)]) {
    if (at >= from && previous <= to) longest = Math.max(longest, at - previous);
    previous = at;
  }
  return longest;
};
