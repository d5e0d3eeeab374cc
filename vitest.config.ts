import { defineConfig } from 'vitest/config';

/**
 * unit: no I/O beyond the file system. broker: a real RabbitMQ on loopback; broker-4: version 4. node: a real runc and CRIU.
 * browser: a real Chromium. release: a real krew and kubectl. cluster: the playground.
 */
const serial = { fileParallelism: false, pool: 'forks' as const };

export default defineConfig({
  test: {
    projects: [
      // By default one worker fewer than there are cores: of two, one.
      { test: { name: 'unit', include: ['test/unit/**/*.test.ts'], maxWorkers: '100%' } },
      {
        test: {
          name: 'broker',
          include: ['test/broker/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 120_000,
          ...serial,
        },
      },
      {
        test: {
          name: 'broker-4',
          include: ['test/broker/**/*.test.ts'],
          // These are not about the broker; the clients meet this version on the cluster.
          exclude: ['bench', 'clients', 'eval-*', 'limits', 'root', 'tls'].map((name) => `test/broker/${name}.test.ts`),
          env: { SHADOW_TEST_RABBITMQ: '4' },
          testTimeout: 60_000,
          hookTimeout: 600_000,
          ...serial,
        },
      },
      {
        test: {
          name: 'node',
          include: ['test/node/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 300_000,
          ...serial,
        },
      },
      {
        test: {
          name: 'browser',
          include: ['test/browser/**/*.test.ts'],
          testTimeout: 60_000,
          // The first time the browser is installed.
          hookTimeout: 600_000,
          ...serial,
        },
      },
      {
        test: {
          name: 'release',
          include: ['test/release/**/*.test.ts'],
          testTimeout: 300_000,
          // The first time it builds krew and fetches Node.js for six platforms.
          hookTimeout: 1_200_000,
          ...serial,
        },
      },
      {
        test: {
          name: 'cluster',
          include: ['test/cluster/**/*.test.ts'],
          // Two cores carry the whole cluster.
          maxConcurrency: 2,
          testTimeout: 300_000,
          hookTimeout: 900_000,
          ...serial,
        },
      },
    ],
  },
});
