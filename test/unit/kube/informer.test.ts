import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Clock, silentLogger, systemClock } from '../../../src/core/index.ts';
import { type Change, Informer, KubeError, type KubeObject, type WatchEvent } from '../../../src/kube/index.ts';
import { FakeClock, settle } from '../../fakes/clock.ts';

/** A collection whose lists and watches the test scripts; each watch is fed through `push` and ended by `end`. */
class Collection {
  items: KubeObject[] = [];
  version = 1;
  lists: (string | undefined)[] = [];
  watches: string[] = [];
  refuse: KubeError[] = [];
  #feed: ((event: WatchEvent<unknown> | Error | undefined) => void) | undefined;
  #arrived: (() => void)[] = [];

  get = async (_path: string, options: { query?: Record<string, unknown> }) => {
    this.lists.push(options.query?.resourceVersion as string | undefined);
    const refusal = this.refuse.shift();
    if (refusal) throw refusal;
    return { metadata: { resourceVersion: String(this.version) }, items: structuredClone(this.items) } as never;
  };

  onReachable = () => () => {};

  watch = (request: { query?: Record<string, unknown>; signal?: AbortSignal }) => this.#watch(request) as never;

  async *#watch(request: { query?: Record<string, unknown>; signal?: AbortSignal }) {
    this.watches.push(String(request.query?.resourceVersion));
    const queue: (WatchEvent<unknown> | Error | undefined)[] = [];
    let wake = () => {};
    this.#feed = (event) => {
      queue.push(event);
      wake();
    };
    request.signal?.addEventListener('abort', () => this.#feed?.(undefined));
    for (const fn of this.#arrived.splice(0)) fn();
    while (true) {
      if (queue.length === 0)
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      const event = queue.shift();
      if (event === undefined) return;
      if (event instanceof Error) throw event;
      yield event;
    }
  }

  nextWatch(): Promise<void> {
    return new Promise((resolve) => this.#arrived.push(resolve));
  }

  push(type: WatchEvent<unknown>['type'], object: unknown): void {
    this.#feed?.({ type, object });
  }

  end(error?: Error): void {
    this.#feed?.(error);
  }
}

const pod = (name: string, version: number, uid = name): KubeObject => ({
  metadata: { namespace: 'd', name, uid, resourceVersion: String(version) },
});

function informer(
  collection: Collection,
  options: { clock?: Clock; transform?: (object: KubeObject) => KubeObject | undefined } = {},
) {
  const changes: string[] = [];
  const waiting: { text: string; resolve: () => void }[] = [];
  const made = new Informer<KubeObject>({
    client: collection as never,
    path: '/api/v1/pods',
    log: silentLogger,
    clock: systemClock,
    ...options,
  });
  made.subscribe((change: Change<KubeObject>) => {
    const text = `${change.type} ${change.key}`;
    changes.push(text);
    for (const entry of waiting.splice(0))
      if (entry.text === text) entry.resolve();
      else waiting.push(entry);
  });
  const seen = (text: string) =>
    changes.includes(text) ? Promise.resolve() : new Promise<void>((resolve) => waiting.push({ text, resolve }));
  return { made, changes, seen };
}

test('a broken watch goes on from the last version, bookmarks included', async () => {
  const collection = new Collection();
  collection.items = [pod('a', 1)];
  const { made, changes, seen } = informer(collection);
  let watching = collection.nextWatch();
  await made.start(new AbortController().signal);
  await watching;
  collection.push('ADDED', pod('b', 5));
  collection.push('BOOKMARK', { metadata: { resourceVersion: '9' } });
  await seen('added d/b');
  watching = collection.nextWatch();
  collection.end();
  await watching;
  assert.deepEqual(collection.watches, ['1', '9']);
  assert.equal(collection.lists.length, 1);
  assert.deepEqual(changes, ['added d/a', 'added d/b']);
  await made.stop();
});

test('after 410 the list is taken anew, not from the stale cache, and what vanished meanwhile is reported', async () => {
  const collection = new Collection();
  collection.items = [pod('a', 1), pod('b', 1)];
  const { made, seen } = informer(collection);
  const watching = collection.nextWatch();
  await made.start(new AbortController().signal);
  await watching;
  collection.items = [pod('a', 7), pod('c', 8)];
  collection.version = 8;
  collection.push('ERROR', { code: 410, message: 'too old resource version', reason: 'Expired' });
  await Promise.all([seen('updated d/a'), seen('added d/c'), seen('deleted d/b')]);
  assert.deepEqual(collection.lists, ['0', undefined]);
  await made.stop();
});

test('an object deleted and made anew unseen is a deletion and an addition', async () => {
  const collection = new Collection();
  collection.items = [pod('a', 1, 'first')];
  const { made, changes, seen } = informer(collection);
  const watching = collection.nextWatch();
  await made.start(new AbortController().signal);
  await watching;
  collection.push('MODIFIED', pod('a', 3, 'second'));
  await seen('deleted d/a');
  assert.deepEqual(changes, ['added d/a', 'deleted d/a', 'added d/a']);
  await made.stop();
});

test('while the server refuses, the copy stays and nothing is reported deleted', async () => {
  const collection = new Collection();
  collection.items = [pod('a', 1)];
  const { made, changes } = informer(collection);
  let watching = collection.nextWatch();
  await made.start(new AbortController().signal);
  await watching;
  watching = collection.nextWatch();
  collection.end(new KubeError({ status: 0, message: 'connection reset' }));
  await watching;
  assert.equal(made.get('d/a')?.metadata.name, 'a');
  assert.deepEqual(changes, ['added d/a']);
  await made.stop();
});

test('a handler that throws on one object does not end the watch', async () => {
  const collection = new Collection();
  collection.items = [pod('bad', 1), pod('good', 2)];
  const { made, seen } = informer(collection);
  made.subscribe((change) => {
    if (change.key === 'd/bad') throw new Error('poison');
  });
  const watching = collection.nextWatch();
  await made.start(new AbortController().signal);
  await watching;
  collection.push('ADDED', pod('later', 3));
  await seen('added d/later');
  collection.push('ADDED', { metadata: {} });
  collection.push('ADDED', null);
  collection.push('ADDED', pod('last', 4));
  await seen('added d/last');
  await made.stop();
});

test('a server that ends every watch as it begins is not asked without a pause', async () => {
  const collection = new Collection();
  const clock = new FakeClock();
  const { made } = informer(collection, { clock });
  await made.start(new AbortController().signal);
  for (let i = 0; i < 50; i++) {
    collection.end();
    await settle();
  }
  assert.equal(collection.watches.length, 1);
  await clock.advance(1_000);
  assert.ok(collection.watches.length > 1, 'it goes on after the pause');
  await made.stop();
});

test('a server that answers every watch with 410 is met with growing pauses', async () => {
  const collection = new Collection();
  const clock = new FakeClock();
  const { made } = informer(collection, { clock });
  await made.start(new AbortController().signal);
  await settle();
  for (let second = 0; second < 60; second++) {
    collection.end(new KubeError({ status: 410, message: 'too old' }));
    await clock.advance(1_000);
  }
  assert.ok(collection.lists.length >= 3 && collection.lists.length < 30, `${collection.lists.length} lists`);
  await made.stop();
});

test('an object that can not be trimmed keeps no other from being known', async () => {
  const collection = new Collection();
  collection.items = [pod('a', 1), pod('odd', 1), pod('b', 1)];
  const { made, changes } = informer(collection, {
    transform: (object) => {
      if (object.metadata.name === 'odd') throw new TypeError('no spec');
      return object;
    },
  });
  await made.start(new AbortController().signal);
  await made.whenSynced();
  assert.deepEqual(changes, ['added d/a', 'added d/b']);
  await made.stop();
});

test('a server that was restored from a backup while it was away is listed anew', async () => {
  const collection = new Collection();
  const clock = new FakeClock();
  collection.items = [pod('a', 5_000)];
  collection.version = 5_000;
  const { made, changes } = informer(collection, { clock });
  await made.start(new AbortController().signal);
  await settle();
  collection.end(new KubeError({ status: 0, message: 'connection refused' }));
  await settle();
  collection.items = [pod('a', 900), pod('b', 1_001)];
  collection.version = 1_001;
  await clock.advance(10_000);
  assert.deepEqual(changes, ['added d/a', 'updated d/a', 'added d/b']);
  assert.deepEqual(collection.watches, ['5000', '1001']);
  await made.stop();
});

test('a server that was only away is asked for what happened meanwhile and nothing else', async () => {
  const collection = new Collection();
  const clock = new FakeClock();
  const asked: unknown[] = [];
  const { get } = collection;
  collection.get = async (path, options) => {
    asked.push(options.query?.fieldSelector);
    return get(path, options);
  };
  collection.items = [pod('a', 7)];
  collection.version = 7;
  const { made } = informer(collection, { clock });
  await made.start(new AbortController().signal);
  await settle();
  collection.end(new KubeError({ status: 0, message: 'no answer' }));
  await clock.advance(10_000);
  assert.deepEqual(asked, [undefined, 'metadata.name=none']);
  assert.deepEqual(collection.watches, ['7', '7']);
  await made.stop();
});

test('a server that is behind the one before by a moment is not taken for an older one', async () => {
  const collection = new Collection();
  const clock = new FakeClock();
  collection.items = [pod('a', 100)];
  collection.version = 100;
  const { made } = informer(collection, { clock });
  await made.start(new AbortController().signal);
  await settle();
  collection.end(new KubeError({ status: 0, message: 'connection refused' }));
  await settle();
  collection.version = 99;
  await clock.advance(1_000);
  collection.version = 101;
  await clock.advance(10_000);
  assert.deepEqual(collection.watches, ['100', '100']);
  await made.stop();
});
