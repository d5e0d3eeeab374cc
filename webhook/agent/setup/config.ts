/**
 * containerd's configuration, as text. A drop-in is merged key by key since containerd 2.0, may not have a higher version than
 * the file that imports it, and names the CRI plugin as that version does (cmd/containerd/server/config in containerd's source).
 */
import { parse, type TomlTable } from 'smol-toml';
import { ShadowError } from '../../api/errors.ts';
import { NODE_DIR, RUNTIME_CLASS } from '../../api/names.ts';

export const HANDLER = `${NODE_DIR.bin}/shadow-runc`;
/** Where containerd 2.2 and later look by themselves. */
export const DROP_INS = '/etc/containerd/conf.d/*.toml';
export const DROP_IN = '/etc/containerd/conf.d/50-kubectl-shadow.toml';
/** Ends the line that is ours in the owner's file. */
const OURS = '# kubectl-shadow';
/** Of files that we write: known to every containerd 2. */
const LATEST = 3;

const CRI: Readonly<Record<number, string>> = { 2: 'io.containerd.grpc.v1.cri' };
const criOf = (version: number): string => CRI[version] ?? 'io.containerd.cri.v1.runtime';

const tableAt = (table: TomlTable | undefined, ...path: string[]): TomlTable | undefined => {
  let at: unknown = table;
  for (const name of path) at = typeof at === 'object' && at !== null ? (at as TomlTable)[name] : undefined;
  return typeof at === 'object' && at !== null && !Array.isArray(at) ? (at as TomlTable) : undefined;
};

const parsed = (text: string, what: string): TomlTable => {
  try {
    return parse(text);
  } catch (error) {
    throw new ShadowError('SHADOW_E_NODE_SETUP', `${what} is not TOML: ${(error as Error).message.split('\n')[0]}`);
  }
};

/** Of a configuration file; one without a version, which containerd 2 refuses, is taken for the latest. */
export const versionOf = (text: string): number => {
  const { version } = parsed(text, "containerd's configuration");
  return typeof version === 'number' ? version : LATEST;
};

/** Whether containerd, by what `containerd config dump` prints, starts our handler for pods of our RuntimeClass. */
export const hasHandler = (dump: string): boolean => {
  const { plugins } = parsed(dump, 'what containerd config dump prints');
  return Object.values((plugins as TomlTable | undefined) ?? {}).some((plugin) => {
    const runtime = tableAt(plugin as TomlTable, 'containerd', 'runtimes', RUNTIME_CLASS);
    const annotations = runtime?.pod_annotations;
    return (
      tableAt(runtime, 'options')?.BinaryName === HANDLER &&
      Array.isArray(annotations) &&
      annotations.includes('shadow.ms2m.io/*')
    );
  });
};

/** Options of the runtime that pods have by default: our handler is a front of it, and shares its cgroup driver. */
const optionsOf = (dump: string): TomlTable => {
  const { plugins } = parsed(dump, 'what containerd config dump prints');
  for (const plugin of Object.values((plugins as TomlTable | undefined) ?? {})) {
    const containerd = tableAt(plugin as TomlTable, 'containerd');
    const name = typeof containerd?.default_runtime_name === 'string' ? containerd.default_runtime_name : 'runc';
    const options = tableAt(containerd, 'runtimes', name, 'options');
    if (options) return options;
  }
  return {};
};

/** `dump`: of the configuration without it. `version`: of the file that imports it. */
export const dropInOf = (dump: string, version: number): string => {
  const at = `plugins.'${criOf(version)}'.containerd.runtimes.${RUNTIME_CLASS}`;
  const systemd = optionsOf(dump).SystemdCgroup === true;
  return `# Written by kubectl-shadow; removed by kubectl shadow uninstall.
version = ${Math.min(version, LATEST)}
[${at}]
  runtime_type = "io.containerd.runc.v2"
  pod_annotations = ["shadow.ms2m.io/*"]
  [${at}.options]
    BinaryName = "${HANDLER}"
    SystemdCgroup = ${systemd}
`;
};

const importsIn = (text: string): unknown[] => {
  const { imports } = parsed(text, "containerd's configuration");
  return Array.isArray(imports) ? imports : [];
};

/** The list may go over several lines, with comments; a bracket in a string of it is beyond us. */
const LIST = /^([ \t]*imports[ \t]*=[ \t]*\[)([^\]]*\])/m;

/**
 * The owner's file with our directory among its imports; all else stays as it is, comments too. A file without imports gets a
 * line of its own, ahead of the first table. Throws SHADOW_E_NODE_SETUP where it can't be sure.
 */
export const withImport = (text: string): string => {
  const before = importsIn(text);
  if (before.includes(DROP_INS)) return text;
  const head = /^[ \t]*\[/m.exec(text)?.index ?? text.length;
  const list = LIST.exec(text.slice(0, head));
  const changed = list ? text.replace(LIST, `$1"${DROP_INS}", $2`) : `imports = ["${DROP_INS}"] ${OURS}\n${text}`;
  const after = importsIn(changed);
  if (after.length !== before.length + 1 || !after.includes(DROP_INS))
    throw new ShadowError(
      'SHADOW_E_NODE_SETUP',
      `"${DROP_INS}" could not be added to the imports in its configuration`,
    );
  return changed;
};

/** Undoes `withImport`, also after its owner has edited the file. */
export const withoutImport = (text: string): string =>
  text
    .split('\n')
    .filter((line) => !(line.endsWith(OURS) && line.startsWith('imports = [')))
    .join('\n')
    .replace(`"${DROP_INS}", `, '');

/** What containerd starts with where there is no file: nothing but its own defaults. */
export const EMPTY = `version = ${LATEST}\n`;
