/** What a real registry can't be made to do, by a scripted one; and how repositories and credentials are read. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { LAYOUT, nodeOf } from '../../../webhook/agent/node.ts';
import { challengeOf, Session } from '../../../webhook/agent/registry/session.ts';
import { hostsOf, roadTo } from '../../../webhook/agent/registry/trust.ts';
import { piecesOf, upload } from '../../../webhook/agent/registry/upload.ts';
import type { Image } from '../../../webhook/api/agent.ts';
import { imageName, loginFor, parseRepository } from '../../../webhook/api/image.ts';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});
const serve = async (answer: RequestListener): Promise<string> => {
  const server = createServer(answer);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
};
const sessionAt = (host: string, more: Partial<Image> = {}): Session =>
  new Session({ host, name: 'a/b', tag: 'checkpoint', ...more }, { scheme: 'http', ca: [] });

/** An upload as the specification has it, that keeps what arrives of a piece which is cut: `cuts` pieces are, after `after` bytes. */
class Script {
  held = Buffer.alloc(0);
  readonly ranges: string[] = [];
  begun = 0;
  cuts: number;
  after: number;
  least = '';

  constructor(cuts: number, after: number) {
    this.cuts = cuts;
    this.after = after;
  }

  readonly answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const say = (status: number): void => {
      const range = `0-${Math.max(0, this.held.length - 1)}`;
      response.writeHead(status, { location: '/v2/a/b/blobs/uploads/1?sig=a%2Bb', range, ...this.extra() }).end();
    };
    if (request.method === 'POST') {
      this.begun++;
      this.held = Buffer.alloc(0);
      return say(202);
    }
    expect(request.url).toContain('?sig=a%2Bb');
    if (request.method === 'GET') return say(204);
    if (request.method === 'PUT') return say(request.url?.includes(this.digest()) ? 201 : 400);
    if (request.method !== 'PATCH') return say(204);
    this.ranges.push(`${request.headers['content-range']}`);
    if (this.cuts > 0) {
      this.cuts--;
      const part = await new Promise<Buffer>((resolve) => request.once('data', resolve));
      this.held = Buffer.concat([this.held, part.subarray(0, this.after)]);
      request.socket.destroy();
      return;
    }
    if (Number(request.headers['content-range']?.split('-')[0]) !== this.held.length) return say(416);
    this.held = Buffer.concat([this.held, await buffer(request)]);
    say(202);
  };

  private extra(): Record<string, string> {
    return this.least === '' ? {} : { 'oci-chunk-min-length': this.least };
  }

  private digest(): string {
    return encodeURIComponent(`sha256:${createHash('sha256').update(this.held).digest('hex')}`);
  }
}

async function* chunksOf(bytes: Buffer, size = 1 << 20): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

