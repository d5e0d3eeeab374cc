/** How long what we are trusted by is valid. Pure. */
import { X509Certificate } from 'node:crypto';
import { TLS_SECRET } from '../../../webhook/api/names.ts';
import {
  type Fact,
  type Facts,
  type Finding,
  fail,
  judged,
  pass,
  SECRET_ROLES,
  skippedFor,
  some,
  warn,
} from '../facts.ts';

const DAY_MS = 86_400_000;
/** The webhook renews when a third is left (admission/ca/rotation.ts): with less than this share it has failed to for a while. */
const OVERDUE = 0.25;

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** Those of a PEM text that can be read. */
export const certificatesIn = (pem: string): X509Certificate[] =>
  [...pem.matchAll(CERTIFICATE)].flatMap(([text]) => {
    try {
      return [new X509Certificate(text)];
    } catch {
      return [];
    }
  });

interface Judgement {
  outcome: 'pass' | 'warn' | 'fail';
  text: string;
  /** When it expires; undefined: there is none. */
  until?: number;
}

const day = (ms: number): string => new Date(ms).toISOString().slice(0, 10);

/** `name`: what it is called in the text. */
export const validity = (certificate: X509Certificate, name: string, now: number): Judgement => {
  const [from, to] = [Date.parse(certificate.validFrom), Date.parse(certificate.validTo)];
  if (now > to) return { outcome: 'fail', text: `${name} has expired on ${new Date(to).toISOString()}` };
  if (now < from)
    return {
      outcome: 'fail',
      text: `${name} is not valid before ${new Date(from).toISOString()}: are the clocks right?`,
    };
  const left = `${name}: ${Math.floor((to - now) / DAY_MS)} days left, until ${day(to)}`;
  return to - now < (to - from) * OVERDUE
    ? { outcome: 'warn', text: `${left}, its renewal is overdue`, until: to }
    : { outcome: 'pass', text: left, until: to };
};

const worst = (judgements: readonly Judgement[]): Finding => {
  for (const [outcome, finding] of [['fail', fail] as const, ['warn', warn] as const]) {
    const bad = judgements.filter((one) => one.outcome === outcome).map(({ text }) => text);
    if (bad.length > 0) return finding(some(bad));
  }
  const [first] = [...judgements].sort((a, b) => (a.until ?? 0) - (b.until ?? 0));
  return pass(`${first?.text ?? 'there is none'} (the first of ${judgements.length} to expire)`);
};

/** The CAs the API server trusts our webhooks by: the first signs, later ones are coming or going. */
export const caBundles = ({ webhooks: fact, now }: Facts): Finding =>
  judged(
    fact,
    'read the webhook configurations',
    (configurations) =>
      worst(
        configurations.flatMap(({ metadata, webhooks = [] }) => {
          const bundles = [...new Set(webhooks.map(({ clientConfig }) => clientConfig.caBundle ?? ''))];
          return bundles.map((bundle): Judgement => {
            const [ca] = certificatesIn(Buffer.from(bundle, 'base64').toString());
            return ca === undefined
              ? { outcome: 'fail', text: `${metadata.name} has no CA: the webhook puts it in while it runs` }
              : validity(ca, `the CA in ${metadata.name}`, now);
          });
        }),
      ),
    fail('the webhook configurations are not there', 'run kubectl shadow install'),
  );

/** undefined where the bundle may not be read: then nothing is said of who signed. */
const trusted = ({ webhooks }: Facts): X509Certificate[] | undefined =>
  'got' in webhooks
    ? webhooks.got.flatMap(({ webhooks: entries = [] }) =>
        entries.flatMap(({ clientConfig }) =>
          certificatesIn(Buffer.from(clientConfig.caBundle ?? '', 'base64').toString()),
        ),
      )
    : undefined;

const leafJudgement = (
  fact: Exclude<Fact<string>, { denied: string }>,
  name: string,
  cas: readonly X509Certificate[] | undefined,
  now: number,
): Judgement => {
  if ('failed' in fact) return { outcome: 'fail', text: `could not read Secret ${name}: ${fact.failed}` };
  if ('absent' in fact)
    return { outcome: 'fail', text: `Secret ${name} is not there: the webhook makes it while it runs` };
  const [leaf] = certificatesIn(fact.got);
  if (leaf === undefined) return { outcome: 'fail', text: `Secret ${name} holds no certificate` };
  const judgement = validity(leaf, `the certificate in ${name}`, now);
  const signed = cas === undefined || cas.some((ca) => leaf.checkIssued(ca) && leaf.verify(ca.publicKey));
  return judgement.outcome === 'fail' || signed
    ? judgement
    : {
        outcome: 'fail',
        text: `the certificate in ${name} is signed by none of the CAs in the webhook configurations`,
      };
};

export const serving = (facts: Facts): Finding => {
  const cas = trusted(facts);
  const judgements: Judgement[] = [];
  for (const role of SECRET_ROLES) {
    const fact = facts.certificates[role];
    // Who may not read one may read none.
    if ('denied' in fact)
      return skippedFor(
        `you may not read Secret ${TLS_SECRET[role]}`,
        'Secrets are for cluster administrators: ask one to run it',
      );
    judgements.push(leafJudgement(fact, TLS_SECRET[role], cas, facts.now));
  }
  return worst(judgements);
};
