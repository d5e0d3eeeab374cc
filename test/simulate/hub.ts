/** The controller's hub without its WebSockets: the real sessions and routes of webhook/controller/hub, over links. */
import type { WebSocket } from 'ws';
import type { CommandType, FromSidecar } from '../../webhook/api/control.ts';
import { ShadowError } from '../../webhook/api/errors.ts';
import { createRoutes, type Routes } from '../../webhook/controller/hub/routes.ts';
import {
  type CommandOf,
  type CommandResult,
  createSession,
  type Session,
} from '../../webhook/controller/hub/session.ts';

export class Hub {
  readonly sessions = new Map<string, Session>();
  readonly routes: Routes = createRoutes((uid) => this.sessions.get(uid));
  private readonly bySocket = new Map<WebSocket, Session>();
  epoch = 1;

  arrived(uid: string, socket: WebSocket, hello: FromSidecar): void {
    if (hello.type !== 'hello') throw new Error('hello expected');
    const session = createSession(socket, { uid, pod: uid, namespace: 'simulate' }, hello);
    this.sessions.get(uid)?.end('it connected anew');
    this.sessions.set(uid, session);
    this.bySocket.set(socket, session);
    this.routes.arrived(uid);
  }

  received(socket: WebSocket, message: FromSidecar): void {
    const session = this.bySocket.get(socket);
    if (!session || this.sessions.get(session.identity.uid) !== session) return;
    switch (message.type) {
      case 'answer':
        session.answered(message);
        return;
      case 'settle':
        if (this.routes.settle(session, message)) socket.close();
        return;
      case 'settled':
        if (this.routes.settled(session, message)) socket.close();
        return;
      case 'wanted':
        if (this.routes.wanted(session, message)) socket.close();
        return;
      case 'recorded':
        if (this.routes.recorded(session, message)) socket.close();
        return;
      case 'state':
        session.state = message.state;
        session.claim = message.claim;
        session.outstanding = message.outstanding;
        session.lost = message.lost;
        session.code = message.code;
        session.record = message.record;
        session.play = message.play;
        this.routes.stateChanged(session);
    }
  }

  dropped(socket: WebSocket): void {
    const session = this.bySocket.get(socket);
    this.bySocket.delete(socket);
    if (!session) return;
    session.end('the connection dropped');
    if (this.sessions.get(session.identity.uid) === session) this.sessions.delete(session.identity.uid);
  }

  command<T extends CommandType>(uid: string, command: { type: T } & CommandOf<T>): Promise<CommandResult<T>> {
    const session = this.sessions.get(uid);
    if (!session)
      return Promise.reject(new ShadowError('SHADOW_E_SIDECAR_UNREACHABLE', 'not connected', { retryable: true }));
    return session.request(command, this.epoch);
  }
}
