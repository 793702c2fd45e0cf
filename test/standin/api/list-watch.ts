import type { IncomingMessage, ServerResponse } from 'node:http';
import { apiVersionOf, type Kind } from '../kinds.ts';
import type { Obj } from '../objects.ts';
import { keyOf } from '../objects.ts';
import { type Predicate, parseFieldSelector, parseLabelSelector } from '../selectors.ts';
import { badRequest, expired, type StatusError } from '../status.ts';
import type { Store, StoreEvent } from '../storage.ts';
import { type Rendering, renderingFor } from './render.ts';
import { isTrue } from './request.ts';
import { sendJson } from './respond.ts';

export interface ListTarget {
  store: Store;
  kind: Kind;
  namespace?: string;
  /** A request on one name (`GET …/pods/x?watch=1`) is a list of that name. */
  name?: string;
  query: URLSearchParams;
}

export function selectionOf({ kind, namespace, name, query }: Omit<ListTarget, 'store'>): Predicate {
  const labels = parseLabelSelector(query.get('labelSelector') ?? undefined);
  const fields = parseFieldSelector(kind.kind, query.get('fieldSelector') ?? undefined);
  return (object) =>
    (namespace === undefined || object.metadata.namespace === namespace) &&
    (name === undefined || object.metadata.name === name) &&
    labels(object) &&
    fields(object);
}

interface Continue {
  v: string;
  rv: number;
  start: string;
}

export function serveList(target: ListTarget, request: IncomingMessage, response: ServerResponse): void {
  const { store, kind, namespace, query } = target;
  const selected = selectionOf(target);
  const token = query.get('continue');
  const from = token ? parseContinue(token) : undefined;
  if (from && from.rv < store.floor(kind))
    throw expired('The provided continue parameter is too old to display a consistent list result.');
  let objects = store.list(kind, namespace).filter(selected);
  if (from)
    objects = objects.filter((object) => keyOf(object.metadata.namespace, object.metadata.name ?? '') > from.start);
  const limit = Number(query.get('limit') ?? 0);
  const version = from?.rv ?? store.version;
  const metadata: Record<string, unknown> = { resourceVersion: String(version) };
  if (limit > 0 && objects.length > limit) {
    const last = objects[limit - 1] as Obj;
    const next: Continue = {
      v: 'meta.k8s.io/v1',
      rv: version,
      start: keyOf(last.metadata.namespace, last.metadata.name ?? ''),
    };
    metadata.continue = Buffer.from(JSON.stringify(next)).toString('base64url');
    metadata.remainingItemCount = objects.length - limit;
    objects = objects.slice(0, limit);
  }
  sendJson(response, 200, renderingFor(request, query).list(kind, objects, metadata));
}

function parseContinue(token: string): Continue {
  try {
    const value = JSON.parse(Buffer.from(token, 'base64url').toString()) as Continue;
    if (typeof value.rv === 'number' && typeof value.start === 'string') return value;
  } catch {
    // not one of ours
  }
  throw badRequest('invalid continue token: continue key is not valid');
}

/** Watches by which the server stops; closed when it goes away. */
export interface WatchOptions {
  bookmarkMs: number;
  open: Set<ServerResponse>;
}

export function serveWatch(
  target: ListTarget,
  request: IncomingMessage,
  response: ServerResponse,
  options: WatchOptions,
): void {
  const { store, kind, query } = target;
  const selected = selectionOf(target);
  const rendering = renderingFor(request, query);
  const bookmarks = isTrue(query.get('allowWatchBookmarks') ?? 'false');
  const asked = query.get('resourceVersion') ?? '';
  if (asked !== '' && !/^\d+$/.test(asked))
    throw badRequest(`Invalid value: "${asked}": strconv.ParseUint: parsing "${asked}": invalid syntax`);
  response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-cache, private' });
  response.flushHeaders();
  const write = (type: string, object: unknown) => void response.write(`${JSON.stringify({ type, object })}\n`);
  const send = (event: StoreEvent) => {
    const line = visible(event, selected);
    if (line) write(line.type, rendering.object(kind, line.object));
  };
  const bookmark = (annotations?: Record<string, string>) => {
    const metadata = { resourceVersion: String(store.version), ...(annotations ? { annotations } : {}) };
    write('BOOKMARK', { kind: kind.kind, apiVersion: apiVersionOf(kind), metadata });
  };
  if (asked === '' || asked === '0') sendCurrent(target, selected, rendering, write);
  else {
    const missed = store.eventsSince(kind, Number(asked));
    if (missed === undefined) {
      const status: StatusError = expired(`too old resource version: ${asked} (${store.floor(kind)})`);
      write('ERROR', status.toJSON());
      response.end();
      return;
    }
    if (isTrue(query.get('sendInitialEvents') ?? 'false')) sendCurrent(target, selected, rendering, write);
    else for (const event of missed) send(event);
  }
  if (isTrue(query.get('sendInitialEvents') ?? 'false')) bookmark({ 'k8s.io/initial-events-end': 'true' });

  const unsubscribe = store.subscribe((event) => {
    if (event.storage === kind.storage) send(event);
  });
  const seconds = Number(query.get('timeoutSeconds') ?? 0) || 1800 + Math.floor(Math.random() * 1800);
  const end = setTimeout(() => {
    if (bookmarks) bookmark();
    response.end();
  }, seconds * 1000);
  const tick = bookmarks ? setInterval(() => bookmark(), options.bookmarkMs) : undefined;
  options.open.add(response);
  response.on('close', () => {
    unsubscribe();
    clearTimeout(end);
    clearInterval(tick);
    options.open.delete(response);
  });
}

function sendCurrent(
  { store, kind, namespace }: ListTarget,
  selected: Predicate,
  rendering: Rendering,
  write: (type: string, object: unknown) => void,
): void {
  for (const object of store.list(kind, namespace))
    if (selected(object)) write('ADDED', rendering.object(kind, object));
}

/**
 * What a watcher with a selection sees of an event: an object that begins to match is ADDED, one that no longer does
 * is DELETED in its last matching form with the version of the event.
 */
function visible(event: StoreEvent, selected: Predicate): { type: string; object: Obj } | undefined {
  if (event.type === 'DELETED') return selected(event.object) ? { type: 'DELETED', object: event.object } : undefined;
  const now = selected(event.object);
  const before = event.previous !== undefined && selected(event.previous);
  if (now) return { type: before ? 'MODIFIED' : 'ADDED', object: event.object };
  if (!before || !event.previous) return undefined;
  const { resourceVersion } = event.object.metadata;
  return {
    type: 'DELETED',
    object: {
      ...event.previous,
      metadata: { ...event.previous.metadata, ...(resourceVersion ? { resourceVersion } : {}) },
    },
  };
}
