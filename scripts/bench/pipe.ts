/**
 * The floor: the least that Node.js can do between two sockets. Its own process: node pipe.ts LISTEN-HOST LISTEN-PORT HOST PORT;
 * says "ready" on standard output.
 */
import net from 'node:net';

const [listenHost = '', listenPort = '', host = '', port = ''] = process.argv.slice(2);

const server = net.createServer({ noDelay: true, allowHalfOpen: true, pauseOnConnect: true }, (client) => {
  const upstream = net.connect({ host, port: Number(port), noDelay: true, allowHalfOpen: true });
  // An end is passed on by the pipes, an error by this.
  const end = (): void => {
    client.destroy();
    upstream.destroy();
  };
  client.on('error', end);
  upstream.on('error', end);
  upstream.once('connect', () => {
    client.pipe(upstream);
    upstream.pipe(client);
  });
});
server.listen(Number(listenPort), listenHost, () => process.stdout.write('ready\n'));
process.on('SIGTERM', () => process.exit(0));
