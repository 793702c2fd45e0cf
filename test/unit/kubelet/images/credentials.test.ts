import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { AgentError, silentLogger } from '../../../../src/core/index.ts';
import type { ExecOptions } from '../../../../src/host/index.ts';
import { matchesImage } from '../../../../src/kubelet/images/keyring.ts';
import { createNodeCredentials, nodeCredentialFiles } from '../../../../src/kubelet/images/node-credentials.ts';
import { durationMs, pluginConfigs } from '../../../../src/kubelet/images/plugins/config.ts';
import { createCredentialPlugins } from '../../../../src/kubelet/images/plugins/index.ts';
import { FakeClock } from '../../../fakes/clock.ts';

const V1 = 'credentialprovider.kubelet.k8s.io/v1';

function provider(extra: object = {}) {
  return {
    name: 'ecr',
    apiVersion: V1,
    matchImages: ['*.ecr.test', 'plain.test/team'],
    defaultCacheDuration: '1h',
    ...extra,
  };
}

function configOf(...providers: object[]) {
  return { apiVersion: 'kubelet.config.k8s.io/v1', kind: 'CredentialProviderConfig', providers };
}

function setUp(config: unknown, answer: (image: string) => object = () => ({})) {
  const clock = new FakeClock();
  const runs: { argv: readonly string[]; options: ExecOptions; image: string }[] = [];
  const lines: string[] = [];
  const write = (message: string, fields?: object) => void lines.push(`${message} ${JSON.stringify(fields)}`);
  const plugins = createCredentialPlugins({
    configFile: '/etc/cp.yaml',
    binDir: '/opt/cp',
    read: async () => [JSON.stringify(config)],
    parse: async (text) => [JSON.parse(text)],
    exec: {
      async run(argv, options = {}) {
        const { image } = JSON.parse(options.input as string) as { image: string };
        runs.push({ argv, options, image });
        const response = {
          kind: 'CredentialProviderResponse',
          apiVersion: V1,
          cacheKeyType: 'Registry',
          ...answer(image),
        };
        return { code: 0, stdout: JSON.stringify(response), stderr: '' };
      },
    },
    clock,
    log: { ...silentLogger, warn: write, error: write },
  });
  return { clock, plugins, runs, lines };
}

const auth = { '*.ecr.test': { username: 'AWS', password: 'a-password-of-today' } };

