import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { AgentError } from '../../../src/core/index.ts';
import {
  batchFailures,
  countRules,
  createIp,
  decideNetfilter,
  type Exec,
  ensureSysctl,
  type IptablesTable,
  loadModules,
  parseMonitorLine,
  parseSaved,
  planIptables,
} from '../../../src/host/index.ts';

const answers = (by: (argv: readonly string[]) => Partial<{ stdout: string; stderr: string; code: number }>): Exec => ({
  run: async (argv) => ({ code: 0, stdout: '', stderr: '', ...by(argv) }),
});

describe('ip', () => {
  it('maps refused lines of a batch to their commands', () => {
    const stderr =
      'Cannot find device "nope"\nCommand failed -:2\nRTNETLINK answers: File exists\nCommand failed -:3\n';
    assert.deepEqual(batchFailures(stderr, ['a', 'b', 'c']), [
      { index: 1, command: 'b', message: 'Cannot find device "nope"' },
      { index: 2, command: 'c', message: 'RTNETLINK answers: File exists' },
    ]);
  });
  it('reads links, routes and entries; a missing tunnel device is no error', async () => {
    const ip = createIp(
      answers((argv) =>
        argv[0] === 'bridge'
          ? { stdout: '', stderr: 'Cannot find device "flannel.1"\nCommand failed -:1\n', code: 1 }
          : {
              stdout:
                '[{"ifindex":2,"ifname":"eth0","flags":["UP"],"mtu":1500,"addr_info":[{"family":"inet","local":"10.0.0.2","prefixlen":24,"scope":"global"}]}]\n' +
                '[{"type":"unicast","dst":"default","gateway":"10.0.0.1","dev":"eth0","protocol":"dhcp","flags":[]},{"type":"blackhole","dst":"10.9.0.0/16"}]\n[]\n',
            },
      ),
    );
    const state = await ip.read({ families: [4], fdbOf: ['flannel.1'] });
    assert.equal(state.links.get('eth0')?.addresses[0]?.address, '10.0.0.2');
    assert.deepEqual(
      state.routes.map((r) => [r.dst, r.dev]),
      [['0.0.0.0/0', 'eth0']],
    );
    assert.deepEqual(state.fdb, []);
  });
  it('says plainly that busybox is not enough', async () => {
    const ip = createIp(answers(() => ({ stdout: 'BusyBox v1.35', code: 1 })));
    await assert.rejects(
      ip.check(),
      (e) => e instanceof AgentError && e.code === 'IP_TOOL' && /iproute2/.test(e.remedy ?? ''),
    );
  });
});

describe('the monitor', () => {
  it('understands link, address and route lines', () => {
    const of = (line: string) => parseMonitorLine(line)?.event;
    assert.deepEqual(of('[LINK]Deleted 4: flannel.1: <BROADCAST,MULTICAST> mtu 1450'), {
      kind: 'link',
      deleted: true,
      dev: 'flannel.1',
    });
    assert.deepEqual(of('[LINK]3: eth0@x0: <UP> mtu 1500'), { kind: 'link', deleted: false, dev: 'eth0' });
    assert.deepEqual(
      of(
        '[ADDR]3: eth0    inet 10.99.0.9/24 scope global secondary eth0\\       valid_lft forever preferred_lft forever',
      ),
      {
        kind: 'address',
        deleted: false,
        dev: 'eth0',
        subject: '10.99.0.9/24',
      },
    );
    assert.deepEqual(of('[ROUTE]Deleted default via fd00:99::1 dev eth0 metric 1024 pref medium'), {
      kind: 'route',
      deleted: true,
      dev: 'eth0',
      subject: 'default',
    });
    assert.equal(of('[ROUTE]local 10.99.0.9 dev eth0 table local proto kernel'), undefined);
  });
  it('sees no change in a lifetime that counts down', () => {
    const fact = (lft: number) =>
      parseMonitorLine(
        `[ADDR]2: eth0    inet6 2001:db8::5/64 scope global dynamic \\       valid_lft ${lft}sec preferred_lft ${lft}sec`,
      )?.fact;
    assert.equal(fact(86400), fact(86399));
    const route = (lft: number) =>
      parseMonitorLine(`[ROUTE]default via fe80::1 dev eth0 proto ra metric 100 expires ${lft}sec pref medium`)?.fact;
    assert.equal(route(1800), route(1799));
  });
  it('survives any line', () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.constantFrom('[LINK]', '[ADDR]', '[ROUTE]', ''),
        (text, label) => void parseMonitorLine(label + text),
      ),
    );
  });
});

