import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { decodeMessage, encodeMessage, messageLength } from '../../src/host/dbus/wire.ts';
import { connectLogind, inhibitShutdown } from '../../src/host/index.ts';

const daemon = '/usr/bin/dbus-daemon';
const missing = (() => {
  try {
    execFileSync(daemon, ['--version']);
    return false;
  } catch {
    return `${daemon} is not installed`;
  }
})();

const dir = mkdtempSync(join(tmpdir(), 'kat-logind-'));
const bus = join(dir, 'bus');
let child: ChildProcess | undefined;

before(async () => {
  if (missing) return;
  child = spawn(daemon, ['--session', '--nofork', '--nopidfile', `--address=unix:path=${bus}`, '--print-address'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout as NonNullable<ChildProcess['stdout']>, 'data');
});

after(() => {
  child?.kill();
  rmSync(dir, { recursive: true });
});

/** Speaks for logind and systemd on the bus, if those are its names: answers what it is asked, and tells of shutdowns. */
async function fakeLogind(names: readonly [string, string] = ['org.freedesktop.login1', 'org.freedesktop.systemd1']) {
  const socket = createConnection(bus);
  const asked: string[] = [];
  let asker = '';
  const answers = new Map<number, () => void>();
  let delayUs = 5_000_000n;
  let serial = 0;
  let data = Buffer.alloc(0);
  let ready = () => {};
  const isReady = new Promise<void>((resolve) => {
    ready = resolve;
  });
  const send = (message: Omit<Parameters<typeof encodeMessage>[0], 'serial'>) =>
    socket.write(encodeMessage({ serial: ++serial, ...message }));
  const own = (member: string, signature: string, body: (string | number)[]) =>
    send({
      type: 1,
      path: '/org/freedesktop/DBus',
      interface: 'org.freedesktop.DBus',
      destination: 'org.freedesktop.DBus',
      member,
      signature,
      body,
    });
  socket.write(`\0AUTH EXTERNAL ${Buffer.from(String(process.getuid?.())).toString('hex')}\r\n`);
  socket.once('data', () => {
    socket.write('BEGIN\r\n');
    own('Hello', '', []);
    for (const name of names) own('RequestName', 'su', [name, 4]);
    socket.on('data', (chunk) => {
      data = Buffer.concat([data, chunk as Buffer]);
      for (;;) {
        const length = messageLength(data);
        if (length === undefined || data.length < length) return;
        const message = decodeMessage(data.subarray(0, length));
        data = data.subarray(length);
        if (message.type === 2 && message.replySerial === 3) ready();
        if (message.type === 2) answers.get(message.replySerial ?? 0)?.();
        if (message.type !== 1) continue;
        asker = message.sender ?? '';
        asked.push(`${message.interface}.${message.member} ${message.body.join(' ')}`);
        const reply = { type: 2, replySerial: message.serial, destination: message.sender ?? '' };
        if (message.member === 'Get') send({ ...reply, signature: 'v', body: [{ signature: 't', value: delayUs }] });
        else {
          delayUs = 30_000_000n;
          send({ ...reply, signature: '', body: [] });
        }
      }
    });
  });
  await isReady;
  return {
    asked,
    get asker() {
      return asker;
    },
    /** Resolves when the bus has passed on what was sent before. */
    passedOn: () =>
      new Promise<void>((resolve) => {
        answers.set(serial + 1, resolve);
        own('GetId', '', []);
      }),
    tell: (begins: boolean, destination = '') =>
      send({
        destination,
        type: 4,
        path: '/org/freedesktop/login1',
        interface: 'org.freedesktop.login1.Manager',
        member: 'PrepareForShutdown',
        signature: 'b',
        body: [begins],
      }),
    end: () => socket.destroy(),
  };
}

test('logind is asked and listened to over a real message bus', { skip: missing }, async () => {
  const peer = await fakeLogind();
  const override = join(dir, 'logind.conf.d', '99-kubelet.conf');
  const logind = await connectLogind(bus, override);
  assert.equal(await logind.inhibitDelayMs(), 5_000);
  await logind.requestInhibitDelay(30_000);
  assert.match(readFileSync(override, 'utf8'), /\[Login\]\nInhibitDelayMaxSec=30\n/);
  assert.equal(await logind.inhibitDelayMs(), 30_000);
  assert.deepEqual(peer.asked.slice(0, 2), [
    'org.freedesktop.DBus.Properties.Get org.freedesktop.login1.Manager InhibitDelayMaxUSec',
    'org.freedesktop.systemd1.Manager.KillUnit systemd-logind.service all 1',
  ]);
  const told: boolean[] = [];
  let next = () => {};
  await logind.onShutdown((begins) => {
    told.push(begins);
    next();
  });
  const impostor = await fakeLogind(['kat.first', 'kat.second']);
  impostor.tell(true);
  impostor.tell(true, peer.asker);
  await impostor.passedOn();
  impostor.end();
  for (const begins of [true, false]) {
    const arrived = new Promise<void>((resolve) => {
      next = resolve;
    });
    peer.tell(begins);
    await arrived;
  }
  assert.deepEqual(told, [true, false]);
  peer.end();
  await assert.rejects(logind.inhibitDelayMs(), {
    code: 'DBUS_CALL',
    message: /ServiceUnknown|NoReply|Disconnected|not provided/,
  });
  logind.close();
  await logind.closed;
  await assert.rejects(logind.inhibitDelayMs(), { code: 'DBUS_CLOSED' });
});

test('no bus, and one that is none, are errors that say so', async () => {
  await assert.rejects(connectLogind(join(dir, 'none')), { code: 'DBUS_CONNECT', message: /none.*ENOENT/ });
});

test('an inhibitor holds until it is released', async () => {
  const lock = await inhibitShutdown(['cat']);
  lock.release();
  await lock.ended;
  await assert.rejects(inhibitShutdown(['sh', '-c', 'echo no logind >&2; exit 1']), {
    code: 'INHIBIT_FAILED',
    message: /no logind/,
  });
  await assert.rejects(inhibitShutdown(['/nowhere/systemd-inhibit']), { code: 'INHIBIT_FAILED' });
});
