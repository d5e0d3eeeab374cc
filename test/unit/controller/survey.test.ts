import { describe, expect, it, vi } from 'vitest';
import type { AgentClient, AgentRequest, AgentResponse } from '../../../webhook/api/agent.ts';
import { ShadowError } from '../../../webhook/api/errors.ts';
import { type NodeReports, parseReports, REWRITE_MS } from '../../../webhook/api/node-reports.ts';
import type { Agents } from '../../../webhook/controller/context.ts';
import { aheadOf, hearAll, Survey, together } from '../../../webhook/controller/survey.ts';
import { World } from './world.ts';
import { nodeOf } from './world-agents.ts';

const told = (node: string, change: Partial<AgentResponse<'examine'>> = {}): AgentResponse<'examine'> => ({
  ...{ node, arch: 'x64', kernel: '6', containerd: '2.3.7', runc: '1.4.3', criu: '4.2.1', cpuFlags: ['avx', 'sse'] },
  ...{ freeBytes: 1e12, handlerInstalled: true, criuCheck: '', checkpointApi: '', now: 1_000, ...change },
});
const cleaned: string[] = [];
const agentsOf = (answers: Record<string, () => AgentResponse<'examine'>>): Agents => ({
  of: (node) => {
    const answer = answers[node];
    if (answer === undefined) throw new ShadowError('SHADOW_E_AGENT_UNREACHABLE', `${node}: no agent runs there`);
    const clean = async ({ claim, epoch }: AgentRequest<'clean'>) => {
      if (claim === 'stuck-0') throw new Error('busy');
      cleaned.push(`${node} ${claim} ${epoch}`);
    };
    return { examine: async () => answer(), clean } as unknown as AgentClient;
  },
  url: (node) => node,
});
const windows = { ...nodeOf('w'), metadata: { name: 'w', labels: { 'kubernetes.io/os': 'windows' } } };

describe('a survey', () => {
  it('has every Linux node once, flags once a kind, and says whose agent is silent', async () => {
    const agents = agentsOf({
      a: () => told('a'),
      b: () => told('b'),
      c: () => told('c', { cpuFlags: ['sse'] }),
    });
    const nodes = ['c', 'a', 'b', 'd'].map(nodeOf).concat(windows);
    const reports = together(await hearAll(nodes, agents, () => 1_000), 1_000);
    expect(reports.cpus).toEqual([['avx', 'sse'], ['sse']]);
    expect(reports.nodes.map(({ node, found }) => [node, found?.cpu])).toEqual([
      ['a', 0],
      ['b', 0],
      ['c', 1],
      ['d', undefined],
    ]);
    expect(reports.nodes[3]?.error).toMatchObject({ code: 'SHADOW_E_AGENT_UNREACHABLE' });
    expect(parseReports(JSON.stringify(reports))).toEqual(reports);
  });

  it('knows of a clock no more than the answer allows: between sent and received it may be right', () => {
    expect(aheadOf(1_500, 1_000, 2_000)).toBe(0);
    expect(aheadOf(900, 1_000, 2_000)).toBe(-100);
    expect(aheadOf(2_300, 1_000, 2_000)).toBe(300);
  });

  const surveying = (world: World, agents: Agents) => {
    const written: NodeReports[] = [];
    const survey = new Survey({
      cluster: { nodes: async () => world.kubeNodes, migrations: () => [...world.migrations.values()] },
      agents,
      epoch: 7,
      write: async (reports) => void written.push(reports),
      onError: () => {},
    });
    return { written, look: (at: number) => survey.look(() => at) };
  };

  it('writes what has changed, or what is old; free space and a jittering clock are no change', async () => {
    let change: Partial<AgentResponse<'examine'>> = {};
    const agents = agentsOf({ one: () => told('one', change), two: () => told('two') });
    const { written, look } = surveying(new World(), agents);
    await look(1_000);
    change = { freeBytes: 5, now: 900 };
    await look(1_000);
    expect(written).toHaveLength(1);
    change = { criu: '' };
    await look(1_000);
    expect(written).toHaveLength(2);
    await look(1_000 + REWRITE_MS);
    expect(written).toHaveLength(3);
  });

  it('disturbs no migration', async () => {
    const world = new World();
    const { written, look } = surveying(world, agentsOf({ one: () => told('one'), two: () => told('two') }));
    world.migrate();
    world.change('m1', (migration) => {
      migration.status = { phase: 'Checkpointing', handoffs: [] };
    });
    await look(1_000);
    expect(written).toEqual([]);
    world.change('m1', (migration) => {
      migration.status = { phase: 'Completed', handoffs: [] };
    });
    await look(1_000);
    expect(written).toHaveLength(1);
  });

  it('removes what is left of migrations that have ended or are gone, and nothing of others', async () => {
    const world = new World();
    world.migrate('m1');
    world.migrate('m2');
    const [running, ended] = [...world.migrations.values()].map(({ metadata }) => metadata.uid);
    world.change('m2', (migration) => {
      migration.status = { phase: 'Failed', completionTime: '2026-11-30T00:00:00Z' };
    });
    const claims = ['stuck-0', `${running}-0`, `${running}-1-2`, `${ended}-0`, 'gone-0', 'gone-1-123'];
    cleaned.length = 0;
    const { written, look } = surveying(
      world,
      agentsOf({ one: () => told('one'), two: () => told('two', { claims }) }),
    );
    await look(1_000);
    expect(cleaned).toEqual([`two ${ended}-0 7`, 'two gone-0 7', 'two gone-1-123 7']);
    expect(JSON.stringify(written)).not.toContain('gone');
  });

  it('tries again what could not be written', async () => {
    const world = new World();
    let failures = 1;
    const written: NodeReports[] = [];
    const survey = new Survey({
      cluster: { nodes: async () => world.kubeNodes, migrations: () => [] },
      agents: agentsOf({ one: () => told('one'), two: () => told('two') }),
      epoch: 7,
      write: async (reports) => {
        if (failures-- > 0) throw new Error('no');
        written.push(reports);
      },
      onError: () => {},
    });
    await expect(survey.look(() => 1_000)).rejects.toThrow('no');
    await survey.look(() => 1_000);
    expect(written).toHaveLength(1);
  });

  it('asks again soon when an agent is silent, ever more seldom while it stays so, and at once anew when one has come', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    try {
      const looks: number[] = [];
      let speaks = false;
      const agents = agentsOf({
        one: () => told('one'),
        two: () => {
          looks.push(Math.round(performance.now() / 1_000));
          if (!speaks) throw new ShadowError('SHADOW_E_AGENT_UNREACHABLE', 'connection refused');
          return told('two');
        },
      });
      const survey = new Survey({
        cluster: { nodes: async () => new World().kubeNodes, migrations: () => [] },
        agents,
        epoch: 7,
        write: async () => {},
        onError: () => {},
      });
      const start = Math.round(performance.now() / 1_000);
      const spans = () => looks.splice(0).map((at) => at - start);
      survey.start();
      await vi.advanceTimersByTimeAsync(95_000);
      expect(spans()).toEqual([0, 2, 6, 14, 30, 60, 90]);
      survey.soon();
      await vi.advanceTimersByTimeAsync(4_500);
      expect(spans()).toEqual([97, 99]);
      speaks = true;
      await vi.advanceTimersByTimeAsync(35_000);
      expect(spans()).toEqual([103, 133]);
    } finally {
      vi.useRealTimers();
    }
  });

  it('is no report when it is none', () => {
    expect(parseReports('')).toBeUndefined();
    expect(parseReports('{"at":"x"}')).toBeUndefined();
  });
});
