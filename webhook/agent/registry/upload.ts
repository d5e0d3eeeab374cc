/**
 * A blob into a registry, by pieces, while its digest is computed: it is never whole in memory. A piece that got lost on the way
 * is sent again from where the registry says it stands; where it can't say, all of it is (distribution refuses a session of which
 * it has more than it has confirmed).
 */
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { asShadowError, ShadowError } from '../../api/errors.ts';
import type { Blob } from '../image.ts';
import type { Answer } from './exchange.ts';
import { drain, type Session } from './session.ts';

/** Above the least that registries ask for (5 MiB), and little enough to be kept until it has arrived. */
const PIECE = 8 << 20;
/** A registry may ask for more (OCI-Chunk-Min-Length), up to here. */
const PIECE_LIMIT = 64 << 20;
const PIECE_TRIES = 4;
const TRIES = 3;
const PAUSE_MS = 250;

/** Chunks of any size as pieces of the same size, the last but one at least. */
export async function* piecesOf(chunks: AsyncIterable<Buffer>, size: number): AsyncGenerator<Buffer> {
  let parts: Buffer[] = [];
  let held = 0;
  for await (const chunk of chunks) {
    let rest = chunk;
    while (held + rest.length >= size) {
      const taken = rest.subarray(0, size - held);
      yield Buffer.concat([...parts, taken], size);
      rest = rest.subarray(taken.length);
      parts = [];
      held = 0;
    }
    if (rest.length > 0) parts.push(rest);
    held += rest.length;
  }
  if (held > 0) yield Buffer.concat(parts, held);
}

class Upload {
  private readonly session: Session;
  private place: URL;
  private at = 0;

  constructor(session: Session, place: URL) {
    this.session = session;
    this.place = place;
  }

  /** Where the registry stands; the pieces before are there, of this one a part may be. */
  private async stand(): Promise<number> {
    const answer = await this.session.ask(['pull', 'push'], [204], { method: 'GET', url: this.place });
    await drain(answer);
    this.move(answer);
    const last = /(\d+)$/.exec(`${answer.headers.range ?? ''}`)?.[1];
    // A registry that has nothing says 0-0, as one that has a byte does: what is sent again is the whole piece then.
    return last === undefined || last === '0' ? this.at : Number(last) + 1;
  }

  private move(answer: Answer): void {
    if (answer.headers.location !== undefined) this.place = this.session.placeOf(answer);
  }

  private async patch(piece: Buffer, from: number): Promise<void> {
    const body = piece.subarray(from - this.at);
    if (body.length === 0) return;
    const answer = await this.session.ask(['pull', 'push'], [202], {
      method: 'PATCH',
      url: this.place,
      body,
      headers: {
        'content-type': 'application/octet-stream',
        'content-range': `${from}-${from + body.length - 1}`,
      },
    });
    await drain(answer);
    this.move(answer);
  }

  async send(piece: Buffer): Promise<void> {
    let from = this.at;
    for (let attempt = 1; ; attempt++) {
      try {
        await this.patch(piece, from);
        break;
      } catch (error) {
        const known = asShadowError(error);
        if (!known.retryable || attempt >= PIECE_TRIES) throw known;
        await sleep(PAUSE_MS * attempt);
        from = await this.stand();
        if (from < this.at || from > this.at + piece.length) throw known;
      }
    }
    this.at += piece.length;
  }

  async end(digest: string): Promise<void> {
    const url = new URL(this.place);
    // Not by searchParams: what the registry has put there may be signed as it stands.
    url.search = `${url.search === '' ? '?' : `${url.search}&`}digest=${encodeURIComponent(digest)}`;
    await drain(await this.session.ask(['pull', 'push'], [201, 204], { method: 'PUT', url }));
  }

  /** What was begun is forgotten by the registry; in time it does so by itself, too. */
  async cancel(): Promise<void> {
    await drain(
      await this.session.ask(['pull', 'push'], [200, 202, 204, 404, 405], { method: 'DELETE', url: this.place }),
    );
  }
}

/** Begun, and so allowed. `piece`: bytes to send at once. */
export const beginUpload = async (session: Session): Promise<{ upload: Upload; piece: number }> => {
  const answer = await session.ask(['pull', 'push'], [202], { method: 'POST', url: session.url('blobs/uploads/') });
  await drain(answer);
  const least = Number(answer.headers['oci-chunk-min-length'] ?? 0) || 0;
  if (least > PIECE_LIMIT)
    throw new ShadowError('SHADOW_E_REGISTRY', `${session.image.host} takes no pieces of less than ${least} bytes`);
  return { upload: new Upload(session, session.placeOf(answer)), piece: Math.max(PIECE, least) };
};

const uploadOnce = async (session: Session, content: AsyncIterable<Buffer>): Promise<Blob> => {
  const begun = await beginUpload(session);
  const hash = createHash('sha256');
  let size = 0;
  try {
    for await (const piece of piecesOf(content, begun.piece)) {
      hash.update(piece);
      size += piece.length;
      await begun.upload.send(piece);
    }
    const digest = `sha256:${hash.digest('hex')}`;
    await begun.upload.end(digest);
    return { digest, size };
  } catch (error) {
    // A registry that can't be told forgets it in time.
    await begun.upload.cancel().catch(() => undefined);
    throw error;
  }
};

/** `content` is asked for anew at each try. */
export const upload = async (session: Session, content: () => AsyncIterable<Buffer>): Promise<Blob> => {
  for (let attempt = 1; ; attempt++) {
    try {
      return await uploadOnce(session, content());
    } catch (error) {
      const known = asShadowError(error, 'SHADOW_E_TRANSFER');
      if (!known.retryable || attempt >= TRIES) throw known;
      await sleep(PAUSE_MS * attempt);
    }
  }
};
