/** From a recording to the picture in README.md. */
import { ShadowError } from '../../webhook/api/errors.ts';
import type { Cast } from './cast.ts';
import { framesOf } from './frames.ts';
import { svgOf } from './svg.ts';

/** How long the end stands before it begins anew. */
const PAUSE_MS = 6000;

/** Throws SHADOW_E_INVALID when nothing was written to the terminal. */
export const picture = async (cast: Cast): Promise<string> => {
  const frames = await framesOf(cast);
  if (frames.length === 0) throw new ShadowError('SHADOW_E_INVALID', 'the recording shows nothing');
  const { width: columns, height: rows, title = 'A terminal session' } = cast.header;
  return svgOf(frames, { columns, rows, title, pauseMs: PAUSE_MS });
};
