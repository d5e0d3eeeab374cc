/** What a connection speaks that is not AMQP 0-9-1, told by its first bytes. Pure. */

/** RFC 8446, section 5.1: a TLS connection begins with a record of type handshake. */
const TLS_HANDSHAKE = 22;
/** RabbitMQ's stream protocol: after its size, a client's first frame is PeerProperties, version 1. */
const PEER_PROPERTIES = 0x0011;

export const SPEAKS_TLS = 'speaks TLS itself, so that only the broker can read it';

/** Whether a client that begins so speaks TLS: no AMQP frame or header begins with this byte. */
export const beginsTls = (bytes: Buffer): boolean => bytes[0] === TLS_HANDSHAKE;

/** AMQP 1.0, section 2.2: "AMQP", the protocol (0: AMQP, 2: TLS, 3: SASL), 1, 0, 0. */
const amqpVersion = (bytes: Buffer): string =>
  bytes[5] === 1 && bytes[4] !== 1 ? 'AMQP 1.0' : 'another version of AMQP than 0-9-1';

/** For people: "speaks …". */
export const spokenBy = (bytes: Buffer): string => {
  if (beginsTls(bytes)) return SPEAKS_TLS;
  if (bytes.length >= 6 && bytes.toString('latin1', 0, 4) === 'AMQP') return `speaks ${amqpVersion(bytes)}`;
  if (bytes.length >= 8 && bytes.readUInt16BE(4) === PEER_PROPERTIES && bytes.readUInt16BE(6) === 1)
    return 'speaks the stream protocol';
  return 'does not speak AMQP 0-9-1';
};
