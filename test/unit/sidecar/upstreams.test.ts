/** Which host, which door, what trust: decided before any socket is there. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { BLIND_PORTS, BLIND_TLS_PORTS } from '../../../webhook/api/names.ts';
import { hazardOfPort } from '../../../webhook/sidecar/blind.ts';
import { type Broker, doorsOf } from '../../../webhook/sidecar/doors.ts';
import { type Host, Hosts, inOrder, nameOf } from '../../../webhook/sidecar/hosts.ts';
import { readTrust, tlsOptions } from '../../../webhook/sidecar/trust.ts';

const host = (name: string): Host => ({ host: name, port: 5672 });

describe('the hosts of a cluster', () => {
  test('are all tried, each once, in their order but for those that failed a moment ago', () => {
    const names = fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd', 'e'), { minLength: 1 });
    const failures = fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd', 'e'), fc.integer({ min: 0, max: 100_000 }));
    fc.assert(
      fc.property(names, failures, (all, failed) => {
        const failedAt = new Map(Object.entries(failed).map(([name, at]) => [`${name}:5672`, at]));
        const order = inOrder(all.map(host), failedAt, 100_000).map((each) => each.host);
        expect([...order].sort()).toEqual([...all].sort());
        const late = (name: string): boolean => (failed[name] ?? -1) > 70_000;
        const [well, ill] = [all.filter((name) => !late(name)), all.filter(late)];
        expect(order).toEqual([...well, ...ill]);
      }),
    );
  });

  test('a host that does not answer is left in peace for a while, and asked again after it', async () => {
    let now = 0;
    const hosts = new Hosts(() => now);
    const down = new Set(['a']);
    let asked: string[] = [];
    const dial = async (): Promise<string> => {
      asked = [];
      const { host: reached } = await hosts.dial(['a', 'b'].map(host), async (each) => {
        asked.push(each.host);
        if (down.has(each.host)) throw new Error(`${each.host} is down`);
        return {} as net.Socket;
      });
      return reached.host;
    };
    expect([await dial(), asked]).toEqual(['b', ['a', 'b']]);
    now = 29_000;
    expect([await dial(), asked]).toEqual(['b', ['b']]);
    now = 31_000;
    down.clear();
    expect([await dial(), asked]).toEqual(['a', ['a']]);
    down.add('a').add('b');
    await expect(dial()).rejects.toThrow('a is down');
    // None answered: none is left out for it.
    down.clear();
    expect([await dial(), asked]).toEqual(['a', ['a']]);
  });

  test('are named so that an address of IPv6 can be told from its port', () => {
    expect([nameOf(host('fd00::7')), nameOf(host('mq'))]).toEqual(['[fd00::7]:5672', 'mq:5672']);
  });
});

describe('the doors of the relay', () => {
  test('no address and port twice; what is AMQP is never taken for blind, and must open', () => {
    const brokers: Broker[] = [
      { host: 'mq', port: 5672, listen: '127.0.0.1', listenToo: '::1' },
      { host: 'mq', port: 5671, listen: '127.0.0.1', listenToo: '::1', tls: true },
      { host: 'other', port: 5552, listen: '127.0.0.2' },
    ];
    const doors = doorsOf(brokers, [5552, 5671]);
    const told = doors.map((door) => [door.address, door.port, door.broker.host, door.blind, door.optional]);
    expect(told).toEqual([
      ['127.0.0.1', 5672, 'mq', false, false],
      ['::1', 5672, 'mq', false, true],
      ['127.0.0.1', 5671, 'mq', false, false],
      ['::1', 5671, 'mq', false, true],
      ['127.0.0.2', 5552, 'other', false, false],
      ['127.0.0.1', 5552, 'mq', true, true],
      ['::1', 5552, 'mq', true, true],
      ['127.0.0.2', 5671, 'other', true, true],
    ]);
  });
});

test('of the ports relayed blind, those of the management alone may lose their connections in a handoff', () => {
  const harmless = [...BLIND_PORTS, ...BLIND_TLS_PORTS].filter((port) => hazardOfPort(port) === undefined);
  expect(harmless).toEqual([15672, 15671]);
  expect(hazardOfPort(5552)).toBe('a connection to port 5552, whose protocol is relayed blind');
});

describe('what a broker is trusted by', () => {
  const dir = mkdtempSync(join(tmpdir(), 'shadow-trust-'));
  afterAll(() => rmSync(dir, { recursive: true }));

  test('is read anew each time; half a client certificate is a mistake; no Secret stands for the well-known CAs', async () => {
    expect(await readTrust(join(dir, 'nothing'))).toEqual({ ca: undefined, cert: undefined, key: undefined });
    expect(tlsOptions('mq', await readTrust(join(dir, 'nothing')))).not.toHaveProperty('ca');
    writeFileSync(join(dir, 'ca.crt'), 'CA');
    writeFileSync(join(dir, 'tls.crt'), 'CERT');
    await expect(readTrust(dir)).rejects.toThrow('tls.crt and tls.key');
    writeFileSync(join(dir, 'tls.key'), 'KEY');
    expect(tlsOptions('mq', await readTrust(dir))).toMatchObject({ ca: 'CA', cert: 'CERT', key: 'KEY' });
    // There, but not to be read: never a reason to trust others instead.
    await expect(readTrust(join(dir, 'ca.crt'))).rejects.toMatchObject({ code: 'ENOTDIR' });
  });

  test('the name of the URL is verified, whatever stands in the Secret; an address is not sent as a name', () => {
    const none = { ca: undefined, cert: undefined, key: undefined };
    expect(tlsOptions('mq.shop.svc.', none)).toEqual({ servername: 'mq.shop.svc', rejectUnauthorized: true });
    expect(tlsOptions('fd00::7', none)).toEqual({ servername: '', rejectUnauthorized: true });
  });
});