describe('an upload', () => {
  const bytes = randomBytes(20_000_000);

  test.each([0, 1000])('goes on behind what the registry has of a piece that was cut after %d bytes', async (after) => {
    const script = new Script(2, after);
    const session = sessionAt(await serve(script.answer));
    expect((await upload(session, () => chunksOf(bytes))).size).toBe(bytes.length);
    expect(script.held.equals(bytes)).toBe(true);
    expect(script.begun).toBe(1);
    const piece = 8 << 20;
    expect(script.ranges.slice(0, 3)).toEqual([0, after, 2 * after].map((from) => `${from}-${piece - 1}`));
    session.close();
  });

  test('goes by pieces as large as the registry wants, and no larger than is sane', async () => {
    const script = new Script(0, 0);
    script.least = `${12 << 20}`;
    const session = sessionAt(await serve(script.answer));
    await upload(session, () => chunksOf(bytes));
    expect(script.ranges).toEqual([`0-${(12 << 20) - 1}`, `${12 << 20}-${bytes.length - 1}`]);
    script.least = `${1 << 30}`;
    await expect(upload(session, () => chunksOf(bytes))).rejects.toMatchObject({ code: 'SHADOW_E_REGISTRY' });
    session.close();
  });

  test('is cut into pieces that make up the whole, however it comes', async () => {
    const sizes = fc.array(fc.nat(50), { maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(sizes, fc.integer({ min: 1, max: 60 }), async (lengths, size) => {
        const chunks = lengths.map((length) => randomBytes(length));
        const pieces: Buffer[] = [];
        for await (const piece of piecesOf(
          (async function* () {
            yield* chunks;
          })(),
          size,
        ))
          pieces.push(piece);
        expect(Buffer.concat(pieces).equals(Buffer.concat(chunks))).toBe(true);
        for (const piece of pieces.slice(0, -1)) expect(piece.length).toBe(size);
        for (const piece of pieces) expect(piece.length).toBeGreaterThan(0);
      }),
    );
  });
});

describe('credentials', () => {
  test('do not follow a redirect to another host', async () => {
    const seen: (string | undefined)[] = [];
    const store = await serve((request, response) => {
      seen.push(request.headers.authorization);
      response.end('layer');
    });
    const host = await serve((request, response) => {
      if (request.headers.authorization === undefined)
        response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
      else response.writeHead(307, { location: `http://${store}/layer` }).end();
    });
    const session = sessionAt(host, { username: 'u', password: 'p' });
    const answer = await session.ask(['pull'], [200], { method: 'GET', url: session.url('blobs/x') });
    expect((await buffer(answer.body)).toString()).toBe('layer');
    expect(seen).toEqual([undefined]);
    session.close();
  });

  test('nor go to where an upload is to go on', async () => {
    const seen: (string | undefined)[] = [];
    const store = await serve((request, response) => {
      seen.push(request.headers.authorization);
      request.resume().on('end', () => response.writeHead(request.method === 'PUT' ? 201 : 202).end());
    });
    const host = await serve((request, response) => {
      if (request.headers.authorization === undefined)
        response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
      else response.writeHead(202, { location: `http://${store}/upload` }).end();
    });
    const session = sessionAt(host, { username: 'u', password: 'p' });
    await upload(session, () => chunksOf(randomBytes(10)));
    expect(seen).toEqual([undefined, undefined]);
    session.close();
  });

  test('of a refusal are told by status and the word of the registry, and by no secret', async () => {
    const host = await serve((_request, response) => {
      response.writeHead(403).end('{"errors":[{"code":"DENIED","message":"not you"}]}');
    });
    const session = sessionAt(host, { username: 'u', password: 'hush' });
    const refused = session.ask(['pull'], [200], { method: 'GET', url: session.url('blobs/x') });
    await expect(refused).rejects.toMatchObject({ code: 'SHADOW_E_REGISTRY_ACCESS', retryable: false });
    await expect(refused).rejects.toThrow(/GET of a\/b answered 403 \(DENIED not you\)$/);
    session.close();
  });

  test.each([503, 429])('nothing is wrong with, when the registry is busy (%d)', async (status) => {
    const host = await serve((_request, response) => void response.writeHead(status).end('<html>'));
    const session = sessionAt(host);
    const asked = session.ask(['pull'], [200], { method: 'GET', url: session.url('blobs/x') });
    await expect(asked).rejects.toMatchObject({ code: 'SHADOW_E_REGISTRY', retryable: true });
    session.close();
  });

  test('challenges are read with their quotes', () => {
    expect(challengeOf('Bearer realm="https://auth.example/token",service="a, \\"b\\"",error=invalid_token')).toEqual({
      scheme: 'bearer',
      parameters: { realm: 'https://auth.example/token', service: 'a, "b"', error: 'invalid_token' },
    });
    expect(challengeOf('')).toEqual({ scheme: '', parameters: {} });
  });
});

test('an endless redirect, and an answer that is no blob but a book, end', async () => {
  const host: string = await serve((request, response) => {
    if (request.url?.endsWith('/round')) response.writeHead(307, { location: request.url }).end();
    else response.writeHead(500).end(Buffer.alloc(5 << 20));
  });
  const session = sessionAt(host);
  for (const path of ['blobs/round', 'blobs/book'])
    await expect(session.ask(['pull'], [200], { method: 'GET', url: session.url(path) })).rejects.toMatchObject({
      code: 'SHADOW_E_REGISTRY',
    });
  session.close();
});

describe('a repository', () => {
  test.each([
    ['registry.example/team/checkpoints', undefined, 'registry.example', 'team/checkpoints'],
    ['https://registry.example:5000/c/', 'https', 'registry.example:5000', 'c'],
    ['http://10.0.0.1:5000/c', 'http', '10.0.0.1:5000', 'c'],
    ['[fd00::1]:5000/c', undefined, '[fd00::1]:5000', 'c'],
    ['localhost/c', undefined, 'localhost', 'c'],
    ['docker.io/team/c', undefined, 'registry-1.docker.io', 'team/c'],
  ])('%s', (text, scheme, host, path) => {
    expect(parseRepository(text)).toEqual({ scheme, host, path });
  });

  test.each([
    undefined,
    '',
    'team/checkpoints',
    'registry.example',
    'registry.example/',
    'registry.example/Team',
    'registry.example/c:tag',
    `registry.example/c@sha256:${'0'.repeat(64)}`,
    'registry.example/a//b',
    'registry.example/../x',
    'user:secret@registry.example/c',
    'ftp://registry.example/c',
    'registry.example/c?x=y',
    'registry.example:port/c',
  ])('is not %s', (text) => {
    expect(() => parseRepository(text)).toThrow(expect.objectContaining({ code: 'SHADOW_E_REPOSITORY' }));
  });

  test('has the pod in its name, if there is room', () => {
    const { path, ...rest } = parseRepository('registry.example/c');
    expect(imageName({ path, ...rest }, 'consumer-0')).toBe('c/consumer-0');
    expect(() => imageName({ path, ...rest }, 'x'.repeat(254))).toThrow(/longer than/);
  });
});

describe('what a node says of a registry', () => {
  const HOST = 'registry.example:5000';
  const of = (toml: string) => hostsOf(toml, HOST);

  test('counts for the very host: that it has no TLS, and whose certificates are good', () => {
    expect(of('server = "http://registry.example:5000"')).toEqual({ plain: true, authorities: [] });
    expect(of('[host."http://registry.example:5000"]\ncapabilities = ["pull"]').plain).toBe(true);
    const secure =
      'ca = "a.crt"\nserver = "https://registry.example:5000"\n[host."https://registry.example:5000"]\nca = ["/b.crt"]';
    expect(of(secure)).toEqual({ plain: false, authorities: ['a.crt', '/b.crt'] });
  });

  test('does not count of mirrors, nor that nothing is to be verified', () => {
    const mirror =
      'server = "https://registry.example:5000"\n[host."http://mirror.example"]\nca = "m.crt"\nskip_verify = true';
    expect(of(mirror)).toEqual({ plain: false, authorities: [] });
    expect(() => of('server = [')).toThrow();
  });

  test('is read from where containerd reads it', async () => {
    const root = mkdtempSync(join(tmpdir(), 'shadow-hosts-'));
    try {
      const put = (directory: string, name: string, text: string): void => {
        mkdirSync(join(root, directory), { recursive: true });
        writeFileSync(join(root, directory, name), text);
      };
      const node = nodeOf('n', { ...LAYOUT, root }, []);
      const image = { host: HOST, name: 'a', tag: 't', ca: 'of the user' };
      const before = await roadTo(node, image);
      expect([before.scheme, before.ca.slice(-1)]).toEqual(['https', ['of the user']]);
      put('etc/ssl/certs', 'ca-certificates.crt', 'of the node');
      put(`etc/containerd/certs.d/${HOST}`, 'ca.crt', 'of the registry');
      put(`etc/containerd/certs.d/${HOST}`, 'hosts.toml', `ca = "ca.crt"\nserver = "http://${HOST}"`);
      const after = await roadTo(node, image);
      expect([after.scheme, after.ca.slice(-3)]).toEqual(['http', ['of the node', 'of the registry', 'of the user']]);
      expect((await roadTo(node, { ...image, scheme: 'https' })).scheme).toBe('https');
      expect((await roadTo(node, { ...image, host: 'registry.example' })).scheme).toBe('https');
      put(`etc/containerd/certs.d/${HOST}`, 'hosts.toml', 'server = [');
      await expect(roadTo(node, image)).rejects.toMatchObject({ code: 'SHADOW_E_REGISTRY' });
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  });
});

describe('a login', () => {
  const at = parseRepository('registry.example:5000/team/c');
  const of = (auths: object) => loginFor(JSON.stringify({ auths }), at);
  const login = (username: string) => ({ username, password: 'p:q' });
  const auth = (username: string) => ({ auth: Buffer.from(`${username}:p:q`).toString('base64') });

  test('is the one of the host, or of the longest path above', () => {
    expect(of({ 'registry.example:5000': auth('host') })).toEqual(login('host'));
    expect(of({ 'https://registry.example:5000/v2/': auth('url') })).toEqual(login('url'));
    expect(of({ 'registry.example:5000': auth('host'), 'registry.example:5000/team': login('path') })).toEqual(
      login('path'),
    );
  });

  test('is of no other host, port or path', () => {
    const others = ['registry.example', 'registry.example:50', 'registry.example:5000/te', 'example:5000', ''];
    for (const other of others) expect(of({ [other]: auth('other') }), other).toBeUndefined();
    expect(loginFor('{}', at)).toBeUndefined();
  });

  test('of Docker Hub is filed under an old name', () => {
    const hub = parseRepository('docker.io/team/c');
    const config = JSON.stringify({ auths: { 'https://index.docker.io/v1/': auth('hub') } });
    expect(loginFor(config, hub)).toEqual(login('hub'));
  });

  test.each(['no JSON, but a secret', '{"auths":{"registry.example:5000":{"identitytoken":"secret"}}}'])(
    'that can not be read is refused without a word of it',
    (config) => {
      const read = () => loginFor(config, at);
      expect(read).toThrow(expect.objectContaining({ code: 'SHADOW_E_REGISTRY_ACCESS' }));
      expect(read).not.toThrow(/secret/);
    },
  );
});
