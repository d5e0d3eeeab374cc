/** One sidecar's connection as the hub sees it: its commands under way, and the settlements it sent. */
import type { WebSocket } from 'ws';
import * as z from 'zod';
import {
  type Answer,
  type Command,
  type CommandType,
  type FromController,
  MuteResult,
  type PlayReport,
  type RecordReport,
  RetireResult,
  ServeResult,
  SessionReport,
  type Settle,
  SettleStatus,
  type SidecarState,
} from '../../api/control.ts';
import { CATALOGUE, isErrorCode, ShadowError } from '../../api/errors.ts';
import type { PodIdentity } from './authenticate.ts';

const Nothing = z.object({});
const RESULTS = {
  inspect: SessionReport,
  mute: MuteResult,
  freeze: Nothing,
  unmute: Nothing,
  replay: Nothing,
  serve: ServeResult,
  attach: Nothing,
  live: Nothing,
  supersede: SettleStatus,
  settleStatus: SettleStatus,
  retire: RetireResult,
} as const satisfies Record<CommandType, z.ZodType>;

export type CommandResult<T extends CommandType> = z.infer<(typeof RESULTS)[T]>;

/** A command as the reconciler gives it. */
export type CommandOf<T extends CommandType> = Omit<Extract<Command, { type: T }>, 'id' | 'epoch'>;

/** What a command may take beyond its own timeoutMs: queueing behind another, the way there and back. */
const ANSWER_WITHIN_MS = 10_000;

interface Pending {
  resolve(result: unknown): void;
  reject(error: ShadowError): void;
  timer: NodeJS.Timeout;
}

export interface Session {
  readonly identity: PodIdentity;
  readonly process: string;
  readonly version: string | undefined;
  readonly protocol: number | undefined;
  state: SidecarState;
  claim: string | undefined;
  outstanding: number | undefined;
  lost: string | undefined;
  /** Of `lost`. */
  code: string | undefined;
  record: RecordReport | undefined;
  play: PlayReport | undefined;
  /** Batches of a copy that its source has not answered, by seq; they die with the connection, and the copy sends them again. */
  readonly unanswered: Map<number, Settle>;
  send(message: FromController): void;
  /** Bytes sent and not yet taken by the network. */
  buffered(): number;
  request<T extends CommandType>(command: CommandOf<T>, epoch: number): Promise<CommandResult<T>>;
  answered(answer: Answer): void;
  /** Fails what is under way. */
  end(why: string): void;
  /** With a reason the sidecar logs. */
  close(code: number, reason: string): void;
}

const unreachable = (why: string): ShadowError =>
  new ShadowError('SHADOW_E_SIDECAR_UNREACHABLE', why, { retryable: true });

/** The sidecar's error again, without the catalogue's text twice. */
const errorOf = ({ error }: Answer): ShadowError => {
  const code = error !== undefined && isErrorCode(error.code) ? error.code : 'SHADOW_E_INTERNAL';
  const prefix = `${CATALOGUE[code].message}: `;
  const message = error?.message ?? 'the sidecar gave no reason';
  const detail = message.startsWith(prefix) ? message.slice(prefix.length) : message;
  return new ShadowError(code, detail, { retryable: error?.retryable ?? false });
};

export const createSession = (
  ws: WebSocket,
  identity: PodIdentity,
  hello: {
    process: string;
    version?: string;
    protocol?: number | undefined;
    state: SidecarState;
    claim?: string | undefined;
    lost?: string | undefined;
  },
): Session => {
  const pending = new Map<number, Pending & { type: CommandType }>();
  let id = 0;

  const finish = (of: number): (Pending & { type: CommandType }) | undefined => {
    const found = pending.get(of);
    pending.delete(of);
    if (found !== undefined) clearTimeout(found.timer);
    return found;
  };

  const send = (message: FromController): void => {
    ws.send(JSON.stringify(message));
  };

  return {
    identity,
    process: hello.process,
    version: hello.version,
    protocol: hello.protocol,
    state: hello.state,
    claim: hello.claim,
    outstanding: undefined,
    lost: hello.lost,
    code: undefined,
    record: undefined,
    play: undefined,
    unanswered: new Map(),
    send,
    buffered: () => ws.bufferedAmount,
    request: <T extends CommandType>(command: CommandOf<T>, epoch: number) =>
      new Promise<CommandResult<T>>((resolve, reject) => {
        id += 1;
        const own = id;
        const allowed = ('timeoutMs' in command ? Number(command.timeoutMs) : 0) + ANSWER_WITHIN_MS;
        const timer = setTimeout(() => {
          finish(own)?.reject(unreachable(`no answer to ${command.type} within ${allowed} ms`));
        }, allowed);
        pending.set(own, { type: command.type, resolve: resolve as (result: unknown) => void, reject, timer });
        send({ ...command, id: own, epoch } as unknown as Command);
      }),
    answered: (answer) => {
      const asked = finish(answer.id);
      if (asked === undefined) return;
      if (!answer.ok) return asked.reject(errorOf(answer));
      const result = RESULTS[asked.type].safeParse(answer.result);
      if (result.success) asked.resolve(result.data);
      else
        asked.reject(new ShadowError('SHADOW_E_INTERNAL', `answer to ${asked.type}: ${z.prettifyError(result.error)}`));
    },
    end: (why) => {
      for (const of of [...pending.keys()]) finish(of)?.reject(unreachable(why));
    },
    close: (code, reason) => ws.close(code, reason),
  };
};
