import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  AgentError,
  type ImageReference,
  parseImageReference,
  silentLogger,
  withDefaultTag,
} from '../../../../src/core/index.ts';
import type { Secret } from '../../../../src/kube/index.ts';
import { createKeyring, rulesOf } from '../../../../src/kubelet/images/keyring.ts';
import { createNodeCredentials } from '../../../../src/kubelet/images/node-credentials.ts';
import { defaultPullPolicy } from '../../../../src/kubelet/images/policy.ts';
import { goMillis, type ImageError, ImagePuller } from '../../../../src/kubelet/images/puller.ts';
import { FakeClock, settle } from '../../../fakes/clock.ts';
import { makePod } from '../../../fakes/pods.ts';
import { FakeImages } from '../../../fakes/runtime.ts';

function reference(text: string): ImageReference {
  const parsed = parseImageReference(text);
  assert.ok(parsed.ok, text);
  return parsed.reference;
}

describe('image references', () => {
  const digest = `sha256:${'a'.repeat(64)}`;
  for (const [text, domain, path, tag, withDigest] of [
    ['busybox', 'docker.io', 'library/busybox', undefined, undefined],
    ['busybox:1.36', 'docker.io', 'library/busybox', '1.36', undefined],
    ['user/app', 'docker.io', 'user/app', undefined, undefined],
    ['docker.io/busybox', 'docker.io', 'library/busybox', undefined, undefined],
    ['localhost:5000/a/b:c', 'localhost:5000', 'a/b', 'c', undefined],
    ['ghcr.io/x/y@sha256:', 'ghcr.io', 'x/y', undefined, digest],
    ['[fd00::1]:5000/x:1', '[fd00::1]:5000', 'x', '1', undefined],
  ] as const)
    it(text, () => {
      const full = text.endsWith('sha256:') ? text.slice(0, -7) + digest : text;
      assert.deepEqual(reference(full), { domain, path, tag, digest: withDigest });
    });

  it('say what is wrong in the words of the original', () => {
    const error = (text: string) => {
      const parsed = parseImageReference(text);
      return parsed.ok ? undefined : parsed.error;
    };
    assert.equal(error('Bad::Name'), 'invalid reference format: repository name (library/Bad) must be lowercase');
    assert.equal(error(''), 'invalid reference format');
    assert.equal(error('a b'), 'invalid reference format');
    assert.equal(error('x:'), 'invalid reference format');
    assert.equal(
      error('a'.repeat(64)),
      `invalid repository name (${'a'.repeat(64)}), cannot specify 64-byte hexadecimal strings`,
    );
  });

  it('any text gives an answer', () => {
    fc.assert(
      fc.property(fc.string(), (text) => void parseImageReference(text)),
      { numRuns: 3_000 },
    );
    parseImageReference('a/'.repeat(100_000)); // no pattern that takes for ever
    parseImageReference(`${'a-'.repeat(50_000)}!`);
  });

  it('get the tag and policy the original would give them', () => {
    assert.equal(withDefaultTag('busybox', reference('busybox')), 'busybox:latest');
    assert.equal(withDefaultTag('busybox:1', reference('busybox:1')), 'busybox:1');
    assert.equal(defaultPullPolicy(reference('busybox')), 'Always');
    assert.equal(defaultPullPolicy(reference('busybox:1')), 'IfNotPresent');
    assert.equal(defaultPullPolicy(reference(`busybox@${digest}`)), 'IfNotPresent');
  });
});

describe('registry credentials', () => {
  const auth = (user: string) => ({ auth: Buffer.from(`${user}:secret-${user}`).toString('base64') });
  const users = (config: unknown, image: string) =>
    createKeyring(rulesOf(config))
      .find(reference(image))
      .map((a) => a.username);

  it('fit by host and path, the more specific first', () => {
    const config = {
      auths: {
        'https://index.docker.io/v1/': auth('hub'),
        'registry.test': auth('all'),
        'registry.test/team': auth('team'),
        '*.example.com': auth('star'),
        'registry.test:5000': auth('port'),
        '[fd00::1]:5000': auth('v6'),
      },
    };
    assert.deepEqual(users(config, 'busybox'), ['hub']);
    assert.deepEqual(users(config, 'registry.test/team/app'), ['team', 'all']);
    assert.deepEqual(users(config, 'registry.test/teamx/app'), ['all']);
    assert.deepEqual(users(config, 'a.example.com/x'), ['star']);
    assert.deepEqual(users(config, 'a.b.example.com/x'), []);
    assert.deepEqual(users(config, 'registry.test:5000/x'), ['port']);
    assert.deepEqual(users(config, '[fd00::1]:5000/x'), ['v6']);
    assert.deepEqual(users(config, '[fd00::1]:5001/x'), []);
    assert.deepEqual(users({ 'quay.io': { username: 'old', password: 'ancient-config' } }, 'quay.io/x'), ['old']);
  });

  it('whatever is in the file', () => {
    fc.assert(
      fc.property(fc.anything(), (config) => void createKeyring(rulesOf(config)).find(reference('a.b/c'))),
      { numRuns: 2_000 },
    );
  });
});

