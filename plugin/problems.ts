/** What went wrong, in the catalogue's words. */
import { asShadowError, CATALOGUE, type ErrorCode, isErrorCode, ShadowError } from '../webhook/api/errors.ts';
import { ApiError, type Call } from './api.ts';
import { RESOURCE } from './kinds.ts';

const resourceOf = (call: Call): string => {
  const { group, plural } = RESOURCE[call.kind];
  return group ? `${plural}.${group}` : plural;
};

const placeOf = (call: Call): string =>
  RESOURCE[call.kind].namespaced
    ? call.namespace
      ? `in namespace ${call.namespace}`
      : 'in all namespaces'
    : 'cluster-wide';

/** What to do about a server that was not reached, by the code of the failed connection. */
const UNREACHED: Record<string, string> = {
  ECONNREFUSED: 'nothing listens there: is the cluster up, is it the right context?',
  ENOTFOUND: 'its name is unknown: is it the right context, is the network up?',
  EAI_AGAIN: 'its name could not be looked up: is the network up?',
  ETIMEDOUT: 'it did not answer: is the network up, is --request-timeout long enough?',
  EHOSTUNREACH: 'there is no way to it: is the network up?',
  ENETUNREACH: 'there is no way to it: is the network up?',
};

/** A refusal of our own webhook carries its code in the message. */
const CODE = /\[?\b(SHADOW_E_[A-Z_]+)\b\]?:?/;

/** What a text says beside the catalogue's message of its code. */
export const detailOf = (code: ErrorCode, text: string): string => {
  const { message } = CATALOGUE[code];
  return text.startsWith(message) ? text.slice(message.length).replace(/^[:\s]+/, '') : text;
};

const carried = (error: ApiError): ShadowError | undefined => {
  const code = CODE.exec(error.message)?.[1];
  if (code === undefined || !isErrorCode(code)) return undefined;
  const told = error.message
    .replace(/^admission webhook "[^"]*" denied the request: /, '')
    .replace(CODE, '')
    .trim();
  return new ShadowError(code, detailOf(code, told), { cause: error });
};

const refusal = (error: ApiError): ShadowError => {
  const { call, status, message } = error;
  const options = { cause: error };
  if (status === 401)
    return new ShadowError('SHADOW_E_FORBIDDEN', `the credentials are not accepted (${message})`, options);
  if (status === 403) {
    return new ShadowError(
      'SHADOW_E_FORBIDDEN',
      `cannot ${call.verb} ${resourceOf(call)} ${placeOf(call)}: ${message}`,
      options,
    );
  }
  // The API server answers a path of an unknown resource with a 404 that names no object.
  if (status === 404 && call.kind === 'StatefulMigration' && !message.includes(call.name ?? '"')) {
    return new ShadowError('SHADOW_E_NOT_INSTALLED', '', options);
  }
  return new ShadowError('SHADOW_E_API', `${call.verb} ${resourceOf(call)}: ${message}`, options);
};

const explain = (error: ApiError): ShadowError => {
  if (error.status !== 0) return carried(error) ?? refusal(error);
  const what = UNREACHED[error.reason] ?? 'see the reason given';
  return new ShadowError('SHADOW_E_API', `the API server was not reached (${error.message}); ${what}`, {
    cause: error,
  });
};

/** Anything thrown, as the ShadowError the user sees. */
export const problemOf = (error: unknown): ShadowError =>
  error instanceof ApiError ? explain(error) : asShadowError(error);

/** What goes to standard error. The stack only for those who ask for it. */
export const printed = (error: ShadowError, debug: boolean): string => {
  const lines = [`error: ${error.message} [${error.code}]`, `hint: ${error.hint}`];
  if (!debug) return lines.join('\n');
  const cause = error.cause instanceof Error ? `\ncaused by ${error.cause.stack}` : '';
  return [...lines, `${error.stack}${cause}`].join('\n');
};
