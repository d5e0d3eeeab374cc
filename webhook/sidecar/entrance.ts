/** Where the pod's traffic to its brokers comes in, what of it is read, and how a broker is reached. */
import net from 'node:net';
import { SIDECAR } from '../api/names.ts';
import { BlindRelay, hazardOfPort } from './blind.ts';
import { type Broker, type Door, doorsOf } from './doors.ts';
import { type Dialled, type Host, Hosts, nameOf } from './hosts.ts';
import { SPEAKS_TLS } from './protocols.ts';
import { Reader } from './reader.ts';
import type { RelayOptions } from './relay-api.ts';
import { Undecided } from './undecided.ts';
import { connectTls, connectUpstream } from './upstream.ts';

export class Entrance {
  readonly blind = new BlindRelay();
  readonly hosts = new Hosts();
  private readonly servers: net.Server[] = [];
  private readonly undecided = new Undecided();
  private readonly options: RelayOptions;
  private readonly connect: (host: Host, secure: boolean) => Promise<net.Socket>;
  /** Takes a connection that speaks AMQP, as far as is known. */
  private readonly accept: (app: net.Socket, broker: Broker) => void;

  constructor(options: RelayOptions, accept: (app: net.Socket, broker: Broker) => void) {
    this.options = options;
    this.accept = accept;
    const { tlsDir = SIDECAR.tlsDir } = options;
    const dial = options.connectUpstream ?? connectUpstream;
    this.connect = ({ host, port }, secure) => (secure ? connectTls(host, port, tlsDir) : dial(host, port));
  }

  /** Rejects when a port that the app needs can't be had. */
  async open(): Promise<void> {
    for (const door of doorsOf(this.options.brokers, this.options.blindPorts)) {
      await this.listen(door).catch((error: unknown) => {
        if (!door.optional) throw error;
        const { address, port } = door;
        this.options.log.warn({ address, port, error: String(error) }, 'port not relayed');
      });
    }
  }

  private async listen({ address, port, broker, blind }: Door): Promise<void> {
    const accept = (socket: net.Socket): void => {
      if (blind) this.pass(socket, broker, port, hazardOfPort(port));
      else if (broker.tls) this.decide(socket, broker);
      else this.accept(Reader.over(socket), broker);
    };
    const server = net.createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, accept);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, address, resolve);
    });
    this.servers.push(server);
  }

  /** Bytes both ways, nothing understood. */
  private pass(app: net.Socket, broker: Broker, port: number, hazard: string | undefined): void {
    this.blind.accept(app, hazard, async () => (await this.reach(broker, port, false)).socket);
  }

  private decide(app: net.Socket, broker: Broker): void {
    this.undecided.accept(app, (speaksTls) => {
      if (speaksTls) this.pass(app, broker, broker.port, `a connection to ${nameOf(broker)} ${SPEAKS_TLS}`);
      else this.accept(app, broker);
    });
  }

  /** The broker, or another node of its cluster. */
  reach({ host, port, tls, others = [] }: Broker, at = port, secure = tls === true): Promise<Dialled> {
    const hosts = [{ host, port }, ...others].map((each) => (at === port ? each : { ...each, port: at }));
    return this.hosts.dial(hosts, (each) => this.connect(each, secure));
  }

  /** Nobody comes in any more. */
  close(): void {
    for (const server of this.servers) server.close();
  }

  /** What is not read, or not yet, ends. */
  drop(): void {
    this.blind.drop();
    this.undecided.drop();
  }
}