describe('getting images', () => {
  function setUp(secrets: Record<string, unknown> = {}) {
    const clock = new FakeClock();
    const images = new FakeImages();
    const events: string[] = [];
    const puller = new ImagePuller({
      images: images.service,
      clock,
      log: silentLogger,
      secret: async (_, name) => {
        if (!(name in secrets)) throw new Error('not found');
        const data = { '.dockerconfigjson': Buffer.from(JSON.stringify(secrets[name])).toString('base64') };
        return { metadata: {}, data } as Secret;
      },
    });
    const ensure = (image: string, policy = 'IfNotPresent', pullSecrets: string[] = []) =>
      puller.ensure({
        pod: makePod('p', { imagePullSecrets: pullSecrets.map((name) => ({ name })) }, { uid: 'u' }),
        container: { name: 'main', image, imagePullPolicy: policy },
        event: (type, reason, message) => events.push(`${type} ${reason} ${message}`),
        podEvent: (type, reason, message) => events.push(`pod ${type} ${reason} ${message}`),
        signal: new AbortController().signal,
      });
    return { clock, images, events, puller, ensure };
  }

  it('tells of a pull with its time and size', async () => {
    const { clock, images, events, ensure } = setUp();
    images.pull = () => clock.advance(1_500);
    await ensure('x:1');
    assert.deepEqual(events, [
      'Normal Pulling Pulling image "x:1"',
      'Normal Pulled Successfully pulled image "x:1" in 1.5s (1.5s including waiting). Image size: 1234 bytes.',
    ]);
  });

  it('keeps to the policy', async () => {
    const { images, events, ensure, puller } = setUp();
    await assert.rejects(ensure('x:1', 'Never'), (e: ImageError) => e.code === 'ErrImageNeverPull');
    assert.equal(events[0], 'Warning ErrImageNeverPull Container image "x:1" is not present with pull policy of Never');
    images.present.add('x:1');
    puller.presence.changed();
    await ensure('x:1', 'IfNotPresent');
    assert.equal(images.calls.filter((c) => c.startsWith('pull')).length, 0);
    await ensure('x:1', 'Always');
    assert.equal(images.calls.filter((c) => c.startsWith('pull')).length, 1);
  });

  it('pulls once for many who ask at the same time', async () => {
    const { images, ensure } = setUp();
    let finish = () => {};
    images.pull = () =>
      new Promise<void>((resolve) => {
        finish = resolve;
      });
    const all = Promise.all([ensure('x:1'), ensure('x:1'), ensure('x:1')]);
    await settle();
    finish();
    await all;
    assert.equal(images.calls.filter((c) => c.startsWith('pull')).length, 1);
  });

  it('tries credentials one after the other and says which secret is missing', async () => {
    const { images, events, ensure } = setUp({
      good: {
        auths: {
          'r.test': { username: 'u', password: 'long-password' },
          'r.test/a': { username: 'bad', password: 'other-password' },
        },
      },
    });
    images.pull = (_, auth) => {
      if ((auth as { username?: string } | undefined)?.username !== 'u')
        throw new AgentError({ code: 'CRI_UNKNOWN', message: 'unauthorized' });
    };
    await ensure('r.test/a/b:1', 'Always', ['good', 'absent']);
    assert.match(events[1] ?? '', /^pod Warning FailedToRetrieveImagePullSecret .*\(absent\)/);
  });

  it('backs off per pod and image, doubling, and forgets with the pod', async () => {
    const { clock, images, ensure, puller } = setUp();
    images.pull = () => {
      throw new AgentError({ code: 'CRI_UNKNOWN', message: 'no route' });
    };
    const code = () =>
      ensure('x:1').then(
        () => 'ok',
        (e: ImageError) => e.code,
      );
    assert.equal(await code(), 'ErrImagePull');
    assert.equal(await code(), 'ImagePullBackOff');
    await clock.advance(10_001);
    assert.equal(await code(), 'ErrImagePull');
    await clock.advance(10_001);
    assert.equal(await code(), 'ImagePullBackOff');
    await clock.advance(10_001);
    assert.equal(await code(), 'ErrImagePull');
    puller.forgetPod('u');
    assert.equal(await code(), 'ErrImagePull');
  });

  it('names a bad name', async () => {
    const { ensure, events } = setUp();
    const text =
      'Failed to apply default image tag "Bad::Name": couldn\'t parse image name "Bad::Name": invalid reference format: repository name (library/Bad) must be lowercase';
    await assert.rejects(ensure('Bad::Name'), (e: ImageError) => e.code === 'InvalidImageName' && e.message === text);
    assert.deepEqual(events, [`Warning InspectFailed ${text}`]);
  });

  it('prints durations as Go does', () => {
    assert.deepEqual([0.4, 523.9, 1204, 61_500, 120_000, 3_723_004].map(goMillis), [
      '0s',
      '523ms',
      '1.204s',
      '1m1.5s',
      '2m0s',
      '1h2m3.004s',
    ]);
  });
});

it('a broken file of the node’s credentials is told of without what stands in it', async () => {
  const lines: string[] = [];
  const log = {
    ...silentLogger,
    warn: (message: string, fields?: object) => void lines.push(`${message} ${JSON.stringify(fields)}`),
  };
  const puller = new ImagePuller({
    images: new FakeImages().service,
    clock: new FakeClock(),
    log,
    secret: () => Promise.reject(new Error('none')),
    nodeCredentials: createNodeCredentials({
      files: ['/absent', '/broken'],
      read: async (path) => (path === '/broken' ? '{"auths":{"r.test":{"auth":c2VjcmV0cGFzcw==}}}' : undefined),
      log,
    }),
  });
  await puller.ensure({
    pod: makePod('p'),
    container: { name: 'main', image: 'r.test/x:1' },
    event: () => {},
    podEvent: () => {},
    signal: new AbortController().signal,
  });
  assert.equal(lines.length, 1);
  assert.match(lines[0] as string, /not JSON/);
  assert.ok(!lines[0]?.includes('c2Vjcm'), lines[0]);
});
