/** Is the API server fit, and are our parts there and answering? Pure. */
import { CONTROLLER, LABEL, NAMESPACE, RUNTIME_CLASS, WEBHOOK } from '../../../webhook/api/names.ts';
import { minorsAhead } from '../../../webhook/api/skew.ts';
import { versionOf } from '../../install/installed.ts';
import { deploymentMissing } from '../../install/ready.ts';
import { tooOld } from '../../install/server.ts';
import { troubles } from '../../install/wait.ts';
import type { Deployment } from '../../kinds.ts';
import {
  type Fact,
  type Facts,
  type Finding,
  fail,
  judged,
  pass,
  type Schema,
  skippedFor,
  some,
  warn,
} from '../facts.ts';

export const apiReachable = ({ version }: Facts): Finding =>
  'got' in version
    ? pass('the API server answers')
    : fail(
        'failed' in version ? version.failed : 'denied' in version ? version.denied : 'it does not tell its version',
        'hint' in version ? version.hint : undefined,
      );

export const apiVersion = ({ version }: Facts): Finding =>
  judged(version, 'ask for the version', ({ gitVersion }) => {
    const why = tooOld(gitVersion);
    return why === undefined ? pass(`Kubernetes ${gitVersion}`) : fail(why);
  });

/** Paths of `wanted` that `given` does not have. */
export const missingFields = (wanted: Schema, given: Schema | undefined, at = ''): string[] => [
  ...Object.entries(wanted.properties ?? {}).flatMap(([name, schema]) => {
    const path = at === '' ? name : `${at}.${name}`;
    const there = given?.properties?.[name];
    return there === undefined ? [path] : missingFields(schema, there, path);
  }),
  ...(wanted.items === undefined ? [] : missingFields(wanted.items, given?.items, `${at}[]`)),
];

export const crd = ({ crd: fact, ownCrd }: Facts): Finding =>
  judged(
    fact,
    'read the CustomResourceDefinition',
    (found) => {
      const own = ownCrd.spec.versions[0]!;
      const served = found.spec.versions.find(({ name }) => name === own.name);
      if (!served?.served) return fail(`the cluster does not serve ${own.name} of ${found.metadata.name}`);
      const missing = missingFields(own.schema?.openAPIV3Schema ?? {}, served.schema?.openAPIV3Schema);
      return missing.length > 0
        ? fail(`it is older than the plugin: it lacks ${some(missing, ', ')}`)
        : pass(`${found.metadata.name} ${own.name} is served`);
    },
    fail('kubectl-shadow is not installed in this cluster'),
  );

/** Of the parts that may be seen. */
export const versions = ({ crd, webhook, controller, agentSet, ownVersion }: Facts): Finding => {
  const seen = Object.entries({ CRD: crd, webhook, controller, agents: agentSet }).flatMap(([name, fact]) =>
    'got' in fact ? [{ name, version: versionOf(fact.got.metadata) }] : [],
  );
  const [first] = seen;
  if (first === undefined) return skippedFor('you may not read any of our parts');
  if (seen.some(({ version }) => version !== first.version))
    return warn(`the parts differ: ${seen.map(({ name, version }) => `${name} ${version}`).join(', ')}`);
  const ahead = minorsAhead(first.version, ownVersion);
  const told = `${first.version} is installed, the plugin is ${ownVersion}`;
  if (ahead === 0) return pass(`${first.version} is installed`);
  return ahead === undefined || Math.abs(ahead) > 1 ? fail(told) : warn(told);
};

/** `part`: name of a Deployment and prefix of its pods' names. */
const running = (fact: Fact<Deployment>, facts: Facts, part: string): Finding =>
  judged(
    fact,
    `read Deployment ${part}`,
    (deployment) => {
      const missing = deploymentMissing(deployment);
      if (missing === undefined) return pass(`${deployment.spec.replicas ?? 1} of ${part} run`);
      const pods = 'got' in facts.pods ? facts.pods.got.filter(({ metadata }) => metadata.name.startsWith(part)) : [];
      const why = some(troubles(pods), '; ', 2);
      const available = deployment.status?.availableReplicas ?? 0;
      const text = `${part}: ${missing}${why ? ` (${why})` : ''}`;
      return available > 0 ? warn(text) : fail(text);
    },
    fail(`Deployment ${part} is not there`),
  );

