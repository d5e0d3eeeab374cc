/** What the nodes have, by the Kubernetes objects and by what their agents told the controller. Pure. */
import { AGENT, NODE_DIR, RUNTIME_CLASS } from '../../../webhook/api/names.ts';
import { type NodeEntry, type NodeReports, STALE_MS } from '../../../webhook/api/node-reports.ts';
import { LEAST, older } from '../../../webhook/controller/preflight/node.ts';
import { age } from '../../format.ts';
import { troubles } from '../../install/wait.ts';
import { tellsOfHandler } from '../../installation.ts';
import type { Pod } from '../../kinds.ts';
import { type Facts, type Finding, fail, judged, type NodeObject, pass, skippedFor, some, warn } from '../facts.ts';

const isLinux = ({ metadata }: NodeObject): boolean => metadata.labels?.['kubernetes.io/os'] !== 'windows';
const has = (conditions: { type: string; status: string }[] | undefined): boolean =>
  (conditions ?? []).some(({ type, status }) => type === 'Ready' && status === 'True');
/** A node that takes pods. */
const isOpen = (node: NodeObject): boolean => !node.spec?.unschedulable && has(node.status?.conditions);

const COMPONENT = 'app.kubernetes.io/component';

/** Why a node has no agent; undefined: it has one. */
const agentMissing = (node: NodeObject, pods: readonly Pod[]): string | undefined => {
  const here = pods.filter(
    ({ metadata, spec }) =>
      spec.nodeName === node.metadata.name && metadata.labels?.[COMPONENT] === 'agent' && !metadata.deletionTimestamp,
  );
  if (here.some(({ status }) => has(status?.conditions))) return undefined;
  if (here.length === 0) return 'no agent runs there';
  return some(troubles(here), '; ', 2) || 'its agent is not ready';
};

export const agents = ({ nodes, pods, agentSet }: Facts): Finding => {
  if ('absent' in agentSet) return fail(`DaemonSet ${AGENT} is not there`, 'run kubectl shadow install');
  return judged(nodes, 'list nodes', (all) =>
    judged(pods, 'list the pods of kubectl-shadow', (ours) => {
      const linux = all.filter(isLinux);
      const without = linux.flatMap((node) => {
        const why = agentMissing(node, ours);
        return why === undefined ? [] : [{ open: isOpen(node), text: `${node.metadata.name}: ${why}` }];
      });
      const bad = without.filter(({ open }) => open).map(({ text }) => text);
      if (bad.length > 0) return fail(some(bad));
      // No pod comes to such a node; one that is there can't leave it.
      if (without.length > 0) return warn(`${some(without.map(({ text }) => text))}; it takes no pods now`);
      return pass(`an agent is ready on all of ${linux.length} nodes`);
    }),
  );
};

const isOld = ({ at }: NodeReports, now: number): boolean => now - Date.parse(at) > STALE_MS;

export const reports = ({ reports: fact, now }: Facts): Finding =>
  judged(
    fact,
    'read the reports of the nodes',
    (found) => {
      if (found === undefined) return fail('the controller has written none yet, or one of another release');
      const old = now - Date.parse(found.at);
      if (isOld(found, now)) return fail(`the controller has written none for ${age(old)}`);
      const silent = found.nodes.flatMap(({ node, error }) => (error ? [`${node}: ${error.message}`] : []));
      if (silent.length > 0) return fail(`the controller has no answer of ${some(silent)}`);
      return pass(`the controller heard of ${found.nodes.length} nodes ${age(old)} ago`);
    },
    fail('the ConfigMap for them is not there', 'run kubectl shadow install again'),
  );

type Found = NonNullable<NodeEntry['found']>;

const unheard = skippedFor('the controller has written no report of a node lately', 'mend node-reports first');

/** Judged over the nodes of which there is a report; those without are told by `reports`. */
const overNodes = (facts: Facts, judge: (nodes: readonly (Found & { node: string })[], all: NodeReports) => Finding) =>
  judged(
    facts.reports,
    'read the reports of the nodes',
    (found) => {
      if (found === undefined || isOld(found, facts.now)) return unheard;
      const nodes = found.nodes.flatMap(({ node, found: of }) => (of === undefined ? [] : [{ node, ...of }]));
      return nodes.length === 0 ? unheard : judge(nodes, found);
    },
    unheard,
  );

