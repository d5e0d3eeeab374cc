/** kubectl shadow inject, kubectl shadow uninject: manifests in, manifests out; what was done to each goes to standard error. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { join } from 'node:path';
import { text as readAll } from 'node:stream/consumers';
import { ShadowError } from '../../webhook/api/errors.ts';
import { ANNOTATION, WEBHOOK } from '../../webhook/api/names.ts';
import { VERSION_LABEL } from '../../webhook/api/skew.ts';
import { type Api, getOrNone } from '../api.ts';
import { homeOf } from '../installation.ts';
import type { Io } from '../io.ts';
import type { Deployment } from '../kinds.ts';
import { type Common, usage } from '../options.ts';
import { detailOf, problemOf } from '../problems.ts';
import { connectTo } from '../session.ts';
import { type Document, parseStream, streamText } from './documents.ts';
import { type Changed, type InjectOptions, injectTemplate, uninjectTemplate } from './template.ts';
import { type Workload, withWorkloads } from './workloads.ts';

export interface ManifestFlags extends Common {
  files?: string[] | undefined;
  filename?: string | string[] | undefined;
  output: 'yaml' | 'json';
}

export interface InjectFlags extends ManifestFlags {
  image?: string | undefined;
  ipv6?: boolean | undefined;
  systemNamespace?: string | undefined;
  brokers?: string | undefined;
  brokerTls?: string | undefined;
}

const MANIFEST = /\.(ya?ml|json)$/;

/** As kubectl takes them: a directory stands for the manifests in it, not for those further down. */
const filesOf = (path: string): string[] => {
  if (path === '-' || !statSync(path).isDirectory()) return [path];
  return readdirSync(path)
    .filter((name) => MANIFEST.test(name))
    .sort()
    .map((name) => join(path, name));
};

const readDocuments = async ({ files = [], filename = [] }: ManifestFlags): Promise<Document[]> => {
  const named = [...[filename].flat(), ...files];
  if (named.length === 0) throw usage('name the manifests with -f FILE, or -f - for standard input');
  if (named.filter((name) => name === '-').length > 1) throw usage('standard input (-) can be read once only');
  const documents: Document[] = [];
  for (const name of named) {
    try {
      for (const file of filesOf(name)) {
        const text = file === '-' ? await readAll(process.stdin) : readFileSync(file, 'utf8');
        documents.push(...parseStream(file === '-' ? 'standard input' : file, text));
      }
    } catch (error) {
      if (error instanceof ShadowError) throw error;
      throw usage(`cannot read ${name}: ${(error as Error).message}`);
    }
  }
  if (documents.length === 0) throw usage('there is no manifest in what was read');
  return documents;
};

type Change = (workload: Workload) => Changed;

export interface Rewritten {
  values: unknown[];
  /** One line a workload. */
  told: string[];
  /** Some workload is as it was asked for. */
  some: boolean;
  /** Of the first that could not be. */
  problem?: ShadowError | undefined;
}

/** Pure. Other kinds than workloads are left as they are. */
export const rewrite = (documents: readonly Document[], change: Change): Rewritten => {
  const result: Rewritten = { values: [], told: [], some: false };
  const each = (workload: Workload) => {
    const { template, told, stands, problem } = change(workload);
    result.told.push(`${workload.name} ${told}`);
    result.some ||= template !== undefined || stands === true;
    result.problem ??= problem;
    return template;
  };
  result.values = documents.map(({ value }) => withWorkloads(value, each));
  return result;
};

const WITHOUT_CLUSTER = 'name the image of the sidecar with --image to do without the cluster';

/** What the webhook of this cluster injects. Throws SHADOW_E_NOT_INSTALLED, SHADOW_E_FORBIDDEN, SHADOW_E_API. */
export const installedOptions = async (
  api: Api,
  given?: string | undefined,
): Promise<Pick<InjectOptions, 'image' | 'ipv6' | 'home' | 'version'>> => {
  let webhook: Deployment | undefined;
  let home: string;
  try {
    home = given ?? (await homeOf(api));
    webhook = await getOrNone<Deployment>(api, 'Deployment', WEBHOOK, home);
  } catch (error) {
    const { code, message } = problemOf(error);
    throw new ShadowError(code, detailOf(code, message), { cause: error, hint: WITHOUT_CLUSTER });
  }
  const [container] = webhook?.spec.template.spec.containers ?? [];
  const image = container?.env?.find(({ name }) => name === 'SHADOW_IMAGE')?.value ?? container?.image;
  if (image === undefined) {
    throw new ShadowError('SHADOW_E_NOT_INSTALLED', '', { hint: `run kubectl shadow install, or ${WITHOUT_CLUSTER}` });
  }
  // The family a cluster has one address of is its first; who may not look takes the common one.
  const service = await getOrNone<{ spec?: { clusterIP?: string } }>(api, 'Service', 'kubernetes', 'default').catch(
    () => undefined,
  );
  return {
    home,
    version: webhook?.metadata.labels?.[VERSION_LABEL],
    image,
    ipv6: isIPv6(service?.spec?.clusterIP ?? ''),
  };
};

const annotationsOf = ({ brokers, brokerTls }: InjectFlags): { [name: string]: string } => ({
  ...(brokers === undefined ? {} : { [ANNOTATION.brokers]: brokers }),
  ...(brokerTls === undefined ? {} : { [ANNOTATION.brokerTls]: brokerTls }),
});

/** With --image no cluster is needed, and no kubeconfig. */
const optionsOf = async (flags: InjectFlags): Promise<InjectOptions> => {
  const annotations = annotationsOf(flags);
  if (flags.image !== undefined) {
    const context = flags.namespace ?? (await connectTo(flags).catch(() => undefined))?.namespace;
    const home = flags.systemNamespace;
    return { image: flags.image, home, ipv6: flags.ipv6 ?? false, namespace: context ?? 'default', annotations };
  }
  const { api, namespace } = await connectTo(flags);
  const found = await installedOptions(api, flags.systemNamespace);
  return { ...found, ipv6: flags.ipv6 ?? found.ipv6, namespace, annotations };
};

const print = (io: Io, documents: readonly Document[], { values, told }: Rewritten, output: 'yaml' | 'json'): void => {
  for (const line of told.length > 0 ? told : ['no workload was found; nothing was changed']) io.err(line);
  io.out(streamText(documents, values, output));
};

const hasWorkload = (documents: readonly Document[]): boolean =>
  rewrite(documents, () => ({ told: '' })).told.length > 0;

/** What cannot be injected is passed on as it is; unless that is all there is: then it is refused, and nothing printed. */
export const injectManifests = async (flags: InjectFlags, io: Io): Promise<void> => {
  const documents = await readDocuments(flags);
  const options = hasWorkload(documents) ? await optionsOf(flags) : undefined;
  const rewritten = rewrite(documents, (workload) => (options ? injectTemplate(workload, options) : { told: '' }));
  if (rewritten.problem && !rewritten.some) throw rewritten.problem;
  print(io, documents, rewritten, flags.output);
};

export const uninjectManifests = async (flags: ManifestFlags, io: Io): Promise<void> => {
  const documents = await readDocuments(flags);
  print(io, documents, rewrite(documents, uninjectTemplate), flags.output);
};
