/** A real Chromium without a window, told what to do by the DevTools protocol. Debian's package, installed when it is missing. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { WebSocket } from 'ws';
import { installPackages } from '../../scripts/playground/build/debian.ts';

export interface Tab {
  send<T>(method: string, params?: object): Promise<T>;
  /** The value of an expression in the page; a page that allows no script is no obstacle. Throws what it throws. */
  value<T>(expression: string): Promise<T>;
  /** Returns when it is loaded. */
  open(url: string): Promise<void>;
  /** Of `width` by 900, in that light, on that medium. */
  show(width: number, scheme: 'light' | 'dark', media?: 'screen' | 'print'): Promise<void>;
  /** PNG of the whole page. */
  picture(): Promise<Buffer>;
  /** What was fetched, and what was said on the console, since `open`. */
  readonly fetched: string[];
  readonly said: string[];
}

export interface Chromium {
  tab(): Promise<Tab>;
  close(): Promise<void>;
}

interface Reply {
  id?: number;
  sessionId?: string;
  method?: string;
  params?: Record<string, unknown>;
  result?: unknown;
  error?: { message: string };
}

/** Its address, from the line it begins with. */
const addressOf = async (browser: ChildProcess): Promise<string> => {
  const told: string[] = [];
  for await (const line of createInterface({ input: browser.stderr! })) {
    told.push(line);
    const address = /^DevTools listening on (ws:\S+)/.exec(line)?.[1];
    if (address !== undefined) return address;
  }
  throw new Error(`chromium ended: ${told.join('\n')}`);
};

const wire = (socket: WebSocket) => {
  const pending = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  const listeners = new Map<string, (message: Reply) => void>();
  let last = 0;
  socket.on('message', (data) => {
    const message = JSON.parse(String(data)) as Reply;
    const waiting = pending.get(message.id ?? 0);
    if (waiting === undefined) listeners.get(message.sessionId ?? '')?.(message);
    else {
      pending.delete(message.id!);
      if (message.error) waiting.reject(new Error(message.error.message));
      else waiting.resolve(message.result);
    }
  });
  const send = <T>(method: string, params: object = {}, sessionId?: string): Promise<T> =>
    new Promise<T>((resolve, reject) => {
      last += 1;
      pending.set(last, { resolve: resolve as (value: unknown) => void, reject });
      socket.send(JSON.stringify({ id: last, method, params, ...(sessionId === undefined ? {} : { sessionId }) }));
    });
  return {
    send,
    listen: (session: string, listener: (message: Reply) => void) => void listeners.set(session, listener),
  };
};

const tabOf = async ({ send: sendAll, listen }: ReturnType<typeof wire>): Promise<Tab> => {
  const { targetId } = await sendAll<{ targetId: string }>('Target.createTarget', { url: 'about:blank' });
  const { sessionId } = await sendAll<{ sessionId: string }>('Target.attachToTarget', { targetId, flatten: true });
  const send = <T>(method: string, params: object = {}) => sendAll<T>(method, params, sessionId);
  const [fetched, said]: [string[], string[]] = [[], []];
  let loaded = Promise.withResolvers<void>();
  listen(sessionId, ({ method, params = {} }) => {
    // biome-ignore lint/suspicious/noExplicitAny: of the protocol
    const any = params as any;
    if (method === 'Page.loadEventFired') loaded.resolve();
    if (method === 'Network.requestWillBeSent') fetched.push(any.request.url);
    if (method === 'Runtime.consoleAPICalled') said.push(JSON.stringify(any.args));
    if (method === 'Runtime.exceptionThrown') said.push(JSON.stringify(any.exceptionDetails));
    if (method === 'Log.entryAdded') said.push(any.entry.text);
  });
  for (const domain of ['Page', 'Network', 'Runtime', 'Log']) await send(`${domain}.enable`);
  return {
    ...{ send, fetched, said },
    value: async <T>(expression: string): Promise<T> => {
      const asked = { expression, returnByValue: true, awaitPromise: true };
      const { result, exceptionDetails } = await send<{ result: { value: T }; exceptionDetails?: object }>(
        'Runtime.evaluate',
        asked,
      );
      if (exceptionDetails) throw new Error(JSON.stringify(exceptionDetails));
      return result.value;
    },
    open: async (url) => {
      fetched.length = said.length = 0;
      loaded = Promise.withResolvers();
      await send('Page.navigate', { url });
      await loaded.promise;
    },
    show: async (width, scheme, media = 'screen') => {
      await send('Emulation.setDeviceMetricsOverride', { width, height: 900, deviceScaleFactor: 1, mobile: false });
      await send('Emulation.setEmulatedMedia', { media, features: [{ name: 'prefers-color-scheme', value: scheme }] });
    },
    picture: async () => {
      const { data } = await send<{ data: string }>('Page.captureScreenshot', { captureBeyondViewport: true });
      return Buffer.from(data, 'base64');
    },
  };
};

export const startChromium = async (say: (line: string) => void = () => undefined): Promise<Chromium> => {
  const logs = mkdtempSync(join(tmpdir(), 'shadow-chromium-'));
  mkdirSync(join(logs, 'profile'));
  await installPackages(['chromium'], join(logs, 'apt.log'), say);
  const flags = [
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-dev-shm-usage',
    '--no-first-run',
    '--hide-scrollbars',
  ];
  const browser = spawn(
    'chromium',
    [...flags, '--remote-debugging-port=0', `--user-data-dir=${join(logs, 'profile')}`, 'about:blank'],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const ended = once(browser, 'exit');
  const socket = new WebSocket(await addressOf(browser), { perMessageDeflate: false, maxPayload: 256 << 20 });
  await once(socket, 'open');
  const line = wire(socket);
  return {
    tab: () => tabOf(line),
    close: async () => {
      await line.send('Browser.close').catch(() => browser.kill());
      await ended;
      rmSync(logs, { recursive: true, force: true, maxRetries: 5 });
    },
  };
};