describe('credential provider plugins', () => {
  it('are run for their images, once for all who ask, and their answer is kept', async () => {
    const lab = setUp(configOf(provider({ args: ['get'], env: [{ name: 'REGION', value: 'eu' }] })), () => ({ auth }));
    const [a, b] = await Promise.all([lab.plugins('x.ecr.test/app'), lab.plugins('x.ecr.test/app')]);
    assert.deepEqual(a, b);
    assert.deepEqual(a, [{ host: '*.ecr.test', path: '', auth: { username: 'AWS', password: 'a-password-of-today' } }]);
    assert.deepEqual(await lab.plugins('other.test/app'), []);
    assert.equal(lab.runs.length, 1);
    assert.deepEqual(lab.runs[0]?.argv, ['/opt/cp/ecr', 'get']);
    assert.deepEqual(lab.runs[0]?.options.env, { REGION: 'eu' });
    assert.deepEqual(JSON.parse(lab.runs[0]?.options.input as string), {
      kind: 'CredentialProviderRequest',
      apiVersion: V1,
      image: 'x.ecr.test/app',
    });
    await lab.plugins('x.ecr.test/other'); // the same registry
    assert.equal(lab.runs.length, 1);
    await lab.plugins('y.ecr.test/other');
    assert.equal(lab.runs.length, 2);
    await lab.clock.advance(3_600_000);
    await lab.plugins('x.ecr.test/app');
    assert.equal(lab.runs.length, 3);
  });

  it('say for how long and for what their answer holds', async () => {
    let answer: object = { auth, cacheKeyType: 'Image', cacheDuration: '10s' };
    const lab = setUp(configOf(provider()), () => answer);
    await lab.plugins('x.ecr.test/a');
    await lab.plugins('x.ecr.test/a');
    await lab.plugins('x.ecr.test/b');
    assert.equal(lab.runs.length, 2);
    await lab.clock.advance(10_000);
    answer = { auth, cacheKeyType: 'Global', cacheDuration: '0s' };
    await lab.plugins('x.ecr.test/a');
    await lab.plugins('x.ecr.test/a');
    assert.equal(lab.runs.length, 4);
  });

  it('that fail or answer nonsense give none, and no password gets into the log', async () => {
    for (const broken of [
      { cacheKeyType: 'Sometimes', auth },
      { apiVersion: 'credentialprovider.kubelet.k8s.io/v2', auth },
      { kind: 'Else', auth },
    ]) {
      const lab = setUp(configOf(provider()), () => broken);
      assert.deepEqual(await lab.plugins('x.ecr.test/a'), []);
      assert.equal(lab.lines.length, 1);
      assert.ok(!lab.lines[0]?.includes('of-today'));
    }
    const lab = setUp(configOf(provider(), provider({ name: 'two' })), () => {
      throw new AgentError({ code: 'EXEC_FAILED', message: 'no token' });
    });
    assert.deepEqual(await lab.plugins('x.ecr.test/a'), []);
    assert.equal(lab.lines.length, 2);
  });

  it('with a wrong configuration are told of once, with what is wrong', async () => {
    const lab = setUp(configOf(provider({ name: '../sh' })));
    await lab.plugins('x.ecr.test/a');
    await lab.plugins('x.ecr.test/a');
    assert.equal(lab.lines.length, 1);
    assert.match(lab.lines[0] as string, /providers\[0\]\.name must be the name of a program/);
    for (const [config, text] of [
      [{}, /no CredentialProviderConfig/],
      [configOf(), /providers names none/],
      [configOf(provider(), provider()), /there twice/],
      [configOf(provider({ apiVersion: 'v1' })), /apiVersion must be one of/],
      [configOf(provider({ matchImages: [] })), /at least one/],
      [configOf(provider({ defaultCacheDuration: 'soon' })), /duration/],
      [configOf(provider({ tokenAttributes: {} })), /not supported/],
    ] as const)
      assert.throws(() => pluginConfigs(config), text);
    fc.assert(
      fc.property(fc.anything(), (config) => {
        try {
          pluginConfigs(config);
        } catch (error) {
          assert.ok(error instanceof AgentError);
        }
      }),
    );
  });

  it('match images as upstream does', () => {
    assert.ok(matchesImage('*.ecr.test', 'x.ecr.test/a/b'));
    assert.ok(!matchesImage('*.ecr.test', 'x.y.ecr.test/a'));
    assert.ok(!matchesImage('*.ecr.test', 'x.ecr.test:5000/a'));
    assert.ok(matchesImage('*.ecr.test:5000/a', 'x.ecr.test:5000/a/b'));
    assert.ok(matchesImage('docker.io', 'docker.io/library/busybox'));
    assert.equal(durationMs('1h30m0.5s'), 5_400_500);
    assert.equal(durationMs('0'), 0);
  });
});

describe("the node's credentials", () => {
  it('come from the first file that is there, before those of plugins', async () => {
    const files: Record<string, string> = {
      '/root/.docker/config.json': '{"auths":{"r.test":{"username":"docker","password":"one-password"}}}',
      '/var/lib/kubelet/.dockercfg': '{"r.test":{"username":"old","password":"other-password"}}',
    };
    const find = createNodeCredentials({
      files: nodeCredentialFiles('/var/lib/kubelet', '/root'),
      read: async (path) => files[path],
      plugins: async () => [{ host: 'r.test', path: '', auth: { username: 'plugin' } }],
      log: silentLogger,
    });
    const users = async () => (await find('r.test/x')).map(({ auth: { username } }) => username);
    assert.deepEqual(await users(), ['docker', 'plugin']);
    files['/var/lib/kubelet/config.json'] = '{"auths":{"r.test":{"username":"kubelet","password":"third-password"}}}';
    assert.deepEqual(await users(), ['kubelet', 'plugin']);
    files['/var/lib/kubelet/config.json'] = 'torn';
    assert.deepEqual(await users(), ['docker', 'plugin']);
  });
});
