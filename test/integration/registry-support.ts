import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tar } from '../fakes/tar.ts';

export interface TestRegistry {
  port: number;
  /** `METHOD path`, with the range if one was asked for. */
  readonly seen: string[];
  /** Layers are cut off after that many bytes, once each, and the connection falls silent. */
  stallAfter: number | undefined;
  close(): void;
}

export interface TestRegistryOptions {
  /** Who may pull; left out: everybody. */
  basic?: { username: string; password: string };
  /** Content of the one file of the one layer. */
  data: Buffer;
}

const MEDIA = 'application/vnd.oci.image';

/** A registry on the loopback address whose every repository has one image, with the tag 1. */
export function startRegistry({ basic, data }: TestRegistryOptions): Promise<TestRegistry> {
  const blobs = new Map<string, { type: string; data: Buffer }>();
  const add = (type: string, content: Buffer) => {
    const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`;
    blobs.set(digest, { type, data: content });
    return { mediaType: type, digest, size: content.length };
  };
  const layer = tar([{ name: 'hello', data }]);
  const diffId = `sha256:${createHash('sha256').update(layer).digest('hex')}`;
  const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
  const config = { architecture, os: 'linux', rootfs: { type: 'layers', diff_ids: [diffId] } };
  const document = {
    schemaVersion: 2,
    mediaType: `${MEDIA}.manifest.v1+json`,
    config: add(`${MEDIA}.config.v1+json`, Buffer.from(JSON.stringify(config))),
    layers: [add(`${MEDIA}.layer.v1.tar`, layer)],
  };
  const manifest = add(`${MEDIA}.manifest.v1+json`, Buffer.from(JSON.stringify(document)));
  const expected = basic && `Basic ${Buffer.from(`${basic.username}:${basic.password}`).toString('base64')}`;

  const answer = (request: IncomingMessage, response: ServerResponse) => {
    const range = /^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1];
    registry.seen.push(`${request.method} ${request.url}${range === undefined ? '' : ` from ${range}`}`);
    if (expected !== undefined && request.headers.authorization !== expected) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="kat"' }).end();
      return;
    }
    const last = request.url?.split('?')[0]?.split('/').at(-1) ?? '';
    const blob = blobs.get(last === '1' ? manifest.digest : last);
    if (!blob) {
      response.writeHead(request.url?.startsWith('/v2/?') || request.url === '/v2/' ? 200 : 404).end();
      return;
    }
    const digest = `sha256:${createHash('sha256').update(blob.data).digest('hex')}`;
    const from = Number(range ?? 0);
    const body = blob.data.subarray(from);
    response.writeHead(range === undefined ? 200 : 206, {
      'content-type': blob.type,
      'content-length': body.length,
      'docker-content-digest': digest,
      ...(range === undefined ? {} : { 'content-range': `bytes ${from}-${blob.data.length - 1}/${blob.data.length}` }),
    });
    if (request.method === 'HEAD') response.end();
    else if (registry.stallAfter !== undefined && blob.type.includes('layer')) {
      response.write(body.subarray(0, registry.stallAfter));
      registry.stallAfter = undefined;
    } else response.end(body);
  };
  const server = createServer(answer);
  const registry: TestRegistry = {
    port: 0,
    seen: [],
    stallAfter: undefined,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      registry.port = (server.address() as AddressInfo).port;
      resolve(registry);
    });
  });
}