/** "2.3.7" or "2.3.7 (node-1), 2.2.0 (node-2)". */
const told = (values: readonly (readonly [string, string])[]): string => {
  const kinds = [...new Set(values.map(([, value]) => value))];
  if (kinds.length === 1) return kinds[0]!;
  const of = (kind: string) => values.filter(([, value]) => value === kind).map(([node]) => node);
  return kinds.map((kind) => `${kind} (${some(of(kind), ', ', 3)})`).join(', ');
};

const versions = (facts: Facts, tool: 'containerd' | 'runc'): Finding =>
  overNodes(facts, (nodes) => {
    const bad = nodes.flatMap((each) => {
      const version = each[tool];
      if (version === '') return [`${each.node}: ${tool} is not there, or does not start`];
      return older(version, LEAST[tool]) ? [`${each.node}: ${tool} ${version} is older than ${LEAST[tool]}`] : [];
    });
    return bad.length > 0
      ? fail(some(bad))
      : pass(`${tool} ${told(nodes.map((each) => [each.node, each[tool]] as const))}`);
  });

/** As the kubelet says: "containerd://2.3.7". It is known before anything of ours is installed. */
const runtimeTrouble = ({ metadata: { name }, status }: NodeObject): string | undefined => {
  const [runtime = '', version = ''] = (status?.nodeInfo?.containerRuntimeVersion ?? '').split('://');
  if (runtime === '') return undefined;
  if (runtime !== 'containerd') return `${name}: it runs ${runtime} ${version}, not containerd`;
  return older(version, LEAST.containerd)
    ? `${name}: containerd ${version} is older than ${LEAST.containerd}`
    : undefined;
};

export const containerd = (facts: Facts): Finding => {
  if (!('got' in facts.nodes)) return versions(facts, 'containerd');
  const linux = facts.nodes.got.filter(isLinux);
  const bad = linux.flatMap((node) => runtimeTrouble(node) ?? []);
  if (bad.length > 0) return fail(some(bad));
  const version = ({ status }: NodeObject): string =>
    status?.nodeInfo?.containerRuntimeVersion?.split('://')[1] || 'unknown';
  return pass(`containerd ${told(linux.map((node) => [node.metadata.name, version(node)] as const))}`);
};
export const runc = (facts: Facts): Finding => versions(facts, 'runc');

/** What the kubelet says containerd has loaded; undefined: it does not tell, or the caller may not see it. */
const loaded = ({ nodes }: Facts, name: string): boolean | undefined => {
  const node = 'got' in nodes ? nodes.got.find(({ metadata }) => metadata.name === name) : undefined;
  return node && tellsOfHandler(node);
};

const handlerTrouble = (facts: Facts, { node, handlerInstalled, handlerConfigured }: Found & { node: string }) => {
  if (!handlerInstalled)
    return {
      bad: true,
      text: `${node}: ${NODE_DIR.bin}/shadow-runc is not there; its agent puts it there at its start`,
    };
  const known = loaded(facts, node);
  if (known === true || (known === undefined && handlerConfigured)) return undefined;
  if (known === undefined)
    return { bad: false, text: `${node}: it could not be told whether containerd has the handler ${RUNTIME_CLASS}` };
  const why = handlerConfigured
    ? `containerd's configuration has the handler ${RUNTIME_CLASS}, but it was not restarted since`
    : `containerd has no runtime handler ${RUNTIME_CLASS}`;
  return { bad: true, text: `${node}: ${why}` };
};

export const handler = (facts: Facts): Finding =>
  overNodes(facts, (nodes) => {
    const found = nodes.flatMap((each) => handlerTrouble(facts, each) ?? []);
    const bad = found.filter((one) => one.bad).map(({ text }) => text);
    if (bad.length > 0) return fail(some(bad));
    if (found.length > 0) return warn(some(found.map(({ text }) => text)));
    return pass(`the handler ${RUNTIME_CLASS} is in containerd and on the disk of every node`);
  });

/** The oldest that is tested. */
const LEAST_CRIU = '4.0';

