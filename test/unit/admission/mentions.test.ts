import fc from 'fast-check';
import { expect, test } from 'vitest';
import { serviceKey } from '../../../webhook/admission/brokers.ts';
import { isHostName, mentionsOf } from '../../../webhook/admission/mentions.ts';
import { rewritten } from '../../../webhook/admission/rewrite.ts';

const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?$/);
const host = fc.oneof(
  fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => `h${labels.join('.')}`),
  fc.ipV4(),
);
const userinfo = fc.constantFrom('', 'guest:guest@', 'u:p%40ss@', 'user:$(PASSWORD)@', '$(USER):a@b@');
const tail = fc.constantFrom('', '/', '/vhost', '/%2f?heartbeat=10', '?x=amqp');
const prefix = fc.constantFrom('', '--url=', 'connecting to ', '["');

test('a host in an AMQP URL is found wherever it stands, and replaced there and nowhere else', () => {
  fc.assert(
    fc.property(
      host,
      fc.option(fc.integer({ min: 1, max: 65535 })),
      userinfo,
      tail,
      prefix,
      (name, port, user, end, before) => {
        const authority = port === null ? name : `${name}:${port}`;
        const url = `${before}amqp://${user}${authority}${end}`;
        const container = {
          name: 'app',
          env: [
            { name: 'NAME', value: name },
            { name: 'X', value: url },
          ],
          args: [url],
        };
        const { mentions, untold } = mentionsOf([container]);
        expect(untold).toEqual([]);
        expect(mentions.map((mention) => [mention.host, mention.port])).toEqual([
          [name, port ?? 5672],
          [name, port ?? 5672],
        ]);
        const after = rewritten(container, (_, found) => (found === name ? '127.0.0.9' : undefined));
        const replaced = `${before}amqp://${user}127.0.0.9${port === null ? '' : `:${port}`}${end}`;
        expect(after).toEqual({
          ...container,
          env: [container.env[0], { name: 'X', value: replaced }],
          args: [replaced],
        });
      },
    ),
    { numRuns: 500 },
  );
});

test('an amqps URL, of one host or several, becomes amqp on loopback with its port told, and nothing else of it changes', () => {
  const hosts = fc.uniqueArray(
    fc.oneof(
      host,
      fc.ipV6().filter((each) => !each.includes('.')),
    ),
    { minLength: 1, maxLength: 3 },
  );
  const port = fc.option(fc.integer({ min: 1, max: 65535 }));
  fc.assert(
    fc.property(
      hosts,
      port,
      userinfo,
      tail,
      prefix,
      fc.constantFrom('', 'py'),
      (names, number, user, end, before, py) => {
        const authority = (list: readonly string[], at: number | null): string =>
          list.map((name) => (name.includes(':') ? `[${name}]` : name) + (at === null ? '' : `:${at}`)).join(',');
        const url = `${before}${py}amqps://${user}${authority(names, number)}${end}`;
        const container = { name: 'app', args: [url, names[0]!] };
        const { mentions, clusters } = mentionsOf([container]);
        expect(mentions.map((each) => [each.scheme, each.host, each.port])).toEqual(
          names.map((name) => ['amqps', name, number ?? 5671]),
        );
        expect(clusters.map((cluster) => cluster.length)).toEqual(names.length > 1 ? [names.length] : []);
        const led = names.map((_, i) => `127.0.0.${i + 1}`);
        const after = rewritten(container, (scheme, found) =>
          scheme === 'amqps' ? led[names.indexOf(found)] : undefined,
        );
        expect(after.args).toEqual([`${before}${py}amqp://${user}${authority(led, number ?? 5671)}${end}`, names[0]]);
        // A URL has one scheme: if one host of it can't be led, none is.
        if (names.length > 1)
          expect(rewritten(container, (_, found) => (found === names[0] ? '127.0.0.1' : undefined))).toEqual(container);
        expect(rewritten(container, (scheme) => (scheme === 'amqp' ? '127.0.0.1' : undefined))).toEqual(container);
      },
    ),
    { numRuns: 500 },
  );
});

test.each([
  ['amqp://h1,amqp://h2', [['h1', 'h2']]],
  ['amqp://u@h1/v amqp://u@h2:5673/v', [['h1', 'h2']]],
  ['["amqps://h1", "amqps://h2"]', [['h1', 'h2']]],
  ['amqp://u@h1,h2:5673/v', [['h1', 'h2']]],
  // Two brokers, by what they are for.
  ['--from amqp://h1 --to amqp://h2', []],
  ['amqp://u@h1/v,amqp://other@h2/v', []],
  ['amqp://h1/v,amqp://h2/w', []],
  ['amqp://h1,amqps://h2', []],
  ['amqp://h1', []],
])('nodes of one cluster in %s: %j', (text, expected) => {
  const { clusters, mentions } = mentionsOf([{ name: 'c', env: [{ name: 'X', value: text }] }]);
  expect(clusters.map((cluster) => cluster.map((mention) => mention.host))).toEqual(expected);
  expect(mentions.map((mention) => mention.host)).toEqual(text.includes('h2') ? ['h1', 'h2'] : ['h1']);
});

test.each([
  'AMQP_HOST',
  'RABBITMQ_HOSTNAME',
  'SPRING_RABBITMQ_ADDRESSES',
  'RabbitMq__HostName',
  'APP_BROKER_HOST',
  'MQ_SERVER',
])('%s names a broker', (name) => expect(isHostName(name)).toBe(true));
test.each([
  'KAFKA_BROKER_HOST',
  'MQTT_BROKER_HOST',
  'DB_HOST',
  'HOSTNAME',
  'RABBITMQ_USER',
  'RABBITMQ_PORT',
  'RMQHOSTILE',
  'ZMQ_HOST',
])('%s names none', (name) => expect(isHostName(name)).toBe(false));

test('a general name with another port than 5672 is no AMQP broker; a RabbitMQ one is', () => {
  const env = (name: string, port: string) => [
    { name: `${name}_HOST`, value: 'mq' },
    { name: `${name}_PORT`, value: port },
  ];
  const found = (name: string, port: string) =>
    mentionsOf([{ name: 'c', env: env(name, port) }]).mentions.map((m) => m.port);
  expect(found('BROKER', '9092')).toEqual([]);
  expect(found('RABBITMQ', '5673')).toEqual([5673]);
  expect(found('RABBITMQ', '15672')).toEqual([]);
  expect(found('BROKER', 'tcp://10.0.0.1:5672')).toEqual([5672]);
});

test('spellings of one Service share a key, an outside name does not', () => {
  const keys = ['mq', 'MQ.shop', 'mq.shop.svc', 'mq.shop.svc.cluster.local.'].map((name) => serviceKey(name, 'shop'));
  expect(new Set(keys).size).toBe(1);
  expect(serviceKey('mq.example', 'shop')).not.toBe(keys[0]);
  expect(serviceKey('mq.other.svc', 'shop')).not.toBe(keys[0]);
});
