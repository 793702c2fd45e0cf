import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import type { Cri } from '../../src/cri/index.ts';
import { createLab, type Lab, until, whyNot } from './cri-support.ts';
import { startRegistry, type TestRegistry } from './registry-support.ts';

const skip = await whyNot(process.env.CONTAINERD_BIN);
const PASSWORD = 'kat-registry-password';

describe('registries.yaml and pulls', { skip, timeout: 60_000 }, () => {
  let lab: Lab;
  let cri: Cri;
  let registry: TestRegistry;

  before(async () => {
    registry = await startRegistry({
      basic: { username: 'me', password: PASSWORD },
      data: Buffer.from('hello'),
    });
    lab = await createLab(process.env.CONTAINERD_BIN);
    cri = lab.make();
    await cri.start(AbortSignal.timeout(60_000));
  });
  after(async () => {
    registry.close();
    await lab.end();
  });

  const write = (password: string) =>
    writeFile(
      lab.options.registriesFile,
      `mirrors:
  kat.invalid:
    endpoint: ["http://127.0.0.1:${registry.port}"]
configs:
  "127.0.0.1:${registry.port}":
    auth: {username: me, password: "${password}"}
`,
    );
  const pull = (image: string) => {
    const [auth] = cri.registries.authFor(image);
    return cri.images.pullImage({ image }, auth, undefined, { signal: AbortSignal.timeout(20_000) });
  };

  it('applies mirrors and credentials to the next pull, without a restart of containerd', async () => {
    const { pid } = cri.status();
    await assert.rejects(pull('kat.invalid/a/b:1'));
    assert.equal(registry.seen.length, 0);

    await write('wrong-password');
    await until(() => cri.registries.authFor('kat.invalid/a/b:1')[0], 5_000);
    const refused = (await pull('kat.invalid/a/b:1').catch((e) => e)) as Error;
    assert.ok(registry.seen.length > 0, 'the mirror was asked');
    assert.match(refused.message, /kat\.invalid\/a\/b:1/);

    await write(PASSWORD);
    await until(() => cri.registries.authFor('kat.invalid/a/b:1')[0]?.password === PASSWORD || undefined, 5_000);
    const id = await pull('kat.invalid/a/b:1');
    assert.match(id, /^sha256:/);
    assert.deepEqual((await cri.images.imageStatus('kat.invalid/a/b:1'))?.repoTags, ['kat.invalid/a/b:1']);
    assert.equal(cri.status().pid, pid);
    assert.ok(!lab.lines.some((line) => line.includes(PASSWORD)));
  });
});
