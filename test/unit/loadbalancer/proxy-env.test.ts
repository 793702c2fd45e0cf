import assert from 'node:assert/strict';
import { test } from 'node:test';
import { proxyFor } from '../../../src/loadbalancer/index.ts';

const allowed = { K3S_AGENT_HTTP_PROXY_ALLOWED: 'true', HTTPS_PROXY: 'http://proxy:3128' };
const via = (server: string, env: Record<string, string>) => proxyFor(new URL(server), env)?.href;

test('no proxy without the permission, whatever the environment says', () => {
  assert.equal(via('https://192.0.2.1:6443', { HTTPS_PROXY: 'http://proxy:3128' }), undefined);
  assert.equal(via('https://192.0.2.1:6443', allowed), 'http://proxy:3128/');
  assert.equal(via('https://192.0.2.1:6443', { ...allowed, HTTPS_PROXY: 'proxy:3128' }), 'http://proxy:3128/');
  assert.equal(
    via('https://192.0.2.1', { K3S_AGENT_HTTP_PROXY_ALLOWED: '1', https_proxy: 'socks5://p:1' }),
    'socks5://p:1',
  );
});

test('NO_PROXY takes names, domains, addresses, blocks and ports', () => {
  const cases: [string, string, boolean][] = [
    ['https://k3s.lan:6443', 'k3s.lan', true],
    ['https://a.k3s.lan:6443', 'k3s.lan', true],
    ['https://xk3s.lan:6443', 'k3s.lan', false],
    ['https://k3s.lan:6443', '.k3s.lan', false],
    ['https://a.k3s.lan:6443', '.k3s.lan', true],
    ['https://k3s.lan:6443', 'k3s.lan:443', false],
    ['https://k3s.lan:6443', 'other, k3s.lan:6443', true],
    ['https://192.0.2.1:6443', '192.0.2.0/24', true],
    ['https://192.0.3.1:6443', '192.0.2.0/24', false],
    ['https://[fd00::1]:6443', 'fd00::/8', true],
    ['https://[fd00::1]:6443', 'fd00:0::1', true],
    ['https://192.0.2.1:6443', '*', true],
    ['https://127.0.0.1:6443', '', true],
    ['https://localhost:6443', '', true],
  ];
  for (const [server, rule, direct] of cases)
    assert.equal(via(server, { ...allowed, NO_PROXY: rule }) === undefined, direct, `${server} ${rule}`);
});

test('a value that is no proxy is refused with what would be one', () => {
  for (const HTTPS_PROXY of ['ftp://proxy', 'http://']) {
    assert.throws(() => via('https://192.0.2.1', { ...allowed, HTTPS_PROXY }), { code: 'PROXY_INVALID' });
  }
});
