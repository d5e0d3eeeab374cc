/**
 * A repository of a registry as we may use it: the OCI distribution specification's calls, with credentials as the registry asks
 * for them (RFC 7617 Basic, or the token authentication of the CNCF distribution project).
 */
import type { Image } from '../../api/agent.ts';
import { ShadowError } from '../../api/errors.ts';
import { type Answer, type Ask, bytesOf, Line, refuseDowngrade } from './exchange.ts';
import type { Road } from './trust.ts';

export type Action = 'pull' | 'push' | 'delete';

interface Challenge {
  scheme: string;
  parameters: Record<string, string>;
}

/** `Bearer realm="https://…",service="…"`. Pure. */
export const challengeOf = (header: string): Challenge => {
  const [, scheme = '', rest = ''] = /^\s*([A-Za-z]+)\s*(.*)$/s.exec(header) ?? [];
  const parameters: Record<string, string> = {};
  for (const [, name = '', quoted, plain] of rest.matchAll(/([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))/g))
    parameters[name.toLowerCase()] = quoted?.replaceAll(/\\(.)/g, '$1') ?? plain ?? '';
  return { scheme: scheme.toLowerCase(), parameters };
};

/** What the registry itself says is wrong: {errors: [{code, message}]}. */
const complaintOf = (body: string): string => {
  try {
    const { errors } = JSON.parse(body) as { errors?: { code?: string; message?: string }[] };
    return (errors ?? []).map(({ code, message }) => [code, message].filter(Boolean).join(' ')).join('; ');
  } catch {
    return '';
  }
};

const COMPLAINT_LIMIT = 300;
/** Beside its own faults: a piece that is not where the upload stands (416), too many requests (429). */
const MAY_PASS: readonly number[] = [416, 429];

export class Session {
  readonly image: Image;
  private readonly line: Line;
  private readonly base: URL;
  /** Tokens by scope; of a registry that asks for Basic the same for all. */
  private readonly proofs = new Map<string, string>();

  constructor(image: Image, { scheme, ca }: Road) {
    this.image = image;
    this.line = new Line(ca);
    this.base = new URL(`${scheme}://${image.host}/v2/${image.name}/`);
  }

  close(): void {
    this.line.close();
  }

  /** Of this repository: `manifests/…`, `blobs/…`. */
  url(path: string): URL {
    return new URL(path, this.base);
  }

  /** Where the registry says to go on. */
  placeOf(answer: Answer): URL {
    const { location } = answer.headers;
    if (location === undefined)
      throw new ShadowError('SHADOW_E_REGISTRY', `${answer.url.host}: an answer without Location`);
    const url = new URL(location, answer.url);
    refuseDowngrade(this.base, url);
    return url;
  }

  /** An answer with one of the statuses that are expected; its body is to be read, or drained, by whoever asked. */
  async ask(actions: readonly Action[], expected: readonly number[], ask: Ask): Promise<Answer> {
    const scope = `repository:${this.image.name}:${actions.join(',')}`;
    let answer = await this.line.ask(this.proven(ask, scope));
    if (answer.status === 401 && ask.url.host === this.base.host) {
      answer.body.resume();
      this.proofs.set(scope, await this.prove(answer, scope));
      answer = await this.line.ask(this.proven(ask, scope));
    }
    if (expected.includes(answer.status)) return answer;
    throw await this.failure(ask, answer);
  }

  private proven(ask: Ask, scope: string): Ask {
    const authorization = this.proofs.get(scope);
    // An upload may go on elsewhere: who we are is told to the registry alone.
    if (authorization === undefined || ask.url.host !== this.base.host) return ask;
    return { ...ask, headers: { ...ask.headers, authorization } };
  }

  private get basic(): string | undefined {
    const { username, password } = this.image;
    if (username === undefined || password === undefined) return undefined;
    return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
  }

  private async prove(answer: Answer, scope: string): Promise<string> {
    const { scheme, parameters } = challengeOf(answer.headers['www-authenticate'] ?? '');
    if (scheme === 'bearer') return `Bearer ${await this.token(parameters, scope)}`;
    if (scheme === 'basic' && this.basic !== undefined) return this.basic;
    throw new ShadowError(
      'SHADOW_E_REGISTRY_ACCESS',
      scheme === 'basic'
        ? `${this.base.host} wants credentials, and there are none`
        : `${this.base.host} wants "${scheme}"`,
    );
  }

  private async token({ realm = '', service }: Record<string, string>, scope: string): Promise<string> {
    let url: URL;
    try {
      url = new URL(realm);
    } catch {
      throw new ShadowError('SHADOW_E_REGISTRY', `${this.base.host} names "${realm}" to get tokens from`);
    }
    refuseDowngrade(this.base, url);
    if (service !== undefined) url.searchParams.set('service', service);
    url.searchParams.set('scope', scope);
    const { basic } = this;
    const ask: Ask = { method: 'GET', url, ...(basic === undefined ? {} : { headers: { authorization: basic } }) };
    const answer = await this.line.ask(ask);
    if (answer.status !== 200) throw await this.failure(ask, answer);
    try {
      const { token, access_token } = JSON.parse((await bytesOf(answer)).toString()) as Record<string, unknown>;
      const given = token ?? access_token;
      if (typeof given === 'string' && given !== '') return given;
    } catch (error) {
      if (error instanceof ShadowError) throw error;
    }
    throw new ShadowError('SHADOW_E_REGISTRY', `${url.host} gave no token`);
  }

  private async failure({ method, url }: Ask, answer: Answer): Promise<ShadowError> {
    const said = complaintOf((await bytesOf(answer)).toString()).slice(0, COMPLAINT_LIMIT);
    const { status } = answer;
    const detail = `${url.host}: ${method} of ${this.image.name} answered ${status}${said === '' ? '' : ` (${said})`}`;
    if (status === 401 || status === 403) return new ShadowError('SHADOW_E_REGISTRY_ACCESS', detail);
    return new ShadowError('SHADOW_E_REGISTRY', detail, { retryable: status >= 500 || MAY_PASS.includes(status) });
  }
}

/** Read to its end and thrown away, so that its connection is of use again. */
export const drain = async (answer: Answer): Promise<void> => {
  await bytesOf(answer);
};