/** Why it is not the one that set-up brings; undefined: it is. */
const criuMissing = ({ node, criu: version }: Found & { node: string }): string | undefined => {
  if (version === '') return `${node}: criu is not there, or does not start`;
  return older(version, LEAST_CRIU) ? `${node}: CRIU ${version} is older than ${LEAST_CRIU}` : undefined;
};

export const criu = (facts: Facts): Finding =>
  overNodes(facts, (nodes) => {
    const missing = nodes.flatMap((each) => criuMissing(each) ?? []);
    const discontent = nodes
      .filter((each) => criuMissing(each) === undefined && each.criuCheck !== '')
      .map(({ node, criuCheck }) => `${node}: criu check says: ${criuCheck}`);
    if (missing.length > 0) return fail(some([...missing, ...discontent]));
    // What a kernel lacks no set-up brings.
    if (discontent.length > 0) return fail(some(discontent), 'let the node run a kernel that has what is named');
    return pass(`CRIU ${told(nodes.map((each) => [each.node, each.criu] as const))}`);
  });

export const checkpointApi = (facts: Facts): Finding =>
  overNodes(facts, (nodes) => {
    const without = nodes.filter((each) => each.checkpointApi !== '');
    if (without.length === 0) return pass('every kubelet offers it');
    const whys = without.map((each) => `${each.node}: ${each.checkpointApi}`);
    return warn(`${some(whys)}; the default driver, runc, needs none`);
  });

/** Nodes of one architecture and the same CPU flags. */
interface Kind {
  arch: string;
  flags: readonly string[];
  nodes: string[];
}

const kindsOf = (nodes: readonly (Found & { node: string })[], cpus: NodeReports['cpus']): Kind[] =>
  [...Map.groupBy(nodes, ({ arch, cpu }) => `${arch} ${cpu}`).values()].map((alike) => ({
    arch: alike[0]!.arch,
    flags: cpus[alike[0]!.cpu] ?? [],
    nodes: alike.map(({ node }) => node),
  }));

/** Why nothing goes from the one to the other: a process keeps using what the CPU had when it began. undefined: it can. */
const obstacle = (from: Kind, to: Kind): string | undefined => {
  const way = `${some(from.nodes, ', ', 3)} to ${some(to.nodes, ', ', 3)}`;
  if (from.arch !== to.arch) return `${way} (${from.arch} to ${to.arch})`;
  const there = new Set(to.flags);
  const lacking = from.flags.filter((flag) => !there.has(flag));
  return lacking.length > 0 ? `${way}, which lacks ${some(lacking, ' ', 6)}` : undefined;
};

export const cpuFlags = (facts: Facts): Finding =>
  overNodes(facts, (nodes, { cpus }) => {
    if (nodes.length < 2) return warn('there is one node: no pod can go anywhere');
    const kinds = kindsOf(nodes, cpus);
    const ways = kinds.flatMap((from) => kinds.filter((to) => to !== from).map((to) => obstacle(from, to)));
    const closed = ways.filter((way) => way !== undefined);
    if (closed.length === 0) return pass(`all of ${nodes.length} nodes have the same`);
    const text = `no pod goes from ${some(closed)}`;
    // Between nodes of one kind anything goes.
    return closed.length === ways.length && kinds.length === nodes.length ? fail(text) : warn(text);
  });

/** From here on an app may notice that the time of day jumps; and certificates are made valid this long before. */
const CLOCK_WARN_MS = 1_000;
const CLOCK_FAIL_MS = 240_000;

export const clocks = (facts: Facts): Finding =>
  overNodes(facts, (nodes) => {
    const off = nodes.filter(({ aheadMs }) => Math.abs(aheadMs) >= CLOCK_WARN_MS);
    if (off.length === 0) return pass("all nodes' clocks are within a second of the controller's");
    const lines = off.map(
      ({ node, aheadMs }) =>
        `${node} is ${(Math.abs(aheadMs) / 1000).toFixed(1)} s ${aheadMs > 0 ? 'ahead of' : 'behind'} the controller`,
    );
    return off.some(({ aheadMs }) => Math.abs(aheadMs) >= CLOCK_FAIL_MS) ? fail(some(lines)) : warn(some(lines));
  });
