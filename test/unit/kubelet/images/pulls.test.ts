import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AgentError, silentLogger } from '../../../../src/core/index.ts';
import type { ImageService } from '../../../../src/cri/types.ts';
import { pullFailure } from '../../../../src/kubelet/images/failure.ts';
import { type ImageError, ImagePuller } from '../../../../src/kubelet/images/puller.ts';
import type { Download } from '../../../../src/kubelet/images/stall.ts';
import { FakeClock, settle } from '../../../fakes/clock.ts';
import { makePod } from '../../../fakes/pods.ts';
import { FakeImages } from '../../../fakes/runtime.ts';

describe('what a failed pull is called', () => {
  const failure = (code: string, message: string) => pullFailure('r.test/x:1', new AgentError({ code, message }));

  it('has gRPC’s words before the runtime’s, but for a code that says nothing', () => {
    assert.deepEqual(failure('CRI_NOT_FOUND', 'failed to resolve reference: not found'), {
      reason: 'ErrImagePull',
      message: 'rpc error: code = NotFound desc = failed to resolve reference: not found',
    });
    assert.equal(failure('CRI_UNKNOWN', 'unexpected status').message, 'unexpected status');
    assert.equal(failure('CRI_CANCELLED', 'x').message, 'rpc error: code = Canceled desc = x');
    assert.equal(failure('CRI_DEADLINE_EXCEEDED', 'x').message, 'rpc error: code = DeadlineExceeded desc = x');
  });

  it('is another thing if the runtime knows why', () => {
    assert.deepEqual(failure('CRI_UNKNOWN', 'RegistryUnavailable: dial tcp: refused'), {
      reason: 'RegistryUnavailable',
      message: 'image pull failed for r.test/x:1 because the registry is unavailable: dial tcp: refused',
    });
    assert.equal(failure('CRI_UNKNOWN', 'SignatureValidationFailed').reason, 'SignatureValidationFailed');
  });
});

describe('a pull over a bad link', () => {
  function setUp() {
    const clock = new FakeClock();
    const downloads: Download[] = [];
    const images = new FakeImages();
    const cut: boolean[] = [];
    let finish: () => void = () => {};
    const service = Object.assign(images, {
      pullImage: (spec: { image: string }, _auth: unknown, _sandbox: unknown, options: { signal: AbortSignal }) =>
        new Promise<string>((resolve, reject) => {
          const at = cut.push(false) - 1;
          options.signal.addEventListener('abort', () => {
            cut[at] = true;
            reject(new Error('canceled'));
          });
          finish = () => {
            images.present.add(spec.image);
            resolve(`sha256:${spec.image}`);
          };
        }),
    });
    const puller = new ImagePuller({
      images: service as unknown as ImageService,
      clock,
      log: silentLogger,
      secret: () => Promise.reject(new Error('none')),
      downloads: async () => downloads,
    });
    const result = puller
      .ensure({
        pod: makePod('p'),
        container: { name: 'main', image: 'r.test/x:1' },
        event: () => {},
        podEvent: () => {},
        signal: new AbortController().signal,
      })
      .then(
        (image) => image.id,
        (error: ImageError) => `${error.code}: ${error.message}`,
      );
    const progress = (offset: number) => downloads.splice(0, 1, { ref: 'layer', offset, total: 8e6 });
    return { clock, cut, result, progress, finish: () => finish() };
  }

  it('goes on as long as anything comes', async () => {
    const lab = setUp();
    for (let i = 0; i < 60; i++) {
      lab.progress(i * 1000);
      await lab.clock.advance(50_000);
    }
    lab.finish();
    assert.equal(await lab.result, 'sha256:r.test/x:1');
    await settle();
    assert.equal(lab.clock.timers, 0);
  });

  it('is cut off when nothing comes, with a text that says how far it was', async () => {
    const lab = setUp();
    lab.progress(3_100_000);
    await lab.clock.advance(80_000);
    assert.equal(
      await lab.result,
      'ErrImagePull: failed to pull image "r.test/x:1": no progress for 60s at 3.1 of 8.0 MB, cut off to be tried again',
    );
    assert.deepEqual(lab.cut, [true]);
  });

  it('is begun again at once if something had come before', async () => {
    const lab = setUp();
    lab.progress(1_000);
    await lab.clock.advance(10_000);
    lab.progress(2_000);
    await lab.clock.advance(80_000);
    assert.deepEqual(lab.cut, [true, false]);
    lab.finish();
    assert.equal(await lab.result, 'sha256:r.test/x:1');
  });

  it('may be silent for long while layers are unpacked', async () => {
    const lab = setUp();
    await lab.clock.advance(10 * 60_000);
    assert.deepEqual(lab.cut, [false]);
    await lab.clock.advance(10 * 60_000);
    assert.match(await lab.result, /no progress for 900s, cut off/);
  });
});
