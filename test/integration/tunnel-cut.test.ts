import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { makePki } from './tunnel-support/pki.ts';

const SERVER_NS = 'kat-tunnel-s';
const AGENT_NS = 'kat-tunnel-a';
const PORT = 16443;
const skip = process.getuid?.() === 0 ? false : 'needs root for network namespaces';

interface Event {
  event: string;
  at: number;
  ok?: boolean;
  reason?: string;
  connected?: boolean;
  sessions?: number;
}

/** A peer process in a namespace with its events as they come. */
class Peer {
  readonly child: ChildProcess;
  readonly events: Event[] = [];
  #wake: () => void = () => {};

  constructor(ns: string, input: object) {
    this.child = spawn('ip', ['netns', 'exec', ns, process.execPath, `${import.meta.dirname}/tunnel-support/peer.ts`], {
      env: { ...process.env, PEER_INPUT: JSON.stringify(input) },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    createInterface({ input: this.child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      this.events.push(JSON.parse(line) as Event);
      this.#wake();
    });
  }

  /** The next event after place `from` that fits. */
  async next(from: number, fits: (event: Event) => boolean, limitMs: number): Promise<Event> {
    const deadline = Date.now() + limitMs;
    for (;;) {
      const found = this.events.slice(from).find(fits);
      if (found) return found;
      const left = deadline - Date.now();
      if (left <= 0)
        throw new Error(`nothing fitting within ${limitMs} ms: ${JSON.stringify(this.events.slice(from))}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill('SIGKILL');
    await once(this.child, 'exit');
  }
}

const ip = (...args: string[]) => execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'ignore'] });
const remove = () => {
  for (const ns of [SERVER_NS, AGENT_NS])
    try {
      ip('netns', 'del', ns);
    } catch {
      // Not there.
    }
};

let serverInput: object;
let server: Peer;
let agent: Peer;

before(async () => {
  if (skip) return;
  remove();
  for (const ns of [SERVER_NS, AGENT_NS]) {
    ip('netns', 'add', ns);
    ip('-n', ns, 'link', 'set', 'lo', 'up');
  }
  ip('link', 'add', 'eth0', 'netns', SERVER_NS, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', AGENT_NS);
  ip('-n', SERVER_NS, 'address', 'add', '10.98.0.1/24', 'dev', 'eth0');
  ip('-n', AGENT_NS, 'address', 'add', '10.98.0.2/24', 'dev', 'eth0');
  for (const ns of [SERVER_NS, AGENT_NS]) ip('-n', ns, 'link', 'set', 'eth0', 'up');
  const pki = makePki(['10.98.0.1']);
  serverInput = { role: 'server', pki, host: '10.98.0.1', port: PORT };
  server = new Peer(SERVER_NS, serverInput);
  await server.next(0, (e) => e.event === 'ready', 10_000);
  agent = new Peer(AGENT_NS, { role: 'agent', pki, host: '10.98.0.1', port: PORT });
  await agent.next(0, (e) => e.event === 'health' && e.ok === true, 10_000);
});

after(async () => {
  await server?.stop();
  await agent?.stop();
  if (!skip) remove();
});

/** Asks the server for an echo through the tunnel. */
async function echo(): Promise<Event> {
  const from = server.events.length;
  server.child.stdin?.write('\n');
  return server.next(from, (e) => e.event === 'echo', 5_000);
}

test('a cable pulled for 20 s: dead within 15 s, up within 5 s of its return, and used at once', { skip }, async () => {
  assert.ok((await echo()).ok);
  const from = agent.events.length;
  const pulled = Date.now();
  // At the server's end, so that this board sees no link event and nothing is refused: only silence.
  ip('-n', SERVER_NS, 'link', 'set', 'eth0', 'down');
  const dead = await agent.next(from, (e) => e.event === 'health' && e.ok === false, 16_000);
  assert.match(dead.reason ?? '', /nothing heard/);
  assert.ok(dead.at - pulled <= 15_000, `${dead.at - pulled} ms until it was noticed`);
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, pulled + 20_000 - Date.now())));
  const back = Date.now();
  ip('-n', SERVER_NS, 'link', 'set', 'eth0', 'up');
  const alive = await agent.next(from, (e) => e.event === 'health' && e.ok === true, 10_000);
  assert.ok(alive.at - back <= 5_000, `${alive.at - back} ms until it was up`);
  const answer = await echo();
  assert.ok(answer.ok, 'the server dials through its oldest session: it must have forgotten the dead one');
  assert.equal(answer.sessions, 1);
});

test('the board gets another address: a wake-up redials, and the server uses the new session', { skip }, async () => {
  const from = agent.events.length;
  ip('-n', AGENT_NS, 'address', 'del', '10.98.0.2/24', 'dev', 'eth0');
  ip('-n', AGENT_NS, 'address', 'add', '10.98.0.77/24', 'dev', 'eth0');
  const changed = Date.now();
  agent.child.stdin?.write('\n');
  const alive = await agent.next(from, (e) => e.event === 'health' && e.ok === true, 16_000);
  const answer = await echo();
  assert.ok(alive.at - changed < 15_000);
  assert.ok(answer.ok, `after ${Date.now() - changed} ms with ${answer.sessions} sessions`);
});

test('the server process dies and comes back: the tunnel follows within seconds', { skip }, async () => {
  const from = agent.events.length;
  await server.stop();
  await agent.next(from, (e) => e.event === 'health' && e.ok === false, 5_000);
  server = new Peer(SERVER_NS, serverInput);
  await server.next(0, (e) => e.event === 'session', 10_000);
  assert.ok((await echo()).ok);
});

test('a board that stood still for 16 s has not listened either: the session lives on', { skip }, async () => {
  await agent.next(0, () => agent.events.at(-1)?.ok === true, 10_000);
  const from = agent.events.length;
  agent.child.kill('SIGSTOP');
  await new Promise((resolve) => setTimeout(resolve, 16_000));
  agent.child.kill('SIGCONT');
  assert.ok((await echo()).ok);
  assert.deepEqual(agent.events.slice(from), []);
});
