/** `playground status`. */
import { readFileSync } from 'node:fs';
import Table from 'cli-table3';
import { brokerSeries } from './broker.ts';
import { getNodes, isHealthy } from './cluster.ts';
import { NODES, VERSION } from './layout.ts';
import { initPid } from './node.ts';
import { isAlive, markedPids, readState } from './state.ts';

/** Resident memory of a process in MB: VmRSS of /proc/PID/status. */
export const residentMegabytes = (status: string): number =>
  Math.round(Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0) / 1024);

const memoryOf = (pid: number): number => {
  try {
    return residentMegabytes(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return 0;
  }
};

const commandOf = (pid: number): string => {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return '';
  }
};

export const printStatus = async (): Promise<void> => {
  const { processes } = readState();
  if (Object.keys(processes).length === 0) {
    console.log('the playground is down');
    return;
  }
  const nodes = await getNodes();
  const nodeTable = new Table({
    head: ['node', 'power', 'ready', 'kubelet', 'runtime', 'address'],
    style: { head: [] },
  });
  for (const name of NODES) {
    const node = nodes.find(({ metadata }) => metadata?.name === name);
    nodeTable.push([
      name,
      initPid(name) === undefined ? 'off' : 'on',
      node?.status?.conditions?.find(({ type }) => type === 'Ready')?.status ?? 'Unknown',
      node?.status?.nodeInfo?.kubeletVersion ?? '',
      node?.status?.nodeInfo?.containerRuntimeVersion ?? '',
      node?.status?.addresses?.find(({ type }) => type === 'InternalIP')?.address ?? '',
    ]);
  }
  console.log(nodeTable.toString());
  const partTable = new Table({ head: ['process', 'pid', 'state', 'MB'], style: { head: [] } });
  for (const [name, process] of Object.entries(processes))
    partTable.push([name, process.pid, isAlive(process) ? 'running' : 'ended', memoryOf(process.pid)]);
  console.log(partTable.toString());
  console.log(
    `versions: ${Object.entries({ ...VERSION, rabbitmq: brokerSeries() })
      .map((pair) => pair.join(' '))
      .join(', ')}`,
  );
  const marked = markedPids();
  const total = marked.reduce((sum, pid) => sum + memoryOf(pid), 0);
  const kubelets = marked.filter((pid) => commandOf(pid) === 'kubelet').length;
  console.log(
    `${marked.length} processes (${kubelets} kubelets), ${total} MB resident; ${(await isHealthy()) ? 'healthy' : 'not healthy'}`,
  );
};
