/** An agent of a test's node, and the containers of its pods. */
import { type Calls, calls } from '../../webhook/agent/calls.ts';
import { runcDriver } from '../../webhook/agent/runc-driver.ts';
import { SIDECAR } from '../../webhook/api/names.ts';
import { sh, type TestNode, type TestPod } from './harness.ts';

export const CONTAINERS = [
  { name: SIDECAR.container, sidecar: true },
  { name: 'app', sidecar: false },
];

export const agentOn = (on: TestNode): Calls => {
  const driver = runcDriver(on.node);
  return calls({
    node: on.node,
    drivers: { runc: driver, kubelet: driver },
    credentials: () => {
      throw new Error('one agent here: nothing goes over the network');
    },
    checkpointApi: async () => '',
    warn: (message) => console.warn(message),
  });
};

export const rulesIn = (pod: TestPod): string => sh(`nsenter --net=${pod.netns} nft list ruleset`);