/** None wanted is none running, however content its Deployment is. */
const wanted = (fact: Fact<Deployment>, facts: Facts, part: string): Finding =>
  'got' in fact && fact.got.spec.replicas === 0
    ? fail(`Deployment ${part} is scaled to 0`, `kubectl -n ${NAMESPACE} scale deployment ${part} --replicas=2`)
    : running(fact, facts, part);

export const webhookRuns = (facts: Facts): Finding => wanted(facts.webhook, facts, WEBHOOK);
export const controllerRuns = (facts: Facts): Finding => wanted(facts.controller, facts, CONTROLLER);

export const leader = ({ lease: fact }: Facts): Finding =>
  judged(
    fact,
    'read the Lease',
    ({ lease: { spec = {} }, renewed }) => {
      const holder = spec.holderIdentity?.split('/')[0];
      if (!holder) return fail('no controller leads: the Lease is held by nobody');
      return renewed
        ? pass(`${holder} leads`)
        : fail(`no controller leads: ${holder} has not renewed the Lease since ${spec.renewTime ?? 'it took it'}`);
    },
    fail('no controller has ever led: there is no Lease'),
  );

/** Ends of what the API server says of a webhook that it could not call, and what is behind each. */
const UNCALLED: readonly { when: RegExp; hint: string }[] = [
  { when: /x509|certificate/i, hint: 'see the checks of the certificates; the webhook renews them while it runs' },
  {
    when: /no endpoints|connection refused|not found/i,
    hint: `no webhook pod is ready: look at kubectl -n ${NAMESPACE} get pods`,
  },
  {
    when: /deadline|timeout|timed out|no route/i,
    hint: `the API server does not reach port 8443 of the webhook pods: look at NetworkPolicies and firewalls`,
  },
];

export const webhookAnswers = ({ validation: fact, namespace }: Facts): Finding => {
  if ('denied' in fact)
    return skippedFor(
      `you may not create StatefulMigrations in namespace ${namespace}`,
      'try it in a namespace where you may (-n)',
    );
  if ('failed' in fact && /failed calling webhook|failed to call webhook/.test(fact.failed)) {
    const cause = fact.failed.replace(/^.*failed to call webhook: /, '').replace(/^.*failed calling webhook /, '');
    return fail(`the API server cannot call it: ${cause}`, UNCALLED.find(({ when }) => when.test(cause))?.hint);
  }
  return judged(
    fact,
    'try it by a dry run',
    (answer) =>
      answer === 'refused'
        ? pass('it judged a migration (a dry run)')
        : fail('the API server asked no webhook about a migration (a dry run)', 'run kubectl shadow install again'),
    fail('the kind StatefulMigration, or the namespace, is unknown to the API server'),
  );
};

export const webhookInjects = ({ injection: fact, namespace }: Facts): Finding =>
  judged(fact, 'try an injection by a dry run', (answer) => {
    if (answer === 'answers') return pass('it injected a pod (a dry run)');
    return answer === 'silent'
      ? fail(`a pod with the label ${LABEL.inject}=true was not injected (a dry run): pods start without a sidecar`)
      : skippedFor(
          `a pod for trial was refused in namespace ${namespace} (a dry run): you may not create pods there, or a policy forbids it`,
          'try it in a namespace where you may (-n)',
        );
  });

export const runtimeClass = ({ runtimeClass: fact }: Facts): Finding =>
  judged(
    fact,
    'read the RuntimeClass',
    ({ handler }) =>
      handler === RUNTIME_CLASS
        ? pass(`RuntimeClass ${RUNTIME_CLASS} names the handler ${handler}`)
        : fail(`RuntimeClass ${RUNTIME_CLASS} names the handler ${handler}, not ${RUNTIME_CLASS}`),
    fail(`RuntimeClass ${RUNTIME_CLASS} is not there`),
  );
