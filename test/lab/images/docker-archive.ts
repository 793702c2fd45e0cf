import { createHash } from 'node:crypto';
import { type TarEntry, tar } from '../../fakes/tar.ts';

export interface ImageSpec {
  /** Full references, such as `docker.io/library/busybox:latest`. */
  tags: readonly string[];
  files: readonly TarEntry[];
  entrypoint?: readonly string[];
  command?: readonly string[];
  /** Node's name of the architecture; this machine's when left out. */
  arch?: string;
}

const GO_ARCH: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64', arm: 'arm' };
const CREATED = '2024-01-01T00:00:00Z';

/** One image as `docker save` writes it: a layer, a configuration and manifest.json in a tar. */
export function dockerArchive(spec: ImageSpec): Buffer {
  const layer = tar(spec.files);
  const diffId = `sha256:${sha256(layer)}`;
  const config = Buffer.from(
    JSON.stringify({
      architecture: GO_ARCH[spec.arch ?? process.arch] ?? spec.arch,
      os: 'linux',
      created: CREATED,
      config: {
        Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
        ...(spec.entrypoint ? { Entrypoint: spec.entrypoint } : {}),
        ...(spec.command ? { Cmd: spec.command } : {}),
      },
      rootfs: { type: 'layers', diff_ids: [diffId] },
      history: [{ created: CREATED }],
    }),
  );
  const configName = `${sha256(config)}.json`;
  const layerName = `${sha256(layer)}/layer.tar`;
  const manifest = [{ Config: configName, RepoTags: spec.tags, Layers: [layerName] }];
  return tar([
    { name: configName, data: config },
    { name: `${sha256(layer)}/` },
    { name: layerName, data: layer },
    { name: 'manifest.json', data: Buffer.from(JSON.stringify(manifest)) },
  ]);
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
