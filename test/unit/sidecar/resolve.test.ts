import { describe, expect, it } from 'vitest';
import { candidates, parseResolvConf, resolve } from '../../../webhook/sidecar/resolve.ts';

const CLUSTER = `# made by the kubelet
search demo.svc.cluster.local svc.cluster.local cluster.local
nameserver 10.96.0.10
nameserver fd00::10
options ndots:5 timeout:1
`;

describe('the name of a broker', () => {
  it('is asked for as the resolver of the pod would, never by the hosts file', async () => {
    const conf = parseResolvConf(CLUSTER);
    expect(conf.servers).toEqual(['10.96.0.10', 'fd00::10']);
    expect(candidates('rabbitmq', conf)).toEqual([
      'rabbitmq.demo.svc.cluster.local',
      'rabbitmq.svc.cluster.local',
      'rabbitmq.cluster.local',
      'rabbitmq',
    ]);
    expect(candidates('a.b.c.d.e.f', conf)[0]).toBe('a.b.c.d.e.f');
    expect(candidates('broker.example.com.', conf)).toEqual(['broker.example.com']);
    expect(candidates('broker.example.com', parseResolvConf('nameserver 1.1.1.1'))).toEqual(['broker.example.com']);
    expect(await resolve('10.1.2.3', '/nonexistent')).toEqual(['10.1.2.3']);
    // localhost is in every hosts file, and in no DNS that nobody serves.
    await expect(resolve('localhost', '/dev/null')).rejects.toThrow('cannot resolve localhost');
  });
});
