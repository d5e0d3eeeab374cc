/** The properties of a message, in the payload of its content header (spec 4.2.6.1). Pure. */

/** Class, weight, body size, property flags. */
const FLAGS_AT = 12;

/** Bits of the properties in the flags. */
export const PROPERTY = { headers: 13, correlationId: 10, timestamp: 6 } as const;

/** Up to the last of these, highest bit first, and how each is laid out. */
const LAYOUTS = [
  [15, 'short string'],
  [14, 'short string'],
  [PROPERTY.headers, 'table'],
  [12, 'octet'],
  [11, 'octet'],
  [PROPERTY.correlationId, 'short string'],
  [9, 'short string'],
  [8, 'short string'],
  [7, 'short string'],
  [PROPERTY.timestamp, 'timestamp'],
] as const;

/** Where the property of a bit of PROPERTY begins; undefined if there is none, or if it is no header. */
export const propertyAt = (header: Buffer, wanted: number): number | undefined => {
  if (header.length < FLAGS_AT + 2) return undefined;
  const flags = header.readUInt16BE(FLAGS_AT);
  if ((flags & (1 << wanted)) === 0) return undefined;
  let at = FLAGS_AT;
  // Bit 0: one more word of flags follows.
  while (at + 2 <= header.length && (header.readUInt16BE(at) & 1) !== 0) at += 2;
  at += 2;
  for (const [bit, layout] of LAYOUTS) {
    if (bit === wanted) break;
    if ((flags & (1 << bit)) === 0) continue;
    if (layout === 'octet') at += 1;
    else if (layout === 'short string') at += 1 + (header[at] ?? 0);
    else at += 4 + (at + 4 <= header.length ? header.readUInt32BE(at) : 0);
  }
  return at;
};
