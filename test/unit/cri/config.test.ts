import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { supportedVersion } from '../../../src/cri/containerd/binary.ts';
import { type ConfigInput, layoutFor, renderConfig } from '../../../src/cri/containerd/config.ts';

const base: ConfigInput = {
  version: supportedVersion('containerd github.com/containerd/containerd v1.6.20 abc'),
  templateDir: '/var/lib/rancher/k3s/agent/etc/containerd',
  root: '/var/lib/rancher/k3s/agent/containerd',
  state: '/run/k3s/containerd',
  socket: '/run/k3s/containerd/containerd.sock',
  streamPort: 10010,
  sandboxImage: 'registry.test/pause:3.10',
  snapshotter: 'overlayfs',
  registryDir: '/var/lib/rancher/k3s/agent/etc/containerd/certs.d',
  runtimes: [],
  defaultRuntime: undefined,
  cni: { binDirs: ['/usr/lib/cni', '/opt/cni/bin'], confDir: '/var/lib/rancher/k3s/agent/etc/cni/net.d' },
  systemdCgroup: false,
  disableCgroup: false,
  userNamespace: false,
  mayLowerOomScore: true,
  unprivilegedPorts: true,
  selinux: false,
  nonrootDevices: false,
  blockioFile: undefined,
  rdtFile: undefined,
};
const v = (text: string) => ({ version: supportedVersion(`containerd x v${text} y`) });
const nvidia = {
  runtimes: [{ name: 'nvidia', type: 'io.containerd.runc.v2', binary: '/usr/bin/nvidia-container-runtime' }],
  defaultRuntime: 'nvidia',
};
const CASES: Record<string, Partial<ConfigInput>> = {
  '1.6': {},
  '1.6-systemd-nvidia': { systemdCgroup: true, ...nvidia },
  '1.7-no-resource-capability': { ...v('1.7.24'), mayLowerOomScore: false, cni: undefined },
  '1.6-crun-plain-network': {
    runtimes: [{ name: 'crun', type: 'io.containerd.runc.v2', binary: '/usr/bin/crun' }],
    defaultRuntime: 'crun',
    cni: { binDirs: ['/usr/lib/cni'], confDir: '/x/net.d', plainConfDir: '/x/plain.d' },
  },
  '2.3-plain-network': {
    ...v('2.3.2'),
    cni: { binDirs: ['/usr/lib/cni'], confDir: '/x/net.d', plainConfDir: '/x/plain.d' },
  },
  '2.0': { ...v('2.0.5') },
  '2.3-systemd-nvidia': { ...v('2.3.2-k3s2'), systemdCgroup: true, ...nvidia },
  '2.3-user-namespace': { ...v('2.3.2'), userNamespace: true, disableCgroup: true, unprivilegedPorts: false },
  '2.3-stargz': { ...v('2.3.2'), snapshotter: 'stargz', selinux: true, nonrootDevices: true },
  '2.3-nix-blockio': {
    ...v('2.3.2'),
    snapshotter: 'nix',
    blockioFile: '/x/blockio_config.yaml',
    rdtFile: '/x/rdt.yaml',
  },
};

const folder = new URL('../../fixtures/cri/', import.meta.url);

describe("containerd's configuration", () => {
  for (const [name, change] of Object.entries(CASES))
    it(`is as agreed for ${name}`, async () => {
      const input = { ...base, ...change };
      const text = renderConfig(input, layoutFor(input.version));
      const file = new URL(`config-${name}.toml`, folder);
      if (process.env.UPDATE_FIXTURES) {
        await mkdir(folder, { recursive: true });
        await writeFile(file, text);
      }
      assert.equal(text, await readFile(file, 'utf8'));
    });

  it('gives one CNI folder to a containerd that knows only one', () => {
    assert.match(renderConfig(base, 2), /\n {2}bin_dir = "\/usr\/lib\/cni"\n/);
    assert.match(renderConfig({ ...base, ...v('2.0.0') }, 3), /\n {2}bin_dir = "\/usr\/lib\/cni"\n/);
    assert.match(
      renderConfig({ ...base, ...v('2.1.0') }, 3),
      /\n {2}bin_dirs = \["\/usr\/lib\/cni", "\/opt\/cni\/bin"\]\n/,
    );
  });

  it('never holds credentials and never switches off the snapshotter in use', () => {
    const text = renderConfig({ ...base, snapshotter: 'btrfs' }, 2);
    assert.doesNotMatch(text, /auth|password/);
    assert.doesNotMatch(text, /snapshotter\.v1\.btrfs/);
    assert.match(text, /snapshotter\.v1\.zfs/);
  });

  it('restricts oom_score_adj exactly when it could not be lowered', () => {
    assert.doesNotMatch(renderConfig(base, 2), /restrict_oom_score_adj/);
    const restricted = renderConfig({ ...base, mayLowerOomScore: false }, 2);
    assert.match(restricted, /restrict_oom_score_adj = true/);
    assert.doesNotMatch(restricted, /^oom_score/m);
  });

  it('has each table once', () => {
    for (const change of Object.values(CASES)) {
      const input = { ...base, ...change };
      const headers = renderConfig(input, layoutFor(input.version)).match(/^\[[^[].*\]$/gm) ?? [];
      assert.equal(new Set(headers).size, headers.length);
    }
  });

  it('reads the version of every packaging and refuses what is too old', () => {
    const minor = (text: string) => supportedVersion(text).minor;
    assert.equal(minor('containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3'), 6);
    assert.equal(minor('containerd github.com/k3s-io/containerd/v2 v2.3.2-k3s2 '), 3);
    assert.equal(minor('containerd containerd.io 1.7.24 88bf19b2105c8b17560993bee28a01ddc2f97182'), 7);
    assert.throws(() => supportedVersion('containerd x v1.4.13 y'), { code: 'CONTAINERD_UNSUPPORTED' });
    assert.throws(() => supportedVersion('bash: no'), { code: 'CONTAINERD_UNSUPPORTED' });
  });
});
