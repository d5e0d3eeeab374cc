/** The agents of the nodes: https with mTLS, kept alive, certificates read again when they change. */
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { join } from 'node:path';
import type { V1Pod } from '@kubernetes/client-node';
import { AGENT_CALLS, type AgentCall, type AgentClient, type AgentRequest, type AgentResponse } from '../api/agent.ts';
import { asShadowError, CATALOGUE, isErrorCode, ShadowError } from '../api/errors.ts';
import { AGENT, PORT } from '../api/names.ts';
import { connectInTime } from '../connect.ts';
import type { Agents } from './context.ts';
import { isLeaving, isReady } from './pods.ts';

/** Longest wait for an answer, milliseconds: a little over the bound of the step that asks. */
const TIMEOUT_MS: Partial<Record<AgentCall, number>> = {
  prepare: 60_000,
  cut: 20_000,
  precopy: 20_000,
  send: 60_000,
  tryRegistry: 25_000,
  push: 120_000,
  pull: 120_000,
  unpush: 12_000,
  sendImage: 120_000,
  tryImageStore: 15_000,
  restore: 30_000,
  inspect: 15_000,
  examine: 25_000,
};
const DEFAULT_MS = 10_000;

const unreachable = (node: string, detail: string, cause?: unknown): ShadowError =>
  new ShadowError('SHADOW_E_AGENT_UNREACHABLE', `${node}: ${detail}`, { retryable: true, cause });

interface Failure {
  code?: string;
  message?: string;
  retryable?: boolean;
}

const failureOf = (node: string, status: number, text: string): ShadowError => {
  try {
    const { code, message, retryable } = JSON.parse(text) as Failure;
    if (code !== undefined && isErrorCode(code)) {
      const bare = (message ?? '').replace(CATALOGUE[code].message, '').replace(/^: /, '');
      return new ShadowError(code, `${node}: ${bare}`, { retryable: retryable ?? false });
    }
  } catch {
    // not ours: told below as it is
  }
  return new ShadowError('SHADOW_E_INTERNAL', `agent of ${node}: HTTP ${status} ${text.slice(0, 200)}`);
};

export interface Tls {
  cert: string;
  key: string;
  ca: string;
}

export const readTls = (directory: string): Tls => {
  const read = (name: string) => readFileSync(join(directory, name), 'utf8');
  return { cert: read('tls.crt'), key: read('tls.key'), ca: read('ca.crt') };
};

export interface AgentsOptions {
  tls: () => Tls;
  /** Pods of the DaemonSet. */
  pods: () => V1Pod[];
}

export const createAgents = ({ tls, pods }: AgentsOptions): Agents => {
  let used: Tls | undefined;
  let agent = new Agent();

  /** One pool of connections per set of certificates. */
  const pool = (): Agent => {
    const now = tls();
    if (used === undefined || now.cert !== used.cert || now.key !== used.key || now.ca !== used.ca) {
      agent = new Agent({ ...now, keepAlive: true, servername: AGENT });
      used = now;
    }
    return agent;
  };

  /** When a call got no answer, connections that are kept alive may lead to a dead node, too: each would cost its own wait. */
  const dropIdle = (from: Agent): void => {
    for (const socket of Object.values(from.freeSockets).flatMap((sockets) => sockets ?? [])) socket.destroy();
  };

  const addressOf = (node: string): string => {
    const found = pods().filter(({ spec }) => spec?.nodeName === node);
    const ready = found.find((pod) => isReady(pod) && !isLeaving(pod)) ?? found.find((pod) => !isLeaving(pod));
    const ip = ready?.status?.podIP;
    if (ip === undefined) throw unreachable(node, 'no agent runs there');
    return ip.includes(':') ? `[${ip}]` : ip;
  };

  const post = async (node: string, name: AgentCall, body: unknown): Promise<unknown> => {
    const url = `https://${addressOf(node)}:${PORT.agent}/v1/${name}`;
    const payload = Buffer.from(JSON.stringify(body));
    const connections = pool();
    return new Promise((resolve, reject) => {
      const call = request(
        url,
        {
          method: 'POST',
          agent: connections,
          signal: AbortSignal.timeout(TIMEOUT_MS[name] ?? DEFAULT_MS),
          headers: { 'content-type': 'application/json', 'content-length': payload.length },
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', (error) => reject(unreachable(node, error.message, error)));
          response.on('end', () => {
            const text = Buffer.concat(chunks).toString();
            const status = response.statusCode ?? 0;
            if (status < 200 || status > 299) return reject(failureOf(node, status, text));
            try {
              resolve(JSON.parse(text));
            } catch (error) {
              reject(asShadowError(error));
            }
          });
        },
      );
      connectInTime(call);
      call.on('error', (error) => {
        dropIdle(connections);
        reject(unreachable(node, `${name}: ${error.message}`, error));
      });
      call.end(payload);
    });
  };

  const call =
    <C extends AgentCall>(node: string, name: C) =>
    async (body: AgentRequest<C>): Promise<AgentResponse<C>> => {
      const answer = AGENT_CALLS[name].response.safeParse(await post(node, name, body));
      if (answer.success) return answer.data as AgentResponse<C>;
      throw new ShadowError('SHADOW_E_INTERNAL', `agent of ${node}, ${name}: ${answer.error.message}`);
    };

  const clientOf = (node: string): AgentClient =>
    Object.fromEntries(
      (Object.keys(AGENT_CALLS) as AgentCall[]).map((name) => [name, call(node, name)]),
    ) as AgentClient;
  const clients = new Map<string, AgentClient>();

  return {
    of: (node) => {
      const client = clients.get(node) ?? clientOf(node);
      clients.set(node, client);
      return client;
    },
    url: (node) => `https://${addressOf(node)}:${PORT.agent}`,
  };
};
