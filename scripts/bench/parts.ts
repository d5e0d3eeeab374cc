/** What the bench needs beyond the repository: PerfTest and toxiproxy, from the machine's own package registries, cached. */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { entryName, type Recipe, sweep } from '../playground/build/cache.ts';
import { installPackages } from '../playground/build/debian.ts';
import { TOOLCHAIN } from '../playground/build/go.ts';
import { goProgram, obtainPart, type Say } from '../playground/build/parts.ts';
import { cacheDir } from '../playground/layout.ts';
import { run } from '../playground/run.ts';

export const VERSION = { perfTest: '2.22.1', logback: '1.5.12', toxiproxy: '2.5.0' } as const;

export interface Parts {
  /** For -cp: all jars of PerfTest. */
  readonly classPath: string;
  /** The program. */
  readonly toxiproxy: string;
}

const dependency = (group: string, artifact: string, version: string): string =>
  `<dependency><groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${version}</version></dependency>`;

/** PerfTest sets up its log by logback, which it names as optional all the same. */
const POM = `<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion><groupId>bench</groupId><artifactId>bench</artifactId><version>1</version>
<packaging>pom</packaging>
<dependencies>
${dependency('com.rabbitmq', 'perf-test', VERSION.perfTest)}
${dependency('ch.qos.logback', 'logback-classic', VERSION.logback)}
</dependencies>
</project>
`;

/** By Maven, as it is set up on this machine. */
const perfTest = (): Recipe => ({
  name: 'perf-test',
  version: VERSION.perfTest,
  recipe: POM,
  build: async ({ work, out, step }) => {
    writeFileSync(join(work, 'pom.xml'), POM);
    const goal = 'dependency:copy-dependencies';
    await step(['mvn', '-B', '-q', goal, '-DincludeScope=runtime', `-DoutputDirectory=${out}`]);
  },
});

const TOXIPROXY = 'github.com/Shopify/toxiproxy/v2/cmd/server';

const toxiproxy = (go: string): Recipe => ({
  name: 'toxiproxy',
  version: VERSION.toxiproxy,
  recipe: TOXIPROXY,
  build: async ({ out, step }) => {
    await step([go, 'install', '-ldflags', '-s -w', `${TOXIPROXY}@v${VERSION.toxiproxy}`], {
      env: { ...TOOLCHAIN, GOBIN: out, CGO_ENABLED: '0', GOFLAGS: '' },
    });
  },
});

const isCached = (recipe: Recipe): boolean => existsSync(join(cacheDir(), entryName(recipe)));

/** Package of a program that is not there; whichever the machine has, however it came there, is as good. */
const packageOf = async (program: string, name: string): Promise<string[]> =>
  (await run(['sh', '-c', `command -v ${program}`])).code === 0 ? [] : [name];

/** Installs what is missing on the machine: RabbitMQ, Java; Maven and Go if something is to be fetched or built. */
export const obtainParts = async (say: Say): Promise<Parts> => {
  sweep(cacheDir());
  const java = await packageOf('java', 'default-jre-headless');
  const maven = isCached(perfTest()) ? [] : await packageOf('mvn', 'maven');
  await installPackages(['rabbitmq-server', ...java, ...maven], join(cacheDir(), 'apt.log'), say);
  const jars = await obtainPart(perfTest(), say);
  // Which Go builds it is no part of what it is.
  const proxy = await obtainPart(toxiproxy(isCached(toxiproxy('go')) ? 'go' : await goProgram(say)), say);
  return { classPath: join(jars, '*'), toxiproxy: join(proxy, 'server') };
};
