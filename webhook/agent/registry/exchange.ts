/** One question to a registry and its answer, over connections that are kept. */
import { Agent as HttpAgent, request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { ShadowError } from '../../api/errors.ts';

export interface Ask {
  method: 'GET' | 'HEAD' | 'POST' | 'PATCH' | 'PUT' | 'DELETE';
  url: URL;
  headers?: Readonly<Record<string, string>>;
  /** Whole and in memory, so that it can be sent again. */
  body?: Buffer;
}

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: IncomingMessage;
  /** Where it was asked in the end. */
  url: URL;
}

/** A registry that says nothing for so long is given up. */
const SILENT_MS = 20_000;
const REDIRECTS = 5;
const REDIRECT: readonly number[] = [301, 302, 303, 307, 308];

export const unreachable = (host: string, cause: unknown): ShadowError => {
  const { message, code } = cause as NodeJS.ErrnoException;
  return new ShadowError('SHADOW_E_REGISTRY', `${host}: ${message || code || String(cause)}`, {
    cause,
    retryable: true,
  });
};

export class Line {
  private readonly http = new HttpAgent({ keepAlive: true });
  private readonly https: HttpsAgent;

  constructor(ca: readonly string[]) {
    this.https = new HttpsAgent({ keepAlive: true, ca: [...ca] });
  }

  close(): void {
    this.http.destroy();
    this.https.destroy();
  }

  private once({ method, url, headers, body }: Ask): Promise<Answer> {
    const secure = url.protocol === 'https:';
    return new Promise((resolve, reject) => {
      const call = (secure ? httpsRequest : httpRequest)(
        url,
        {
          method,
          agent: secure ? this.https : this.http,
          timeout: SILENT_MS,
          headers: {
            'user-agent': 'kubectl-shadow',
            ...(method === 'GET' || method === 'HEAD' ? {} : { 'content-length': body?.length ?? 0 }),
            ...headers,
          },
        },
        (answer) => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: answer, url }),
      );
      call.on('timeout', () => call.destroy(new Error(`silent for ${SILENT_MS / 1000} s`)));
      call.on('error', (error) => reject(unreachable(url.host, error)));
      call.end(body);
    });
  }

  /**
   * Redirects are followed, with the same body; what proves who we are goes to no other host. Rejects with SHADOW_E_REGISTRY,
   * retryable, when nobody answers.
   */
  async ask(ask: Ask): Promise<Answer> {
    let next = ask;
    for (let count = 0; count <= REDIRECTS; count++) {
      const answer = await this.once(next);
      const { location } = answer.headers;
      if (!REDIRECT.includes(answer.status) || location === undefined) return answer;
      answer.body.resume();
      next = redirected(next, new URL(location, next.url));
    }
    throw new ShadowError('SHADOW_E_REGISTRY', `${ask.url.host}: more than ${REDIRECTS} redirects`);
  }
}

/** Never from TLS to the open: what is asked for is memory. */
export const refuseDowngrade = (from: URL, to: URL): void => {
  if (from.protocol === 'https:' && to.protocol !== 'https:')
    throw new ShadowError('SHADOW_E_REGISTRY', `${from.host} leads from https to ${to.protocol}//${to.host}`);
};

const redirected = (ask: Ask, url: URL): Ask => {
  refuseDowngrade(ask.url, url);
  if (url.host === ask.url.host) return { ...ask, url };
  const { authorization: _secret, ...headers } = ask.headers ?? {};
  return { ...ask, url, headers };
};

/** Answers other than layers are small; a longer one is not what it should be. */
const TEXT_LIMIT = 4 << 20;

export const bytesOf = async ({ body, url }: Answer): Promise<Buffer> => {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > TEXT_LIMIT) break;
      chunks.push(chunk);
    }
  } catch (error) {
    throw unreachable(url.host, error);
  }
  if (size > TEXT_LIMIT)
    throw new ShadowError('SHADOW_E_REGISTRY', `${url.host}: an answer of more than ${TEXT_LIMIT} bytes`);
  return Buffer.concat(chunks, size);
};