describe('the choice of the rule system', () => {
  const none = { usable: false, foreign: 0, kubernetes: 0 };
  const clean = { usable: true, foreign: 0, kubernetes: 0 };
  const nft18 = 'iptables v1.8.9 (nf_tables)\n';
  it('is the variant of the host on a clean host', () => {
    const c = decideNetfilter({ version: nft18, legacy: clean, nfTables: clean, nftChains: undefined });
    assert.deepEqual([c.kind, c.variant, c.infix, c.randomFully], ['iptables', 'nf_tables', '', true]);
  });
  it('follows the rules of the host', () => {
    const c = decideNetfilter({
      version: nft18,
      legacy: { ...clean, foreign: 5 },
      nfTables: { ...clean, kubernetes: 9 },
      nftChains: undefined,
    });
    assert.deepEqual([c.variant, c.infix, c.leftoverInfix], ['legacy', '-legacy', '-nft']);
  });
  it('is legacy where the kernel has no nf_tables, as on a Jetson', () => {
    const c = decideNetfilter({ version: nft18, legacy: clean, nfTables: none, nftChains: undefined });
    assert.equal(c.variant, 'legacy');
    assert.match(c.reason, /kernel does not support/);
  });
  it('knows what old iptables can not do', () => {
    const c = decideNetfilter({ version: 'iptables v1.6.1\n', legacy: clean, nfTables: none, nftChains: undefined });
    assert.deepEqual([c.variant, c.infix, c.randomFully, c.waits], ['legacy', '', false, false]);
  });
  it('is nft without iptables, and warns of a firewall that drops', () => {
    const chains =
      'table inet filter {\n chain forward {\n type filter hook forward priority filter; policy drop;\n }\n}\n';
    const c = decideNetfilter({ version: undefined, legacy: none, nfTables: none, nftChains: chains });
    assert.equal(c.kind, 'nft');
    assert.equal(c.warnings.length, 1);
  });
  it('says what to install when there is nothing', () => {
    assert.throws(
      () => decideNetfilter({ version: undefined, legacy: none, nfTables: none, nftChains: undefined }),
      /neither iptables nor/,
    );
  });
  it('counts drop policies and tells own rules from foreign ones', () => {
    assert.deepEqual(
      countRules(
        '*filter\n:FORWARD DROP [0:0]\n-A FORWARD -j DOCKER-USER\n-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD\n',
      ),
      {
        usable: true,
        foreign: 2,
        kubernetes: 1,
      },
    );
  });
});

describe('iptables chains', () => {
  const wanted: IptablesTable = {
    table: 'nat',
    chains: { MINE: ['-s 10.0.0.0/8 -j RETURN', '-j MASQUERADE'] },
    jumps: [{ chain: 'POSTROUTING', rule: '-j MINE' }],
    obsolete: (chain, rule) => chain === 'POSTROUTING' && rule.includes('old'),
  };
  const right =
    '*nat\n:POSTROUTING ACCEPT [0:0]\n:MINE - [0:0]\n-A POSTROUTING -j MINE\n-A MINE -s 10.0.0.0/8 -j RETURN\n-A MINE -j MASQUERADE\nCOMMIT\n';
  it('are written whole when missing', () => {
    assert.equal(
      planIptables(parseSaved(''), [wanted]),
      '*nat\n:MINE - [0:0]\n-A MINE -s 10.0.0.0/8 -j RETURN\n-A MINE -j MASQUERADE\n-A POSTROUTING -j MINE\nCOMMIT\n',
    );
  });
  it('are left alone when right', () => {
    assert.equal(planIptables(parseSaved(right), [wanted]), undefined);
  });
  it('lose extra jumps and obsolete rules only', () => {
    const saved = right.replace(
      '-A POSTROUTING -j MINE\n',
      '-A POSTROUTING -j MINE\n-A POSTROUTING -j MINE\n-A POSTROUTING -j old\n-A POSTROUTING -j KUBE\n',
    );
    assert.equal(
      planIptables(parseSaved(saved), [wanted]),
      '*nat\n-D POSTROUTING -j old\n-D POSTROUTING -j MINE\nCOMMIT\n',
    );
  });
});

describe('modules and settings', () => {
  it('names the modules that could not be loaded, with one process for all', async () => {
    const root = await mkdtemp(join(tmpdir(), 'kat-modules-'));
    const calls: string[][] = [];
    const exec = answers((argv) => {
      calls.push([...argv]);
      return { code: 1, stderr: 'modprobe: FATAL: Module br_netfilter not found in directory /lib/modules/6.1\n' };
    });
    const result = await loadModules({ exec, names: ['overlay', 'br_netfilter'], root });
    assert.deepEqual(result.missing, ['br_netfilter']);
    assert.deepEqual(calls, [['modprobe', '-a', 'overlay', 'br_netfilter']]);
    await rm(root, { recursive: true });
  });
  it('writes a setting only if it differs', async () => {
    const written: string[] = [];
    const sysctl = { get: async () => '1', set: async (key: string) => void written.push(key) };
    assert.equal(await ensureSysctl(sysctl, 'a', '1'), false);
    assert.equal(await ensureSysctl(sysctl, 'b', '2'), true);
    assert.deepEqual(written, ['b']);
  });
});
