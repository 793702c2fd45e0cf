import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';
import type { Cri } from '../../src/cri/index.ts';
import { tar } from '../fakes/tar.ts';
import { createLab, type Lab, until, whyNot } from './cri-support.ts';

const skip = await whyNot(process.env.CONTAINERD_BIN);
const PASSWORD = 'kat-registry-password';

/** A registry with the image `any/repository:1`, for whoever knows the password. */
function startRegistry(): Promise<{ server: Server; port: number; seen: string[] }> {
  const blobs = new Map<string, { type: string; data: Buffer }>();
  const add = (type: string, data: Buffer) => {
    const digest = `sha256:${createHash('sha256').update(data).digest('hex')}`;
    blobs.set(digest, { type, data });
    return { mediaType: type, digest, size: data.length };
  };
  const media = 'application/vnd.oci.image';
  const layer = tar([{ name: 'hello', data: Buffer.from('hello') }]);
  const diffId = `sha256:${createHash('sha256').update(layer).digest('hex')}`;
  const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
  const config = { architecture, os: 'linux', rootfs: { type: 'layers', diff_ids: [diffId] } };
  const manifest = add(
    `${media}.manifest.v1+json`,
    Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: `${media}.manifest.v1+json`,
        config: add(`${media}.config.v1+json`, Buffer.from(JSON.stringify(config))),
        layers: [add(`${media}.layer.v1.tar`, layer)],
      }),
    ),
  );
  const seen: string[] = [];
  const server = createServer((request, response) => {
    seen.push(`${request.method} ${request.url}`);
    const expected = `Basic ${Buffer.from(`me:${PASSWORD}`).toString('base64')}`;
    if (request.headers.authorization !== expected) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="kat"' }).end();
      return;
    }
    const last = request.url?.split('?')[0]?.split('/').at(-1) ?? '';
    const blob = blobs.get(last === '1' ? manifest.digest : last);
    if (!blob) {
      response.writeHead(request.url?.startsWith('/v2/?') || request.url === '/v2/' ? 200 : 404).end();
      return;
    }
    const { type, data } = blob;
    const digest = `sha256:${createHash('sha256').update(data).digest('hex')}`;
    response.writeHead(200, { 'content-type': type, 'content-length': data.length, 'docker-content-digest': digest });
    response.end(request.method === 'HEAD' ? undefined : data);
  });
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve({ server, port: (server.address() as AddressInfo).port, seen }));
  });
}

describe('registries.yaml and pulls', { skip, timeout: 60_000 }, () => {
  let lab: Lab;
  let cri: Cri;
  let registry: Awaited<ReturnType<typeof startRegistry>>;

  before(async () => {
    registry = await startRegistry();
    lab = await createLab(process.env.CONTAINERD_BIN);
    cri = lab.make();
    await cri.start(AbortSignal.timeout(60_000));
  });
  after(async () => {
    registry.server.close();
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
