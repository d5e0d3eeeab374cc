/** Checks by a rehearsal, as data: what the controller has measured of it (webhook/controller/rehearsal.ts). */
import { catchUp, copied, pause, replayed, whole } from './judge/rehearsal.ts';
import { OF_POD } from './pod-checks.ts';
import type { Check } from './types.ts';

const PLAYED = ['rehearsal-copy'];

export const OF_REHEARSAL: readonly Check[] = [
  {
    id: 'rehearsal-copy',
    group: 'rehearsal',
    title: 'a copy of the pod was made beside it, ran, and was put back',
    needs: OF_POD.map(({ id }) => id),
    hint: 'the source goes on as before; see the code that is named',
    more: 'It fails by the code that a migration would be undone by.',
    judge: copied,
  },
  {
    id: 'rehearsal-replay',
    group: 'rehearsal',
    title: 'the copy did as its source, fed the same deliveries',
    needs: PLAYED,
    hint: 'Auto tries to replay, is undone and takes StopAndCopy then; ask for --strategy StopAndCopy, which is exact for every app',
    more: 'Compared are all publishes and settlements; it names the first that was otherwise. Where a migration would take StopAndCopy, a copy that did otherwise gives a warning only: nothing is replayed then. An app that has not said anything to its broker meanwhile gives a warning: rehearse under load.',
    judge: replayed,
  },
  {
    id: 'rehearsal-catch-up',
    group: 'rehearsal',
    title: 'the copy caught up with its serving source',
    needs: PLAYED,
    hint: 'give it longer (--for 60s; a migration waits 120 s), or rehearse under less load',
    more: 'Rates are deliveries a second: of the source on average, of the copy at its fastest. A source that outruns its copy is throttled while it is played, which a migration would do, too.',
    judge: catchUp,
  },
  {
    id: 'rehearsal-pause',
    group: 'rehearsal',
    title: 'it is known for how long the app would stand still',
    needs: PLAYED,
    hint: 'see what failed before',
    more: 'By ShadowPodSwap and ShadowPod: measured, it is the cut. By StopAndCopy: an estimate, made of the cut, the transfer and the restore; falling mute and opening the connections come on top, and are not rehearsed, since no source is stopped for a rehearsal.',
    judge: pause,
  },
  {
    id: 'rehearsal-time',
    group: 'rehearsal',
    title: 'it is known how long a migration would take',
    needs: PLAYED,
    hint: 'see what failed before',
    more: "An estimate: the steps that were rehearsed, as long as they took. What comes after the mute (settling, Services, the end of the source) is not rehearsed, and taken to be as long as putting the rehearsal back, which deletes a pod and cleans nodes, too; the second handoff of a StatefulSet's pod to be as long as the first. An app that takes long to settle what it has in hand takes that on top.",
    judge: whole,
  },
];
