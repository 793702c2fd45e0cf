import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  chooseNodeIps,
  chooseResolvConf,
  JoinFailure,
  joinPaths,
  type NetworkFacts,
  nodeName,
  nodePassword,
  orderNodeIps,
} from '../../../src/join/index.ts';
import { isUsableResolvConf } from '../../../src/join/resolv-conf.ts';

async function paths() {
  const dir = await mkdtemp(join(tmpdir(), 'kat-join-'));
  return joinPaths(dir, `${dir}/node`);
}
const step = (wanted: string) => (error: unknown) => error instanceof JoinFailure && error.step === wanted;

test('the node password is made once, and kept', async () => {
  const p = await paths();
  const password = await nodePassword(p);
  assert.match(password, /^[0-9a-f]{32}$/);
  assert.equal(await readFile(p.password, 'utf8'), `${password}\n`);
  assert.equal((await stat(p.password)).mode & 0o777, 0o600);
  assert.equal(await nodePassword(p), password);
});

test('the password of its old place is moved over', async () => {
  const p = await paths();
  await mkdir(p.agentDir, { recursive: true });
  await writeFile(p.oldPassword, 'old-password\n');
  assert.equal(await nodePassword(p), 'old-password');
  assert.equal((await readFile(p.password, 'utf8')).trim(), 'old-password');
  await assert.rejects(stat(p.oldPassword));
});

test('a damaged password file is an error that names it, and is left alone', async () => {
  const p = await paths();
  await mkdir(p.nodeDir, { recursive: true });
  for (const content of ['', '\0\0\0\0', 'two words']) {
    await writeFile(p.password, content);
    await assert.rejects(nodePassword(p), (e: unknown) => step('io')(e) && (e as Error).message.includes(p.password));
    assert.equal(await readFile(p.password, 'utf8'), content);
  }
});

test('a node folder that can not be made is told as such', async () => {
  const p = await paths();
  await rm(p.nodeDir, { recursive: true, force: true });
  await writeFile(p.nodeDir, 'a file is in the way');
  await assert.rejects(nodePassword(p), step('io'));
});

test('the node name is the given one or the host name, lower case, with the id if asked', async () => {
  const p = await paths();
  assert.equal(await nodeName({ nodeName: undefined, withNodeId: false, hostname: 'Pi-4.Local' }, p), 'pi-4.local');
  const named = await nodeName({ nodeName: 'Board', withNodeId: true }, p);
  assert.match(named, /^board-[0-9a-f]{8}$/);
  assert.equal(await nodeName({ nodeName: 'Board', withNodeId: true }, p), named);
  await assert.rejects(nodeName({ nodeName: undefined, withNodeId: false, hostname: 'my_board' }, p), (e: unknown) => {
    return step('config')(e) && /my-board/.test((e as JoinFailure).remedy ?? '');
  });
});

const HEAD4 = 'Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n';
const NOWHERE6 = `${'0'.repeat(32)} 00 ${'0'.repeat(32)} 00 ${'0'.repeat(32)} ffffffff 00000001 00000000 00200200       lo`;
const facts: NetworkFacts = {
  routes4: `${HEAD4}wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\neth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\neth0\t0000000A\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n`,
  routes6: `${'0'.repeat(32)} 00 ${'0'.repeat(32)} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0\n${NOWHERE6}\n`,
  interfaces: {
    lo: [{ address: '127.0.0.1' }, { address: '::1' }],
    eth0: [{ address: '10.0.0.5' }, { address: 'fe80::1' }, { address: 'fd00::5' }],
    wlan0: [{ address: '192.168.1.7' }],
    two: [{ address: '10.1.0.1' }, { address: '10.1.0.2' }],
  },
};
const none = { nodeIps: [], flannelIface: undefined };

test('node addresses come from the default route with the best metric, IPv4 first', () => {
  assert.deepEqual(chooseNodeIps(none, facts), ['10.0.0.5', 'fd00::5']);
  assert.deepEqual(chooseNodeIps(none, { ...facts, routes6: NOWHERE6 }), ['10.0.0.5']);
  assert.deepEqual(chooseNodeIps(none, { ...facts, routes4: HEAD4 }), ['fd00::5']);
  assert.throws(() => chooseNodeIps(none, { ...facts, routes4: HEAD4, routes6: '' }), step('tcp'));
});

test('--node-ip wins, then --flannel-iface with exactly one IPv4 address', () => {
  assert.deepEqual(chooseNodeIps({ nodeIps: ['1.2.3.4'], flannelIface: 'wlan0' }, facts), ['1.2.3.4']);
  assert.deepEqual(chooseNodeIps({ nodeIps: [], flannelIface: 'eth0' }, facts), ['10.0.0.5', 'fd00::5']);
  assert.throws(() => chooseNodeIps({ nodeIps: [], flannelIface: 'two' }, facts), step('config'));
  assert.throws(() => chooseNodeIps({ nodeIps: [], flannelIface: 'nope0' }, facts), step('config'));
});

test('the address of the family of pods goes first', () => {
  const six = [{ family: 6, address: 'fd42::', prefix: 56 }] as const;
  assert.deepEqual(orderNodeIps(['10.0.0.5', 'fd00::5'], six), ['fd00::5', '10.0.0.5']);
  assert.deepEqual(orderNodeIps(['10.0.0.5'], six), ['10.0.0.5']);
});

test('a resolv.conf is usable only if every name server can be reached from a pod', async () => {
  assert.ok(isUsableResolvConf('# x\nnameserver 10.0.0.1\nnameserver  fd00::1 \nsearch a\n'));
  assert.ok(isUsableResolvConf('nameserver 169.254.169.254\n'));
  for (const text of [
    '',
    'search a\n',
    'nameserver 127.0.0.53\n',
    'nameserver 10.0.0.1\nnameserver fe80::1%eth0\n',
    'nameserver x\n',
  ])
    assert.ok(!isUsableResolvConf(text), text);
  const p = await paths();
  const stub = `${p.agentDir}-stub`;
  await writeFile(stub, 'nameserver 127.0.0.53\n');
  const own = await chooseResolvConf(undefined, p.resolvConf, [stub, '/no/such/file']);
  assert.deepEqual(own, { path: p.resolvConf, generated: true });
  assert.match(await readFile(p.resolvConf, 'utf8'), /^nameserver 8\.8\.8\.8\nnameserver 2001:/);
  assert.equal((await chooseResolvConf('/given', p.resolvConf)).path, '/given');
});
