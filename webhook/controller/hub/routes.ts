/**
 * Between the two sidecars of a claim: the copy's settlements to the source, its answers back; and, where they can't reach one
 * another, the copy's wish for the record and the record itself.
 */
import type { Recorded, Settle, Settled, Wanted } from '../../api/control.ts';
import type { Session } from './session.ts';

export interface Route {
  readonly sourceUid: string;
  readonly copyUid: string;
  /** The source is gone for good; see `abandon`. */
  readonly abandoned: boolean;
}

/** Why a message closes its connection. */
export type Refusal = { readonly refused: string } | undefined;

/** More than a sidecar has under way (its window); beyond it, it is none of ours. */
const KEPT_PER_SESSION = 64;
/** More than this a copy's connection holds of the record no more: it asks again, from where it is, once it has room. */
const RECORD_BYTES_UNDER_WAY = 4 << 20;

const NOT_THE_COPY: Refusal = { refused: 'not the copy of that claim' };
const NOT_THE_SOURCE: Refusal = { refused: 'not the source of that claim' };

export interface Routes {
  set(claim: string, sourceUid: string, copyUid: string): void;
  remove(claim: string): void;
  /** The source's broker connections are gone: all the copy settles counts as settled, since there is nothing left to settle. */
  abandon(claim: string): void;
  settle(from: Session, message: Settle): Refusal;
  settled(from: Session, message: Settled): Refusal;
  /** Nothing of the record is kept here, and nothing of it is owed: what finds no way is dropped, the copy asks again. */
  wanted(from: Session, message: Wanted): Refusal;
  recorded(from: Session, message: Recorded): Refusal;
  /** A sidecar said hello: what waits for it goes out. */
  arrived(podUid: string): void;
  /** A sidecar's state changed: the copy of a closed source is told that it may consume. */
  stateChanged(from: Session): void;
}

export const createRoutes = (session: (podUid: string) => Session | undefined): Routes => {
  const routes = new Map<string, Route>();

  const answer = (copy: Session, message: Settled): void => {
    for (const seq of copy.unanswered.keys()) if (seq <= message.seq) copy.unanswered.delete(seq);
    copy.send(message);
  };

  /** The copy's consumers wait for it; told again, it does nothing. */
  const tellClosed = (claim: string, route: Route): void => {
    const source = session(route.sourceUid);
    const closed = route.abandoned || (source?.state === 'closed' && source.claim === claim);
    if (closed) session(route.copyUid)?.send({ type: 'settled', claim, seq: 0, outstanding: 0, closed: true });
  };

  const forward = (route: Route, message: Settle): void => {
    if (!route.abandoned) session(route.sourceUid)?.send(message);
    else {
      const copy = session(route.copyUid);
      if (copy) answer(copy, { type: 'settled', claim: message.claim, seq: message.seq, outstanding: 0, closed: true });
    }
  };

  /** All the copy waits for, in order; the source applies each once, however often it comes. */
  const forwardAll = (claim: string, route: Route): void => {
    const kept = [...(session(route.copyUid)?.unanswered.values() ?? [])];
    for (const message of kept.sort((a, b) => a.seq - b.seq)) if (message.claim === claim) forward(route, message);
  };

  const put = (claim: string, route: Route): void => {
    routes.set(claim, route);
    forwardAll(claim, route);
    tellClosed(claim, route);
  };

  return {
    set: (claim, sourceUid, copyUid) => {
      const known = routes.get(claim);
      const same = known?.sourceUid === sourceUid && known.copyUid === copyUid;
      if (!same) put(claim, { sourceUid, copyUid, abandoned: false });
    },
    remove: (claim) => {
      routes.delete(claim);
    },
    abandon: (claim) => {
      const route = routes.get(claim);
      if (route) put(claim, { ...route, abandoned: true });
    },
    settle: (from, message) => {
      const route = routes.get(message.claim);
      if (route !== undefined && route.copyUid !== from.identity.uid) return NOT_THE_COPY;
      if (from.unanswered.size >= KEPT_PER_SESSION) return { refused: 'too many settlements under way' };
      from.unanswered.set(message.seq, message);
      if (route !== undefined) forward(route, message);
      return undefined;
    },
    settled: (from, message) => {
      const route = routes.get(message.claim);
      if (route === undefined) return undefined;
      if (route.sourceUid !== from.identity.uid) return NOT_THE_SOURCE;
      from.outstanding = message.outstanding;
      const copy = session(route.copyUid);
      if (copy !== undefined) answer(copy, message);
      return undefined;
    },
    wanted: (from, message) => {
      const route = routes.get(message.claim);
      if (route === undefined) return undefined;
      if (route.copyUid !== from.identity.uid) return NOT_THE_COPY;
      session(route.sourceUid)?.send(message);
      return undefined;
    },
    recorded: (from, message) => {
      const route = routes.get(message.claim);
      if (route === undefined) return undefined;
      if (route.sourceUid !== from.identity.uid) return NOT_THE_SOURCE;
      const copy = session(route.copyUid);
      if (copy !== undefined && copy.buffered() <= RECORD_BYTES_UNDER_WAY) copy.send(message);
      return undefined;
    },
    arrived: (podUid) => {
      for (const [claim, route] of routes) {
        if (route.sourceUid === podUid) forwardAll(claim, route);
        if (route.sourceUid === podUid || route.copyUid === podUid) tellClosed(claim, route);
      }
    },
    stateChanged: ({ identity: { uid } }) => {
      for (const [claim, route] of routes) if (route.sourceUid === uid) tellClosed(claim, route);
    },
  };
};
