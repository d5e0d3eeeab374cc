/** krew's manifest of a release: krew.yaml with version, addresses and digests filled in. */
import { type Document, isMap, isSeq, parseDocument, type YAMLMap } from 'yaml';
import { ShadowError } from '../../webhook/api/errors.ts';
import { archiveOf, nameOf, type Platform } from './platforms.ts';

const broken = (detail: string): ShadowError => new ShadowError('SHADOW_E_BUILD', `krew.yaml: ${detail}`);

const platformsOf = (document: Document): YAMLMap[] => {
  const platforms = document.getIn(['spec', 'platforms']);
  if (!isSeq(platforms)) throw broken('spec.platforms is no list');
  return platforms.items.filter((item) => isMap(item));
};

const named = (item: YAMLMap): string =>
  nameOf({
    os: item.getIn(['selector', 'matchLabels', 'os']) as Platform['os'],
    arch: item.getIn(['selector', 'matchLabels', 'arch']) as Platform['arch'],
  });

export interface Built {
  readonly platform: Platform;
  /** Of the archive, in hex. */
  readonly sha256: string;
}

/** Platforms that were not built are left out. Throws SHADOW_E_BUILD if one that was built is not in the template. */
export const rendered = (template: string, version: string, built: readonly Built[]): string => {
  // Without what the template says of itself.
  const document = parseDocument(template.replace(/^(#.*\n)+/, ''));
  if (document.errors[0]) throw broken(document.errors[0].message);
  const base = `${document.getIn(['spec', 'homepage'])}/releases/download/v${version}`;
  const items = platformsOf(document);
  const kept = built.map(({ platform, sha256 }) => {
    const item = items.find((each) => named(each) === nameOf(platform));
    if (!item) throw broken(`there is no platform ${nameOf(platform)}`);
    item.set('uri', `${base}/${archiveOf(platform)}`);
    item.set('sha256', sha256);
    return item;
  });
  document.setIn(['spec', 'version'], `v${version}`);
  document.setIn(['spec', 'platforms'], kept);
  return document.toString({ lineWidth: 0 });
};
