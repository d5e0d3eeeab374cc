/** The order of the steps, forward and back. docs/adr/0014-ms2m.md has the table. Pure. */

export const MS2M_STEPS = [
  'Binding',
  'Parking',
  'Yielding',
  'Aligning',
  'Releasing',
  'Calling',
  'CatchingUp',
  'Fencing',
  'Raising',
  'Draining',
  'Standing',
  'Stopping',
  'Following',
  'Gathering',
  'Matching',
  'Finishing',
  'Resting',
  'Lowering',
  'Emptying',
  'Checking',
  'Arriving',
  'Dismantling',
] as const;
export type Ms2mStep = (typeof MS2M_STEPS)[number];

/** How the copy takes over. `None` of the reference is `Cutoff` without a second handoff. */
export type TakeOver = 'Cutoff' | 'ExchangeFence';

/** What is on record: where it is, and which way it goes. */
export interface Progress {
  step: Ms2mStep;
  /** The source goes on: what was done is undone. */
  undoing?: boolean;
}

/** When these are done the app is parked and the copy's queue is as its own: the checkpoint is due. */
export const FORK: readonly Ms2mStep[] = ['Binding', 'Parking', 'Aligning'];

const TAKE_OVER: Record<TakeOver, readonly Ms2mStep[]> = {
  Cutoff: ['Stopping', 'Following', 'Gathering', 'Matching', 'Arriving', 'Dismantling'],
  ExchangeFence: [
    ...(['Fencing', 'Raising', 'Draining', 'Standing', 'Stopping'] as const),
    ...(['Lowering', 'Emptying', 'Checking', 'Arriving', 'Dismantling'] as const),
  ],
};

/** All of it. `Yielding` is a detour out of Aligning. */
export const forward = (takeOver: TakeOver): readonly Ms2mStep[] => [
  ...FORK,
  'Releasing',
  'Calling',
  'CatchingUp',
  ...TAKE_OVER[takeOver],
];

/** The fence may be up: what waits in the buffer must be worked off, in its turn. */
const FENCED: readonly Ms2mStep[] = ['Raising', 'Draining', 'Standing'];
const BACK_THROUGH_FENCE: readonly Ms2mStep[] = [
  ...(['Raising', 'Finishing', 'Resting', 'Lowering', 'Emptying', 'Checking'] as const),
  ...(['Arriving', 'Dismantling'] as const),
];
const BACK: readonly Ms2mStep[] = ['Arriving', 'Dismantling'];

/** From this step on the source is, or may be, gone: forward only. */
export const isCommitted = (step: Ms2mStep, takeOver: TakeOver): boolean => {
  const path = forward(takeOver);
  return path.includes(step) && path.indexOf(step) >= path.indexOf('Stopping');
};

/** The last step that leaves the source what it was. */
export const beforeStopping = (takeOver: TakeOver): Ms2mStep =>
  takeOver === 'ExchangeFence' ? 'Standing' : 'CatchingUp';

/** undefined: it can't be undone any more. */
export const undoing = ({ step, undoing: already }: Progress, takeOver: TakeOver): Progress | undefined => {
  if (already) return { step, undoing: true };
  if (isCommitted(step, takeOver)) return undefined;
  const [first = 'Arriving'] = FENCED.includes(step) ? BACK_THROUGH_FENCE : BACK;
  return { step: first, undoing: true };
};

/** undefined: all is done. */
export const following = ({ step, undoing: back }: Progress, takeOver: TakeOver): Progress | undefined => {
  const path = back ? BACK_THROUGH_FENCE : forward(takeOver);
  const next = path[path.indexOf(step) + 1];
  return next === undefined ? undefined : { step: next, ...(back ? { undoing: true } : {}) };
};
