/** Windows executables. Layout: Microsoft's "PE Format". */
import { ShadowError } from '../../webhook/api/errors.ts';

/** Where the offset of the PE header stands. */
const HEADER_AT = 0x3c;
/** From the PE header, its signature and the COFF header included, to the optional header; and in that to its directories. */
const OPTIONAL_HEADER = 24;
const PE32_PLUS = 0x20b;
const DIRECTORIES = 112;
/** The certificate table is the fifth: offset and size. */
const CERTIFICATES = DIRECTORIES + 4 * 8;

/**
 * Takes the entry of the certificate table out of the header, in place: Node.js' own signature does not fit a changed file, and
 * a signature that is wrong is worse than none. Throws SHADOW_E_BUILD.
 */
export const dropSignature = (file: Buffer): void => {
  const optional = file.readUInt32LE(HEADER_AT) + OPTIONAL_HEADER;
  if (file.toString('latin1', 0, 2) !== 'MZ' || file.readUInt16LE(optional) !== PE32_PLUS)
    throw new ShadowError('SHADOW_E_BUILD', 'the executable for Windows is no PE32+ file');
  file.fill(0, optional + CERTIFICATES, optional + CERTIFICATES + 8);
};
