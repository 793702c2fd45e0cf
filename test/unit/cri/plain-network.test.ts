import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { PLAIN_HANDLER, withPlainNetwork } from '../../../src/cri/plain-network.ts';
import type { PodSandboxConfig, RuntimeService } from '../../../src/cri/types.ts';

describe('a pod is given the short network chain', () => {
  async function setUp() {
    const dir = await mkdtemp(join(tmpdir(), 'kat-plain-'));
    const configs = {
      conflist: join(dir, 'net.d/10-flannel.conflist'),
      plain: join(dir, 'plain.d/10-flannel.conflist'),
    };
    await mkdir(join(dir, 'net.d'));
    await mkdir(join(dir, 'plain.d'));
    for (const path of Object.values(configs)) await writeFile(path, '{}');
    const used: string[] = [];
    let known = true;
    const fake = {
      runPodSandbox: async (_: PodSandboxConfig, handler: string) => void used.push(handler),
      status: async () => ({
        conditions: [],
        runtimeHandlers: ['', 'runc', PLAIN_HANDLER].map((name) => ({ name })),
      }),
    };
    const service = withPlainNetwork(fake as unknown as RuntimeService, () => (known ? configs : undefined));
    const handlerFor = async (config: Partial<PodSandboxConfig>, handler = '') => {
      await service.runPodSandbox(config as PodSandboxConfig, handler);
      return used.at(-1);
    };
    return { dir, configs, service, handlerFor, forget: () => (known = false) };
  }

  it('unless it has host ports, a bandwidth limit or a RuntimeClass', async () => {
    const { dir, handlerFor, service } = await setUp();
    assert.equal(await handlerFor({}), PLAIN_HANDLER);
    assert.equal(await handlerFor({ annotations: { 'kubernetes.io/egress-bandwidth': '1M' } }), '');
    assert.equal(
      await handlerFor({ portMappings: [{ protocol: 'TCP', containerPort: 80, hostPort: 80, hostIp: '' }] }),
      '',
    );
    assert.equal(await handlerFor({}, 'nvidia'), 'nvidia');
    // Of no concern to the Node, which lists the handlers.
    assert.deepEqual(
      (await service.status()).runtimeHandlers.map(({ name }) => name),
      ['', 'runc'],
    );
    await rm(dir, { recursive: true });
  });

  it('only while the configuration in force is the own one, and containerd knows of the other', async () => {
    const { dir, configs, handlerFor, forget } = await setUp();
    await writeFile(join(dir, 'net.d/00-multus.conf'), '{}');
    assert.equal(await handlerFor({}), '');
    await rm(join(dir, 'net.d/00-multus.conf'));
    await writeFile(join(dir, 'net.d/00-readme.txt'), '');
    assert.equal(await handlerFor({}), PLAIN_HANDLER);
    await rm(configs.plain);
    assert.equal(await handlerFor({}), '');
    await writeFile(configs.plain, '{}');
    forget();
    assert.equal(await handlerFor({}), '');
    await rm(dir, { recursive: true });
  });
});
