/** Names of images: where they are fetched from, and which one a new version has. Pure. */
import { releaseOf } from '../../webhook/api/skew.ts';
import { usage } from '../options.ts';

interface Parts {
  /** 'localhost', 'registry.example:5000'; '': the runtime's default. */
  registry: string;
  /** 'team/kubectl-shadow'. */
  path: string;
  /** ':0.2.0', '@sha256:…', both, or ''. */
  rest: string;
}

/** By the rule of the runtimes: the first part is a registry if it has a dot or a port, or is localhost. */
const partsOf = (image: string): Parts => {
  const [, name, rest] = /^([^@]+?)((?::[\w.-]+)?(?:@[\w:+.-]+)?)$/.exec(image) ?? [];
  if (name === undefined) throw usage(`"${image}" is no image`);
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  const isRegistry = first === 'localhost' || /[.:]/.test(first);
  return { registry: isRegistry ? first : '', path: isRegistry ? name.slice(slash + 1) : name, rest: rest ?? '' };
};

/** Below its registry, as the distribution specification has it: lower case, parts of letters and digits. */
const PATH = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*$/;
const REGISTRY = /^[\w.-]+(:\d{1,5})?(\/[\w.-]+)*$/;

/** The same image from another registry: HOST or HOST/PATH takes the place of its registry. Throws SHADOW_E_USAGE. */
export const rehomed = (image: string, registry: string): string => {
  const place = registry.replace(/\/+$/, '');
  if (!REGISTRY.test(place)) throw usage(`--registry "${registry}" is no registry; write HOST[:PORT][/PATH]`);
  const { path, rest } = partsOf(image);
  return `${place}/${path}${rest}`;
};

/** Throws SHADOW_E_USAGE. */
export const checkImage = (image: string): string => {
  if (!PATH.test(partsOf(image).path)) throw usage(`"${image}" is no image; write [REGISTRY/]NAME[:TAG][@DIGEST]`);
  return image;
};

/**
 * What takes the place of the installed image: tagged by its version, the same with the new one; by a name that is moved
 * (`dev`, `latest`), the same. Throws SHADOW_E_USAGE where nothing tells which it is.
 */
export const nextImage = (image: string, from: string, to: string): string => {
  if (from === to) return image;
  const { rest } = partsOf(image);
  if (rest.includes('@')) throw usage(`the installed image is ${image}, by digest; say --image`);
  const tag = rest.slice(1);
  const [v] = /^v?/.exec(tag) ?? [''];
  if (tag.slice(v.length) === from) return `${image.slice(0, image.length - tag.length)}${v}${to}`;
  if (releaseOf(tag) === undefined) return image;
  throw usage(`the installed image is ${image}, which is not named by the installed version, ${from}; say --image`);
};
