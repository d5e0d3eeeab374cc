/**
 * What the controller has heard of every node, for `kubectl shadow check`: JSON under REPORTS_KEY of ConfigMap NODE_REPORTS.
 * The leader alone writes it; agents have no right to write anything to the API server.
 */
import * as z from 'zod';
import { AGENT_CALLS } from './agent.ts';

export const REPORTS_KEY = 'nodes.json';

/** Looked at so often while no migration runs, and written when something has changed, or after REWRITE_MS. */
export const SURVEY_MS = 30_000;
export const REWRITE_MS = 300_000;
/** Older ones say nothing any more. */
export const STALE_MS = 3 * REWRITE_MS;

const Found = AGENT_CALLS.examine.response
  .omit({ node: true, cpuFlags: true, freeBytes: true, claims: true, now: true })
  .extend({
    /** Index into `cpus`: nodes of one kind have the same flags. */
    cpu: z.number().int(),
    /** How far the node's clock is ahead of the controller's, milliseconds; 0 if no difference can be told. */
    aheadMs: z.number(),
  });

const Entry = z.object({
  node: z.string(),
  /** Why its agent gave no report. */
  error: z.object({ code: z.string(), message: z.string() }).optional(),
  found: Found.optional(),
});
export type NodeEntry = z.infer<typeof Entry>;

export const NodeReports = z.object({
  /** When the nodes were asked, RFC 3339, by the controller's clock. */
  at: z.string(),
  /** Sorted CPU flags, each set once. */
  cpus: z.array(z.array(z.string())),
  nodes: z.array(Entry),
});
export type NodeReports = z.infer<typeof NodeReports>;

/** undefined: it is none, or of another release. */
export const parseReports = (text: string): NodeReports | undefined => {
  try {
    return NodeReports.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
};
