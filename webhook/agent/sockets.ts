/** /proc/PID/net tables, parsed. Pure. */

export interface TcpRow {
  localAddress: string;
  localPort: number;
  remoteAddress: string;
  remotePort: number;
  listening: boolean;
  established: boolean;
  /** Its owner has it, or is about to, and may have something to say yet: SYN-RECEIVED, ESTABLISHED, CLOSE-WAIT. */
  open: boolean;
  /** Of a listener: connections not yet accepted. */
  backlog: number;
  /** Of the owner, as whoever reads the table sees it. */
  uid: number;
  inode: number;
}

const LISTEN = '0A';
const ESTABLISHED = '01';
const OPEN: readonly string[] = [ESTABLISHED, '03', '08'];

/** The kernel prints addresses as 32-bit words in host order (little endian on all we run on). */
const words = (hex: string): number[] => {
  const bytes: number[] = [];
  for (let word = 0; word < hex.length; word += 8)
    for (let byte = 6; byte >= 0; byte -= 2) bytes.push(Number.parseInt(hex.slice(word + byte, word + byte + 2), 16));
  return bytes;
};

export const addressOf = (hex: string): string => {
  const bytes = words(hex);
  if (bytes.length === 4) return bytes.join('.');
  const mapped = bytes.slice(0, 10).every((byte) => byte === 0) && bytes[10] === 255 && bytes[11] === 255;
  if (mapped) return bytes.slice(12).join('.');
  const groups = Array.from({ length: 8 }, (_, index) =>
    (((bytes[2 * index] ?? 0) << 8) | (bytes[2 * index + 1] ?? 0)).toString(16),
  ).join(':');
  // The URL parser knows the shortest form.
  return new URL(`http://[${groups}]`).hostname.slice(1, -1);
};

export const parseTcp = (table: string): TcpRow[] =>
  table
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields.length >= 10)
    .map((fields) => {
      const [localHex = '', localPort = ''] = (fields[1] ?? '').split(':');
      const [remoteHex = '', remotePort = ''] = (fields[2] ?? '').split(':');
      return {
        localAddress: addressOf(localHex),
        localPort: Number.parseInt(localPort, 16),
        remoteAddress: addressOf(remoteHex),
        remotePort: Number.parseInt(remotePort, 16),
        listening: fields[3] === LISTEN,
        established: fields[3] === ESTABLISHED,
        open: OPEN.includes(fields[3] ?? ''),
        backlog: fields[3] === LISTEN ? Number.parseInt((fields[4] ?? '').split(':')[1] ?? '0', 16) : 0,
        uid: Number(fields[7]),
        inode: Number(fields[9]),
      };
    });

export const isLoopback = (address: string): boolean => address.startsWith('127.') || address === '::1';

export const endpoint = (address: string, port: number): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;

/** Sockets in use by protocol name, of /proc/PID/net/protocols. */
export const protocolsInUse = (table: string): Map<string, number> =>
  new Map(
    table
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => fields.length > 3)
      .map((fields) => [fields[0] ?? '', Number(fields[2])] as const),
  );

/** Pairs of inodes of connected unix sockets, from `ss -Hxa`. Columns: netid state recvq sendq path inode path peer. */
export const unixPairs = (listing: string): [number, number][] =>
  listing
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields.length >= 8)
    .map((fields): [number, number] => [Number(fields[5]), Number(fields[7])])
    .filter(([own, peer]) => own > 0 && peer > 0);
