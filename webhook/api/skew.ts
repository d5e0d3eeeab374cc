/**
 * Which versions of our parts go together. Releases that differ in the minor number by one do: a sidecar lives as long as its
 * pod, so it is often older than the controller; it is never newer. Pure.
 */

/** Of the messages in control.ts. Counted up when an old sidecar would misunderstand a message, not when a field is added. */
export const PROTOCOL = 2;
/** From it on a source that is told to pass on may stay ready (`stay` of `retire`); an older one would leave its Services. */
export const PROTOCOL_OF_STAY = 2;
/** The least that the controller speaks. */
export const LEAST_PROTOCOL = 1;

/** The last version whose objects and pods do not say theirs (ANNOTATION.version, VERSION_LABEL). */
export const UNMARKED = '0.1.0';

/** Kubernetes' recommended label; on all our objects and pods. */
export const VERSION_LABEL = 'app.kubernetes.io/version';

interface Release {
  major: number;
  minor: number;
}

/** What stands behind the minor number (a patch, "-rc.1") makes no difference. undefined: it is no version. */
export const releaseOf = (version: string): Release | undefined => {
  const [, major, minor] = /^v?(\d{1,6})\.(\d{1,6})(?:[.+-]\S*)?$/.exec(version) ?? [];
  return major === undefined ? undefined : { major: Number(major), minor: Number(minor) };
};

/** How many minor numbers `to` is ahead of `from`; negative: behind. undefined: they can't be compared, or the major differs. */
export const minorsAhead = (from: string, to: string): number | undefined => {
  const [one, other] = [releaseOf(from), releaseOf(to)];
  return one === undefined || other === undefined || one.major !== other.major ? undefined : other.minor - one.minor;
};

export interface Spoken {
  version?: string | undefined;
  /** undefined: 1, as it was before it was told. */
  protocol?: number | undefined;
}

/** Why a controller of `own` can't migrate the pod of this sidecar; undefined: it can. */
export const skewOf = ({ version = UNMARKED, protocol = 1 }: Spoken, own: string): string | undefined => {
  const ahead = minorsAhead(version, own);
  if (protocol < LEAST_PROTOCOL || protocol > PROTOCOL)
    return `its sidecar is ${version} and speaks protocol ${protocol}, the controller ${own} speaks ${LEAST_PROTOCOL} to ${PROTOCOL}`;
  if (ahead === undefined) return `its sidecar is ${version}, which does not go with the controller's ${own}`;
  if (ahead > 1) return `its sidecar is ${version}, more than one minor version before the controller's ${own}`;
  if (ahead < 0) return `its sidecar is ${version}, newer than the controller's ${own}`;
  return undefined;
};

/** Why what is installed can't be brought from one version to the other in one step; undefined: it can. */
export const jumpOf = (from: string, to: string): string | undefined => {
  const ahead = minorsAhead(from, to);
  if (ahead === undefined) return `${to} does not follow ${from}`;
  if (ahead < 0 || (ahead === 0 && isEarlierPatch(to, from))) return `${to} is older than ${from}, which is installed`;
  if (ahead > 1)
    return `${to} is ${ahead} minor versions ahead of ${from}, which is installed: injected pods would be left behind`;
  return undefined;
};

const patchOf = (version: string): number => Number(/^v?\d+\.\d+\.(\d+)/.exec(version)?.[1] ?? 0);
/** Of the same minor version. */
const isEarlierPatch = (one: string, other: string): boolean => patchOf(one) < patchOf(other);
